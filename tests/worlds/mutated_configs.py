"""Mutations of a JSON configuration: a value replaced by a hostile one, a field removed, doubled, renamed or nested."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, False, "", "2048", "\x1b[31mred", "\u202egnp", 0, -1, 1, 3, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308,
    1e-308, float("nan"), float("inf"), float("-inf"), [], [[]], [7], [1, 2], {}, {"a": {}}, "x" * 5_000, 10_000,
)  # fmt: skip
"""Values that a field may not have, or just may."""
NESTED_DEEPLY = b'{"llm_config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
MANY_DIGITS = b'{"llm_config": {"hidden_size": ' + b"9" * 5_000 + b"}}"


def mutated(config: dict[str, Any], seed: int) -> bytes:
    """The configuration with one to three mutations, as a file holds it; the same for the same seed."""
    rng = random.Random(seed)
    changed = deepcopy(config)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        section = rng.choice([changed, *(value for value in changed.values() if isinstance(value, dict))])
        if not section:
            continue
        name = rng.choice(sorted(section))
        match rng.randrange(8):
            case 0:
                del section[name]
            case 1:
                section[rng.choice(("layer_types", "rope_parameters", "rope_scaling", "extra"))] = rng.choice(HOSTILE)
            case 2:
                section[name] = {name: section[name]}
            case _:
                section[name] = rng.choice(HOSTILE)
    return json.dumps(changed).encode()
