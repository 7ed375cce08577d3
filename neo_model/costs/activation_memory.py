"""Peak activation memory of a training step, measured by running the network on the meta device.

The meta device has shapes and no values, so no memory is used; every storage that is allocated and freed is counted.
The effects of activation checkpointing, of freezing and of the backward pass follow from the network's own code.
Attention is replaced by a stub that saves for the backward pass what the real kernels save.

L tokens, h query heads, D value width.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from neo_model.attention.interface import Attend, Backend
from neo_model.config import PATCH_VALUES, NeoConfig
from neo_model.costs.flops import Work
from neo_model.costs.meta_results import MetaResults
from neo_model.inputs.batch import Batch
from neo_model.layer import Layer
from neo_model.model import NeoModel

_META: Final = torch.device("meta")
_RESULTS: Final = MetaResults()


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """The choices in training that decide the activation memory of a step."""

    prepare: Callable[[NeoModel], None]
    """Freezes what does not train and adds adapters, in a model of any depth on the meta device."""
    dtype: torch.dtype
    backend: Backend
    activation_checkpointing: bool
    sequence_ranks: int = 1
    """Ranks that share the row: this one holds a share of its tokens, and in attention of its heads."""


def activation_bytes(config: NeoConfig, work: Work, how: TrainingSetup) -> int:
    """Peak bytes of one micro-batch of `work`, or of a rank's share of it, beside parameters and finished gradients.

    All layers of a part are alike, so a deep stack is extrapolated from three shallow ones: the peak in the post-LLM
    is linear in the depths of both parts, and so is the peak after the backward pass has reached the pre-Buffer.
    With 12 + 28 layers, steps of 2 + 2, 3 + 2 and 2 + 3 layers are measured.
    """
    prebuffer, post_llm = min(config.num_prebuffer_layers, 2), min(config.num_post_llm_layers, 2)
    shallow = _most_bytes(config, (prebuffer, post_llm), work, how)
    most = list(shallow)
    for deeper, depth, whole in (
        ((prebuffer + 1, post_llm), prebuffer, config.num_prebuffer_layers),
        ((prebuffer, post_llm + 1), post_llm, config.num_post_llm_layers),
    ):
        if whole > depth:
            grown = _most_bytes(config, deeper, work, how)
            most = [
                total + (whole - depth) * (more - less) for total, more, less in zip(most, grown, shallow, strict=True)
            ]
    return max(most)


def _most_bytes(like: NeoConfig, depths: tuple[int, int], work: Work, how: TrainingSetup) -> tuple[int, int]:
    """Peak bytes of a step with `depths` layers of both parts: before the pre-Buffer's backward pass, and in it.

    Each gradient is freed as soon as it is there, as by an engine that copies it into its own buffer.
    """
    config = replace(like, num_prebuffer_layers=depths[0], num_layers=sum(depths))
    with _META:
        model = NeoModel(config, activation_checkpointing=how.activation_checkpointing)
    how.prepare(model)
    for parameter in model.to(how.dtype).parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(_free_gradient)
    batch = _shapes_of(_share_of(work, how.sequence_ranks))
    with _LiveBytes() as live:
        hidden = model.embed(batch)
        _call_when_backward_reaches(model.layers[: depths[0] + 1][-1], live.start_second_peak)
        tables = model.rotary_tables(batch.positions, how.dtype)
        states = model.normed(model.run_layers(hidden, tables, [_attends(how, work)] * config.num_layers))
        del hidden
        index = batch.supervised_index
        states = states.index_select(0, index)
        model.loss(states, batch.targets[index], batch.weights[index]).loss.backward()
    return live.before_bytes, live.most_bytes


def _call_when_backward_reaches(layer: Layer, call: Callable[[], None]) -> None:
    """Call when the gradient of the layer's input is known, which is when its backward pass is over."""

    def watch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].requires_grad:
            inputs[0].register_hook(lambda _: call())

    layer.register_forward_pre_hook(watch)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages that were allocated inside the context and are still alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most_bytes = 0
        """Peak so far, or since `start_second_peak`."""
        self.before_bytes = 0
        """Peak before `start_second_peak`, or 0."""
        self._now_bytes = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made, is_new = _RESULTS.call(func, args, kwargs or {})
        given = (
            set() if is_new else {id(one.untyped_storage()) for one in _tensors_in((*args, *(kwargs or {}).values()))}
        )
        for one in _tensors_in(made):
            if id(one.untyped_storage()) not in given and id(one.untyped_storage()) not in self._known:
                self._take(one.untyped_storage())
        return made

    def start_second_peak(self) -> None:
        """Keep the peak so far and measure another from here on. A second call does nothing."""
        if not self.before_bytes:
            self.before_bytes, self.most_bytes = self.most_bytes, self._now_bytes

    def _take(self, storage: torch.UntypedStorage) -> None:
        key, num_bytes = id(storage), storage.nbytes()
        self._known.add(key)
        self._now_bytes += num_bytes
        self.most_bytes = max(self.most_bytes, self._now_bytes)
        weakref.finalize(storage, self._give, key, num_bytes)

    def _give(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self._now_bytes -= num_bytes


class _Fused(torch.autograd.Function):
    """Stub of a fused kernel: saves queries, keys, values, mask, output, and one number per query and head."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        out = q.new_empty(*q.shape[:2], v.shape[2])
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:2], dtype=torch.float32), mask)
        return out

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v = ctx.saved_tensors[:3]
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), None


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    out: Tensor = _Fused.apply(q, k, v, mask)  # type: ignore[no-untyped-call]
    return out


def _masked(q: Tensor, k: Tensor, v: Tensor, num_pairs: int) -> Tensor:
    """As `attention/sdpa.py`: documents are copied into groups, their masks get the precision of the queries, and the
    outputs are copied back. A document's mask has twice the pairs that a causal query sees."""
    rows = torch.empty(q.shape[0], dtype=torch.int64, device=q.device)
    return _fused(q[rows], k[rows], v[rows], q.new_empty(2 * num_pairs))[rows][rows]


def _shared(q: Tensor, k: Tensor, v: Tensor, attend: Attend, num_shares: int) -> Tensor:
    """As ranks that share a row compute it: what is sent and what comes have one size, and attention keeps what came.
    There are as many queries in all tokens with some heads as in some tokens with all heads."""
    num_each = max(1, num_shares // k.shape[1])
    whole = q, k.repeat_interleave(num_each, dim=1), v.repeat_interleave(num_each, dim=1)
    came = [x.clone().clone() for x in whole]
    return attend(*came).clone()


def _attends(how: TrainingSetup, work: Work) -> Attend:
    """Masks are of whole documents, however many ranks share them."""
    attend = partial(_masked, num_pairs=work.num_pairs) if how.backend is Backend.SDPA else _fused
    return attend if how.sequence_ranks == 1 else partial(_shared, attend=attend, num_shares=how.sequence_ranks)


def _share_of(work: Work, num_shares: int) -> Work:
    """The largest share, rounded up: all of its tokens may be of pictures, four patches each, or supervised."""
    num_tokens = -(-work.num_tokens // num_shares)
    return Work(
        num_tokens=num_tokens,
        num_pairs=-(-work.num_pairs // num_shares),
        num_patches=min(work.num_patches, 4 * num_tokens),
        num_supervised=min(work.num_supervised, num_tokens),
    )


def _free_gradient(parameter: nn.Parameter) -> None:
    parameter.grad = None


def _shapes_of(work: Work) -> Batch:
    """A row of that size on the meta device. Sizes may be means: patches are rounded to whole tokens of four."""
    num_image_tokens = work.num_patches // 4
    num_patches = 4 * max(1, num_image_tokens)
    whole = {"dtype": torch.int64, "device": _META}
    tokens = torch.empty(work.num_tokens, **whole)  # type: ignore[call-overload]
    return Batch(
        input_ids=tokens,
        positions=tokens[:, None].expand(-1, 3),
        targets=tokens,
        weights=tokens.float(),
        supervised_index=tokens[: work.num_supervised],
        documents=torch.tensor([0, work.num_tokens]),
        image_spans=torch.zeros(0, 2, dtype=torch.int64),
        grids=torch.zeros(0, 2, dtype=torch.int64),
        context_index=tokens[:num_image_tokens],
        patches=torch.empty(num_patches, PATCH_VALUES, dtype=torch.uint8, device=_META),
        patch_positions=torch.empty(num_patches, 2, **whole),  # type: ignore[call-overload]
    )


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Of an argument or a result of an operation: a tensor, or lists of them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors_in(one)
