"""Reads the fields of a `config.json` from outside: types, bounds, errors that name field, value and what is allowed.

Everything else about a configuration is `config.py`'s. A number may stand in a list of one value, as the evaluation kit
writes it. Bounds are far beyond every published model; they are there so that a damaged or hostile file is refused
before anything is allocated, and so that no NaN and no infinity enters a table of angles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

MISSING: Final = object()
"""Default of a field that must be there."""

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "hidden": (1, 1_000_000),
    "num_heads": (1, 100_000),
    "num_kv_heads": (1, 100_000),
    "head_dim": (4, 100_000),
    "ffn": (1, 10_000_000),
    "vocab_size": (1, 100_000_000),
    "num_prebuffer_layers": (0, 1_000),
    "num_layers": (1, 1_000),
    "image_start_id": (0, 100_000_000),
    "image_context_id": (0, 100_000_000),
    "image_end_id": (0, 100_000_000),
    "patch_hidden": (4, 1_000_000),
    "theta_t": (1.0, 1e12),
    "theta_hw": (1.0, 1e12),
    "theta_patch": (1.0, 1e12),
    "rms_eps": (1e-12, 0.1),
    "min_pixels_px": (1, 10_000_000_000),
    "max_pixels_px": (1, 10_000_000_000),
    "max_positions_t": (1, 10_000_000_000),
    "max_positions_hw": (1, 10_000_000_000),
}
"""Field of `NeoConfig` to its smallest and largest value."""
MAX_SHOWN_CHARACTERS: Final = 80
"""Most of a wrong value that an error shows."""


class ConfigError(ValueError):
    """A configuration that describes no NEO model; the message gives the field and its value."""


def check_bounds(field: str, value: float, *, called: str = "") -> None:
    """Raise ConfigError where a field of `NeoConfig` is out of its bounds; `called` is its name in `config.json`."""
    low, high = BOUNDS[field]
    if not low <= value <= high:  # NaN is neither above nor below
        raise ConfigError(f"{called or field} = {shown(value)} is outside {_spelled(low)} to {_spelled(high)}")


def integer(section: Mapping[str, Any], name: str, field: str, *, default: Any = MISSING) -> int:
    """The whole number `name` of a section, within the bounds of `field`. Raises ConfigError."""
    value = _stated(section, name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        low, high = BOUNDS[field]
        raise ConfigError(f"{name} = {shown(value)} is no whole number from {_spelled(low)} to {_spelled(high)}")
    check_bounds(field, value, called=name)
    return value


def number(section: Mapping[str, Any], name: str, field: str, *, default: Any = MISSING) -> float:
    """The number `name` of a section, within the bounds of `field`. Raises ConfigError."""
    value = _stated(section, name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        low, high = BOUNDS[field]
        raise ConfigError(f"{name} = {shown(value)} is no number from {_spelled(low)} to {_spelled(high)}")
    check_bounds(field, value, called=name)
    return float(value)


def flag(section: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """The truth value `name` of a section. Raises ConfigError."""
    value = _stated(section, name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} = {shown(value)} is neither true nor false")
    return value


def mapping(section: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The JSON object `name` of a section, empty where it is absent or null. Raises ConfigError."""
    value = section.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} = {shown(value)} is no JSON object")
    return value


def scalar(value: Any) -> Any:
    """A list of one value is that value: the evaluation kit writes `[0.5]` for 0.5."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def shown(value: Any) -> str:
    """A value as an error shows it: printable and short, also a nested one, or a number of thousands of digits."""
    if isinstance(value, int) and abs(value) >= 10**MAX_SHOWN_CHARACTERS:
        return f"a number of about {round(math.log10(abs(value)))} digits"
    spelled = ascii(value)
    if len(spelled) <= MAX_SHOWN_CHARACTERS:
        return spelled
    return f"{spelled[:MAX_SHOWN_CHARACTERS]}... ({len(spelled):,} characters)"


def _stated(section: Mapping[str, Any], name: str, default: Any) -> Any:
    value = scalar(section.get(name))
    if value is not None:
        return value
    if default is MISSING:
        raise ConfigError(f"the language model's configuration has no {name}")
    return default


def _spelled(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"
