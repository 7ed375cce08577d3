"""Sequences through the layers, whole ones or their next tokens, beside a cache of transformers.

Owns what stands between padded batches with a `DynamicCache` and the packed rows of the network.

B sequences, S slots of each, n new tokens of each, M images, N patches, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.attention.backends import prepare
from neo_model.attention.cached import attend_to_cache
from neo_model.attention.interface import Attend
from neo_model.hub.sequences import pack_sequences, visible_slots
from neo_model.inputs.batch import Batch
from neo_model.model import NeoModel


def read(
    network: NeoModel,
    masked: tuple[Tensor, Tensor],
    patches: Tensor | None,
    grids: Sequence[tuple[int, int]],
    cache: Any,
) -> Tensor:
    """Final states [B, S, H] of whole sequences, whose keys and values go into the cache; zero at padding.

    `masked`: token ids and attention mask, [B, S] each; patches [N, 768] on the host; `cache` a `DynamicCache` or None.
    """
    token_ids, mask = masked
    batch, cells = pack_sequences(token_ids, mask, patches, grids, network.config.image_context_id)
    batch = batch.to(token_ids.device)
    hidden = network.embed(batch)
    attends = [
        attend if cache is None else _recording(attend, cache, number, tuple(token_ids.shape), cells)
        for number, attend in enumerate(_attends(network, batch, hidden))
    ]
    tables = network.rotary_tables(batch.positions, hidden.dtype)
    states = network.normed(network.run_layers(hidden, tables, attends))
    padded = states.new_zeros(*token_ids.shape, states.shape[-1])
    filled: Tensor = padded.index_put(tuple(cell.to(states.device) for cell in cells), states)
    return filled


def append(network: NeoModel, masked: tuple[Tensor, Tensor], times: Tensor | None, cache: Any) -> Tensor:
    """Final states [B, n, H] of the next tokens of each sequence, at their positions in time [B, n].

    `masked`: their ids [B, n], and the attention mask [B, S] of all tokens so far, these included.
    """
    token_ids, mask = masked
    if times is None:
        raise ValueError("with past_key_values, give position_ids [B, n]: positions in time of the new tokens")
    num_rows, num_new = token_ids.shape
    hidden = network.embed_words(token_ids.flatten())
    positions = F.pad(times.reshape(-1, 1).to(hidden.device), (0, 2))
    visible = visible_slots(mask, num_new)
    attends = [_appending(cache, number, num_rows, visible) for number in range(len(network.layers))]
    states = network.run_layers(hidden, network.rotary_tables(positions, hidden.dtype), attends)
    unpacked: Tensor = network.normed(states).unflatten(0, (num_rows, num_new))
    return unpacked


def _attends(network: NeoModel, batch: Batch, hidden: Tensor) -> list[Attend]:
    """Attention of each layer, prepared once for each device that layers lie on."""
    prepared, attends = dict[torch.device, Attend](), []
    for layer in network.layers:
        device = layer.input_layernorm.weight.device
        if device.type == "meta":  # offloaded: it computes where its input lies
            device = hidden.device
        if device not in prepared:
            prepared[device] = prepare(network.backend_for(hidden.to(device)), batch.to(device))
        attends.append(prepared[device])
    return attends


def _recording(attend: Attend, cache: Any, number: int, shape: tuple[int, ...], cells: tuple[Tensor, Tensor]) -> Attend:
    """`attend` of packed tokens, whose keys and values go into the cache at their cells."""

    def attend_and_keep(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        places = tuple(cell.to(k.device) for cell in cells)
        keys, values = (x.new_zeros(*shape, *x.shape[1:]).index_put(places, x).transpose(1, 2) for x in (k, v))
        cache.update(keys, values, number)
        return attend(q, k, v)

    return attend_and_keep


def _appending(cache: Any, number: int, num_rows: int, visible: Tensor) -> Attend:
    """Attention of the next tokens of each sequence to the cache of one layer, themselves included."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.unflatten(0, (num_rows, -1)) for x in (q, k, v))
        keys, values = cache.update(k.transpose(1, 2), v.transpose(1, 2), number)
        out = attend_to_cache(q, keys.transpose(1, 2), values.transpose(1, 2), visible.to(q.device))
        return out.flatten(0, 1)

    return attend
