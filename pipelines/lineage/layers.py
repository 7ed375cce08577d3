"""Layers of a graph (layered graph drawing): the layer of each box, slots for edges that pass through, fewer crossings.

Pure: the caller decides whether layers are columns or rows, and how large a slot is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

Slot: TypeAlias = "tuple[str, int]"
"""(name, layer): the slot of the name's box if the layer is its depth, else a slot that its edges pass through."""
NUM_SWEEPS: Final = 8
"""Passes over the layers that reduce crossings of lines."""


def depths_of(reads: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The layer of each name: after all that it reads. A name without inputs is just before its first reader."""
    depths: dict[str, int] = {}
    for name, sources in reads.items():
        depths[name] = 1 + max((depths[source] for source in sources), default=-1)
    for name, sources in reads.items():
        if not sources:
            depths[name] = max(0, min((depths[reader] for reader in _readers(reads, name)), default=1) - 1)
    return depths


def _readers(reads: Mapping[str, Sequence[str]], name: str) -> Iterator[str]:
    return (reader for reader, sources in reads.items() if name in sources)


def layers_of(
    reads: Mapping[str, Sequence[str]], depths: Mapping[str, int]
) -> tuple[list[list[Slot]], list[tuple[Slot, Slot]]]:
    """The slots of each layer, and the links between neighbouring layers. The edges of one name share their slots."""
    layers: list[list[Slot]] = [[] for _ in range(max(depths.values()) + 1)]
    links: dict[tuple[Slot, Slot], None] = {}
    for name, depth in depths.items():
        layers[depth].append((name, depth))
    for name, sources in reads.items():
        for source in sources:
            for depth in range(depths[source], depths[name] - 1):
                if (source, depth + 1) not in layers[depth + 1]:
                    layers[depth + 1].append((source, depth + 1))
                links[(source, depth), (source, depth + 1)] = None
            links[(source, depths[name] - 1), (name, depths[name])] = None
    return layers, list(links)


def untangle(layers: list[list[Slot]], links: Sequence[tuple[Slot, Slot]]) -> None:
    """Sort each layer by the mean position of its neighbours, forth and back (the barycentre heuristic)."""
    before: dict[Slot, list[Slot]] = {}
    after: dict[Slot, list[Slot]] = {}
    for source, target in links:
        before.setdefault(target, []).append(source)
        after.setdefault(source, []).append(target)
    for sweep in range(NUM_SWEEPS):
        neighbours, ordered = (before, layers) if sweep % 2 == 0 else (after, layers[::-1])
        rank = {slot: _rank(layer, slot) for layer in layers for slot in layer}
        for layer in ordered:
            means = {slot: _mean([rank[near] for near in neighbours.get(slot, [slot])]) for slot in layer}
            layer.sort(key=means.__getitem__)
            rank |= {slot: _rank(layer, slot) for slot in layer}


def _rank(layer: Sequence[Slot], slot: Slot) -> float:
    return (layer.index(slot) + 0.5) / len(layer)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
