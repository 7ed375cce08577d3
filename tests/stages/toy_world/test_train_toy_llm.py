"""The toy language model: a folder that transformers and NEO read as a hub's Qwen3, the same bytes each time."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from neo_model.config import NeoConfig
from neo_model.inputs.conversation import encode_text, load_tokenizer, special_ids
from neo_model.weights.qwen3 import from_qwen3
from neo_model.weights.released import read_config_json, read_tensors
from stages.artifacts.records import ItemBalance
from stages.contract import Part, StageError
from stages.toy_world.language_model import NUM_SPARE_ROWS, padded
from stages.toy_world.records import document_record
from stages.toy_world.tokenizer import QWEN3_PLAIN_TOKENS, QWEN3_SPECIAL_TOKENS
from stages.toy_world.train_toy_llm import ToyLlmRecipe, train_part
from stages.toy_world.world import ToyWorld

WORLD = ToyWorld(num_train_images=20, num_heldout_images=2, num_documents=40, num_text_conversations=40)
RECIPE = ToyLlmRecipe(
    world=WORLD, hidden=32, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=16, ffn=48, num_steps=30,
    documents_per_step=8, peak_learning_rate=1e-2, num_warmup_steps=2,
)  # fmt: skip


class FolderDraft:
    """A part's files in a plain folder."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.items = ItemBalance()

    def path(self, name: str) -> Path:
        path = self.scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def count(self, items: ItemBalance) -> None:
        self.items += items

    def fact(self, **facts: object) -> None: ...

    def annotate(self, **annotations: object) -> None: ...

    def keep_profile(self, profile: bytes) -> None: ...

    def progress(self, num_done: int) -> None: ...


def trained(folder: Path, recipe: ToyLlmRecipe) -> Path:
    train_part(Part(name="model"), FolderDraft(folder), recipe)
    return folder / "model"


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("llm"), RECIPE)


@pytest.fixture(scope="module")
def tokenizer(hub_folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(hub_folder / "tokenizer.json"))


def test_the_folder_holds_what_a_hub_serves(hub_folder: Path) -> None:
    assert sorted(file.name for file in hub_folder.iterdir()) == [
        "config.json", "generation_config.json", "merges.txt", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "vocab.json",
    ]  # fmt: skip


def test_added_tokens_are_those_of_qwen3_right_behind_the_pieces(hub_folder: Path, tokenizer: Tokenizer) -> None:
    pieces = json.loads((hub_folder / "vocab.json").read_text())
    added = [tokenizer.token_to_id(token) for token in (*QWEN3_SPECIAL_TOKENS, *QWEN3_PLAIN_TOKENS)]
    assert added == list(range(len(pieces), len(pieces) + 26))
    assert sorted(pieces.values()) == list(range(len(pieces)))
    assert len(pieces) <= RECIPE.max_pieces


def test_words_of_the_toy_language_are_single_pieces(tokenizer: Tokenizer) -> None:
    for word in (" red", " circle", " left", " two", " fly"):
        assert len(tokenizer.encode(word, add_special_tokens=False).ids) == 1


def test_any_text_survives_the_tokenizer(tokenizer: Tokenizer) -> None:
    for text in ("two red circles", "Ünïcödé 日本 🦊", "tabs\tand\n\nlines  ", "1234"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_spare_rows_have_room_for_the_tokens_of_neo(hub_folder: Path) -> None:
    vocab_size = read_config_json(hub_folder)["vocab_size"]
    plain = Tokenizer.from_file(str(hub_folder / "tokenizer.json"))
    assert vocab_size >= plain.get_vocab_size(with_added_tokens=True) + NUM_SPARE_ROWS
    load_tokenizer(hub_folder, vocab_size=vocab_size)


def test_transformers_reads_the_folder_as_a_qwen3(hub_folder: Path, tokenizer: Tokenizer) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(hub_folder)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    theirs = AutoTokenizer.from_pretrained(hub_folder)
    turns = [{"role": "user", "content": "Where are the shapes?"}]
    text = theirs.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nWhere are the shapes?<|im_end|>\n<|im_start|>assistant\n"
    assert theirs(text)["input_ids"] == tokenizer.encode(text).ids
    assert theirs.eos_token == "<|im_end|>"


def test_neo_takes_the_model_as_its_post_llm(hub_folder: Path) -> None:
    ids = special_ids(load_tokenizer(hub_folder))
    config = NeoConfig.from_qwen3(
        read_config_json(hub_folder),
        num_prebuffer_layers=1,
        image_start_id=ids.image_start,
        image_context_id=ids.image_context,
        image_end_id=ids.image_end,
        patch_hidden=8,
    )
    assert (config.hidden, config.num_layers, config.tied, config.theta_t) == (32, 2, True, 1e6)
    from_qwen3(read_tensors(hub_folder), config)


def test_training_learns_the_language(hub_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(hub_folder)
    reader = load_tokenizer(hub_folder)
    unseen = ToyWorld(seed=11, num_documents=40, num_text_conversations=40)
    documents = [encode_text(reader, document_record(unseen, number)["text"]) for number in range(8)]
    token_ids, labels = padded(documents)
    with torch.no_grad():
        loss = float(model(input_ids=token_ids, labels=labels).loss)
    assert loss < 0.5 * float(torch.tensor(reader.get_vocab_size()).log())


def test_training_again_gives_the_same_bytes_and_leaves_the_process_alone(tmp_path: Path, _threads: int) -> None:
    recipe = RECIPE.model_copy(update={"num_steps": 2})
    state = torch.get_rng_state()
    first, second = trained(tmp_path / "first", recipe), trained(tmp_path / "second", recipe)
    assert torch.get_num_threads() == _threads
    assert torch.equal(torch.get_rng_state(), state)
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


@pytest.fixture
def _threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_a_loss_that_is_no_number_stops_the_stage(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"peak_learning_rate": 1e30, "num_steps": 5})
    with pytest.raises(StageError, match="lower peak_learning_rate"):
        trained(tmp_path, recipe)


def test_padding_is_on_the_right_and_never_asked_for(hub_folder: Path) -> None:
    reader = load_tokenizer(hub_folder)
    short, long = encode_text(reader, "red"), encode_text(reader, "two red circles on the left")
    token_ids, labels = padded([short, long])
    assert token_ids.shape == labels.shape == (2, len(long.token_ids))
    assert token_ids[0, : len(short.token_ids)].tolist() == short.token_ids
    assert (labels[0, len(short.token_ids) :] == -100).all()
    assert labels[1, 0] == -100
    assert labels[1, 1:].tolist() == long.token_ids[1:]
