"""On a CUDA device: every backend agrees with the plain one, in a whole model, forward and backward."""

from __future__ import annotations

import pytest
import torch

from neo_model.attention.interface import Backend, BackendUnavailableError
from neo_model.cached_conversation import CachedConversation
from neo_model.inputs.batch import pack
from neo_model.inputs.padding import pad
from neo_model.layer import compiled_regions
from tests.neo_model.test_cached_conversation import film, joined
from tests.neo_model.tiny import CONTEXT, lively_model, row, tiny_config

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

CUDA = torch.device("cuda")
CONFIG = tiny_config(hidden=128, head_dim=64, patch_hidden=64)
ROW = ([70, (8, 8), 90], [(16, 20), 30], [7], [3, (4, 4), 2])


def gradients(backend: Backend, dtype: torch.dtype, *, compiled: bool = False) -> list[torch.Tensor]:
    model = lively_model(CONFIG, backend=backend).to(CUDA, dtype)
    if compiled:
        model.regions = compiled_regions()
    total = model(pad(row(*ROW), 256).to(CUDA, dtype))
    total.loss.backward()
    return [
        total.loss.detach(),
        *(parameter.grad.float() for parameter in model.parameters() if parameter.grad is not None),
    ]


@pytest.mark.parametrize("backend", [Backend.FLASH, Backend.FLEX])
@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_like_the_plain_backend(backend: Backend, compiled: bool) -> None:
    for ours, plain in zip(
        gradients(backend, torch.bfloat16, compiled=compiled), gradients(Backend.SDPA, torch.bfloat16), strict=True
    ):
        assert (ours - plain).norm() <= 0.05 * plain.norm() + 1e-6


def test_flex_in_full_precision() -> None:
    for ours, plain in zip(gradients(Backend.FLEX, torch.float32), gradients(Backend.SDPA, torch.float32), strict=True):
        assert (ours - plain).norm() <= 1e-3 * plain.norm() + 1e-6


def test_flash_says_that_it_needs_half_precision() -> None:
    with pytest.raises(BackendUnavailableError, match="flash: needs bfloat16"):
        gradients(Backend.FLASH, torch.float32)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_a_growing_conversation_like_one_forward(dtype: torch.dtype, limit: float) -> None:
    model = lively_model(CONFIG).to(CUDA, dtype)
    conversation = CachedConversation(model)
    parts = film(6)
    for number, part in enumerate(parts, start=1):
        conversation.append(part)
        so_far = joined(parts[:number])
        batch = pack([so_far.document()], so_far.patches, image_context_id=CONTEXT).to(CUDA, dtype)
        with torch.no_grad():
            expected = model.logits(batch)[-1].float()
        assert (conversation.next_logits().float() - expected).norm() <= limit * expected.norm()
