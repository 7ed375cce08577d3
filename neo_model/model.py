"""The network: patches and words in, the weighted loss of a packed row out.

Owns `NeoModel`. Parameter names are the released tensor names, so `state_dict` and a checkpoint's safetensors are the
same mapping; a tied head has no tensor. Takes packed rows (`inputs.batch.pack`); knows no training stages, no files.

Every parameter is used only inside the forward of the module that owns it, because under ZeRO-3 a weight exists only
there. The word embedding is both look-up table and tied head; see `VocabularyTable`.

L tokens, S supervised positions, V vocabulary rows, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from neo_model.attention.backends import default_backend, prepare
from neo_model.attention.interface import Attend, Backend
from neo_model.config import NeoConfig
from neo_model.inputs.batch import Batch
from neo_model.layer import INIT_STD, Layer, Linear, Regions, RMSNorm
from neo_model.loss import LossSum, weighted_loss
from neo_model.patch_embedding import FoldedConv, VisionModel
from neo_model.rotary import RotaryTables, rotary_tables

Made = TypeVar("Made", Tensor, LossSum)


class VocabularyTable(nn.Module):
    """[V, H] rows, one for each token: word embedding, output head, or both.

    The caller passes the function to apply to the weight, which keeps every use of it inside this module's forward.
    """

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.vocab_size, config.hidden))

    def forward(self, use: Callable[..., Made], *inputs: Tensor) -> Made:
        """`use(weight, *inputs)`."""
        return use(self.weight, *inputs)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw N(0, INIT_STD)."""
        nn.init.normal_(self.weight, std=INIT_STD)


class Stack(nn.Module):
    """Word embedding, layers and last norm. Released name: `language_model.model`."""

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        self.embed_tokens = VocabularyTable(config)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.num_layers)])
        self.norm = RMSNorm(config.hidden, config.rms_eps)


class LanguageModel(nn.Module):
    """The stack and, unless tied, the output head. Released name: `language_model`."""

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        self.model = Stack(config)
        if not config.tied:
            self.lm_head = VocabularyTable(config)


