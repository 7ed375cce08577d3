"""Mutations of a weight file and of its index: hostile values in the header, other lengths, damaged bytes."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.worlds.mutated_configs import HOSTILE

FIELDS = ("dtype", "shape", "data_offsets")
DTYPES = ("F8_E4M3", "C64", "I64", "BOOL", "U8", "F64", "", "F32")
NAMES = ("\x1b[31mred", "\u202egnp", "x" * 5_000, "", "a/b", "../up", "model.norm.weight", "__metadata__", "model norm")


def mutated_weights(content: bytes, seed: int) -> bytes:
    """A safetensors file with one mutation; the same for the same seed."""
    rng = random.Random(seed)
    num_header = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + num_header])
    values = content[8 + num_header :]
    name = rng.choice([key for key in header if key != "__metadata__"])
    match rng.randrange(9):
        case 0:
            header[name][rng.choice(FIELDS)] = rng.choice(HOSTILE)
        case 1:
            header[name]["dtype"] = rng.choice(DTYPES)
        case 2:
            header[name][rng.choice(FIELDS[1:])] = [rng.choice(HOSTILE) for _ in range(rng.randrange(4))]
        case 3:
            header[rng.choice(NAMES)] = header.pop(name)
        case 4:
            begin, end = header[name]["data_offsets"]
            header[name]["data_offsets"] = [begin + rng.choice((-2, 2, 0)), end + rng.choice((-2, 2))]
        case 5:
            header[name] = rng.choice(HOSTILE)
        case 6:
            return rng.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(8, "little") + content[8:]
        case 7:
            return content[: rng.randrange(len(content))]
        case _:
            damaged = bytearray(content)
            damaged[rng.randrange(8 + num_header)] ^= 1 << rng.randrange(8)
            return bytes(damaged)
    spelled = json.dumps(header).encode()
    return len(spelled).to_bytes(8, "little") + spelled + values


def mutated_index(index: dict[str, Any], seed: int) -> bytes:
    """`model.safetensors.index.json` with one mutation; the same for the same seed."""
    rng = random.Random(seed)
    places: dict[Any, Any] = dict(index["weight_map"])
    name = rng.choice(sorted(places))
    match rng.randrange(4):
        case 0:
            places[name] = rng.choice(HOSTILE)
        case 1:
            places[rng.choice(NAMES)] = places.pop(name)
        case 2:
            places[name] = rng.choice(
                ("../up.safetensors", "a/b.safetensors", "\x1b.safetensors", "missing.safetensors")
            )
        case _:
            return json.dumps({**index, "weight_map": rng.choice(HOSTILE)}).encode()
    return json.dumps({**index, "weight_map": places}).encode()
