"""NEO inside transformers computes what NEO computes: logits, losses, gradients, and one token after the other."""

import pytest
import torch

from neo_model.hub.configuration_neo_chat import NEOChatConfig
from neo_model.hub.modeling_neo_chat import NEOChatModel
from neo_model.inputs.batch import Document, pack
from tests.neo_model.tiny import CONTEXT, END, START, lively_model, tiny_config

IMAGE = [START, CONTEXT, CONTEXT, END]
SHORT, LONG = [5, *IMAGE, 6], [*IMAGE, 7, *IMAGE, 9, 3]
GRIDS = torch.tensor([(2, 4), (2, 4), (4, 2)])


@pytest.fixture(scope="module")
def patches() -> torch.Tensor:
    return torch.randn(24, 768, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model() -> NEOChatModel:
    config = tiny_config()
    model = NEOChatModel(NEOChatConfig(**config.to_released()))
    model.load_state_dict(lively_model(config).state_dict())
    return model.eval()


def padded(side: str) -> tuple[torch.Tensor, torch.Tensor]:
    padding = [0] * (len(LONG) - len(SHORT))
    short = [*padding, *SHORT] if side == "left" else [*SHORT, *padding]
    mask = [*padding, *[1] * len(SHORT)] if side == "left" else [*[1] * len(SHORT), *padding]
    return torch.tensor([short, LONG]), torch.tensor([mask, [1] * len(LONG)])


def plain_logits(model: NEOChatModel, patches: torch.Tensor) -> list[torch.Tensor]:
    """Logits of each sequence alone."""
    found, first = [], 0
    for ids, count in ((SHORT, 1), (LONG, 2)):
        images = [piece.numpy() for piece in patches[first * 8 : (first + count) * 8].split(8)]
        grids = [tuple(grid) for grid in GRIDS[first : first + count].tolist()]
        document = Document(token_ids=ids, supervised=[False] * len(ids), grids=grids)
        found.append(model.network.logits(pack([document], images, image_context_id=CONTEXT)))
        first += count
    return found


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_a_padded_batch_has_the_logits_of_its_sequences_alone(model, patches, side) -> None:
    ids, mask = padded(side)
    logits = model(input_ids=ids, attention_mask=mask, pixel_values=patches, grid_hw=GRIDS).logits
    for row, alone in enumerate(plain_logits(model, patches)):
        torch.testing.assert_close(logits[row][mask[row] == 1], alone, atol=2e-5, rtol=2e-5)


def test_labels_give_the_mean_loss_and_its_gradient(model, patches) -> None:
    ids, mask = padded("right")
    labels = ids.masked_fill((mask == 0) | (ids == CONTEXT), -100)
    loss = model(input_ids=ids, attention_mask=mask, pixel_values=patches, grid_hw=GRIDS, labels=labels).loss
    total, count = torch.zeros(()), 0
    for row, alone in enumerate(plain_logits(model, patches)):
        wanted = labels[row][mask[row] == 1][1:]
        total = total + torch.nn.functional.cross_entropy(alone[:-1], wanted, ignore_index=-100, reduction="sum")
        count += int((wanted != -100).sum())
    torch.testing.assert_close(loss, total / count, atol=1e-5, rtol=1e-5)
    weight = model.vision_model.parameters().__next__()
    (one,), (other,) = torch.autograd.grad(loss, [weight]), torch.autograd.grad(total / count, [weight])
    assert one.abs().max() > 0
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_cached_tokens_have_the_logits_of_the_whole_sequence(model, patches) -> None:
    ids, mask = padded("left")
    more = torch.tensor([[11, 12, 13], [21, 22, 23]])
    whole = torch.cat([ids, more], 1)
    seen = torch.cat([mask, torch.ones_like(more)], 1)
    expected = model(input_ids=whole, attention_mask=seen, pixel_values=patches, grid_hw=GRIDS).logits[:, -3:]
    first = model.prepare_inputs_for_generation(ids, attention_mask=mask, pixel_values=patches, grid_hw=GRIDS)
    cache, found = model(**first).past_key_values, []
    for length in (1, 3):  # one token, then two at once
        inputs = model.prepare_inputs_for_generation(
            whole[:, : ids.shape[1] + length], cache, seen[:, : ids.shape[1] + length], logits_to_keep=3
        )
        found.append(model(**inputs).logits)
    torch.testing.assert_close(torch.cat(found, 1), expected, atol=2e-5, rtol=2e-5)


def test_what_it_cannot_read_is_refused_in_words(model, patches) -> None:
    ids, _ = padded("left")
    with pytest.raises(ValueError, match="inputs_embeds are not taken"):
        model(inputs_embeds=torch.zeros(1, 2, 32))
    with pytest.raises(ValueError, match="0 images are given for 3 runs"):
        model(input_ids=ids)
    cache = model(input_ids=ids[1:, :4], pixel_values=patches[:8], grid_hw=GRIDS[:1], use_cache=True).past_key_values
    with pytest.raises(ValueError, match="pictures belong to the first call"):
        model(input_ids=ids[1:, 4:], pixel_values=patches[8:], grid_hw=GRIDS[1:], past_key_values=cache)
    with pytest.raises(NotImplementedError, match="cannot be resized"):
        model.resize_token_embeddings(100)


def test_its_configuration_keeps_fields_that_it_does_not_know() -> None:
    stated = {**tiny_config().to_released(), "force_image_size": 448}
    config = NEOChatConfig(**stated)
    assert config.neo == tiny_config()
    assert config.to_dict()["force_image_size"] == 448
    assert (config.num_hidden_layers, config.vocab_size, config.hidden_size) == (3, 96, 32)


def test_eight_bits_come_by_a_quantization_config() -> None:
    config = NEOChatConfig(**tiny_config().to_released())
    NEOChatModel(config, load_in_8bit=False)  # as lmms-eval asks
    with pytest.raises(ValueError, match="pass quantization_config"):
        NEOChatModel(config, load_in_8bit=True)