class NeoModel(nn.Module):
    """A NEO stack. `model(batch)` is the weighted loss of one packed row."""

    def __init__(
        self, config: NeoConfig, *, backend: Backend | None = None, activation_checkpointing: bool = False
    ) -> None:
        """`backend` defaults to the fastest for the weights' device. On the meta device nothing is initialised."""
        super().__init__()
        self.config = config
        self.backend = backend
        self.activation_checkpointing = activation_checkpointing
        self.regions: Regions | None = None
        """`layer.compiled_regions()` runs the layers compiled while the model is in training mode. Answers and
        examinations are of any length, for which they would be compiled again and again. Not under ZeRO-3, whose
        hooks are Python."""
        self.across_ranks: Callable[[Attend, Batch], Attend] | None = None
        """Where ranks share a row (`inputs.shares`): makes attention of whole rows for some heads, as it is prepared,
        attention of a share's tokens for all heads. An exchange between ranks, which this floor knows nothing of."""
        self.vision_model = VisionModel(config)
        self.language_model = LanguageModel(config)
        if not self._table.weight.is_meta:
            self.reset_parameters()

    @property
    def layers(self) -> list[Layer]:
        """The whole stack, pre-Buffer first."""
        return [layer for layer in self._stack.layers if isinstance(layer, Layer)]

    @property
    def is_compiled(self) -> bool:
        """Whether a part of it is compiled for each length of rows, so that they should be padded to few lengths."""
        return self.regions is not None or self.backend is Backend.FLEX

    @property
    def _stack(self) -> Stack:
        return self.language_model.model

    @property
    def _table(self) -> VocabularyTable:
        return self._stack.embed_tokens

    @property
    def _head(self) -> VocabularyTable:
        return self._table if self.config.tied else self.language_model.lm_head

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Linear maps and tables N(0, 0.02), norm gains one, convolutions by torch's rule. In the post-LLM, H/W
        queries are copied from T queries and H/W keys are zero, as in a model converted from a language model.
        """
        for module in self.modules():
            if isinstance(module, Linear | RMSNorm | FoldedConv | VocabularyTable):
                module.reset_parameters()
        for layer in self.layers[self.config.num_prebuffer_layers :]:
            layer.self_attn.inherit_hw_from_t()

    def forward(self, batch: Batch) -> LossSum:
        """Sum over supervised positions of weight x cross-entropy, and the sum of the weights, both fp32 scalars.

        Of a row whose pairs are compared also their pooled states.
        """
        states, index = self.final_states(batch), batch.supervised_index
        pooled = None if batch.pairs is None else batch.pairs.pooled(states)
        supervised = states.index_select(0, index)
        del states  # the head needs memory
        sums = self.loss(supervised, batch.targets[index], batch.weights[index])
        return sums._replace(pooled=pooled)

    def pooled(self, batch: Batch) -> Tensor:
        """Pooled states [2Q, H] fp32 of the pairs of a row: the pictures, then the captions. The head is not used."""
        assert batch.pairs is not None, "the pairs of this row are not known"
        return batch.pairs.pooled(self.final_states(batch))

    def loss(self, states: Tensor, targets: Tensor, weights: Tensor) -> LossSum:
        """Weighted loss of final states [S, H], targets [S] and weights [S]."""
        loss: LossSum = self._head(_loss_with_head, states, targets, weights)
        return loss

    def logits(self, batch: Batch) -> Tensor:
        """[L, V] at every position. For tests and short rows: 16K positions of 152K words take 10 GB in fp32."""
        return self.head_logits(self.final_states(batch))

    def head_logits(self, states: Tensor) -> Tensor:
        """Final states [n, H] -> logits [n, V]."""
        logits: Tensor = self._head(_linear_with_head, states)
        return logits

    def final_states(self, batch: Batch) -> Tensor:
        """Final states [L, H] of a row, or of the share of it that is here: layer outputs after the last norm."""
        hidden = self.embed(batch)
        attend = prepare(self.backend_for(hidden), batch)
        if self.across_ranks is not None:
            attend = self.across_ranks(attend, batch)
        tables = self.rotary_tables(batch.positions, hidden.dtype)
        return self.normed(self.run_layers(hidden, tables, [attend] * self.config.num_layers))

    def backend_for(self, hidden: Tensor) -> Backend:
        """The attention backend for layer inputs [L, H]: the one that was chosen, else the default of their device."""
        return self.backend or default_backend(hidden.device, hidden.dtype, self.config.query_key_dim)

    def normed(self, hidden: Tensor) -> Tensor:
        """Layer outputs [n, H] -> final states [n, H], by the last norm."""
        states: Tensor = self._stack.norm(hidden)
        return states

    def image_tokens(self, batch: Batch) -> Tensor:
        """Visual tokens [P, H] of the patch embedding; the token of a dummy image comes last."""
        tokens: Tensor = self.vision_model(batch.patches, batch.patch_positions)
        return tokens

    def embed(self, batch: Batch) -> Tensor:
        """[L, H] word embeddings, with visual tokens in place of their context tokens."""
        hidden = self.embed_words(batch.input_ids)
        if batch.patches.shape[0] == 0:
            return hidden
        tokens = self.image_tokens(batch)
        # A dummy image (`ensure_image`) adds a token without a context position: the slice drops it.
        return hidden.index_copy(0, batch.context_index, tokens[: batch.context_index.shape[0]])

    def embed_words(self, token_ids: Tensor) -> Tensor:
        """Token ids [n] -> word embeddings [n, H]."""
        hidden: Tensor = self._table(_rows_of_table, token_ids)
        return hidden

    def rotary_tables(self, positions: Tensor, dtype: torch.dtype) -> RotaryTables:
        """Rotary tables for positions [L, 3]."""
        config = self.config
        return rotary_tables(
            positions,
            head_dim=config.head_dim,
            theta_t=config.theta_t,
            theta_hw=config.theta_hw,
            dtype=dtype,
        )

    def run_layers(self, hidden: Tensor, tables: RotaryTables, attends: Sequence[Attend]) -> Tensor:
        """Run all layers on [L, H], each with its own `attend`. The last norm is not applied."""
        regions = self.regions if self.training else None
        for layer, attend in zip(self.layers, attends, strict=True):
            if self.activation_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(layer, hidden, tables, attend, regions, use_reentrant=False)
            else:
                hidden = layer(hidden, tables, attend, regions)
        return hidden


def _rows_of_table(weight: Tensor, ids: Tensor) -> Tensor:
    return F.embedding(ids, weight)


def _linear_with_head(weight: Tensor, states: Tensor) -> Tensor:
    return F.linear(states, weight)


def _loss_with_head(weight: Tensor, *inputs: Any) -> LossSum:
    states, targets, weights = inputs
    return weighted_loss(states, weight, targets, weights)
