"""What is counted of items: numbers in bins, and names.

Owns the bins, which never depend on the data, so that counts of parts can be added. A measure takes its values from a
column of a table, whatever its type; what is no number counts as having no value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from stages.drawing.palette import short_number
from stages.origins.columns import SPELLINGS, spelled_column
from stages.origins.tables.batches import held_values

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_NAME_CHARS: Final = 80
"""Characters of a name that are counted, such as of a licence."""


@dataclass(frozen=True, kw_only=True)
class BinnedMeasure:
    """A number of an item, and the bins that it is counted in."""

    name: str
    """Name of the measure, which is also that of its column where it has one."""
    title: str
    """What it is, with its unit, as pictures say it."""
    edges: tuple[float, ...]
    """Rising edges: a value lies in bin i where i of them are not above it."""
    tick_labels: tuple[tuple[float, str], ...]
    """Edges that pictures may label, with their labels."""

    def bins_of(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bin of each value, of values that are all finite."""
        import numpy as np

        return np.searchsorted(np.array(self.edges), values, side="right")


def _even(name: str, title: str, ends: tuple[int, int], *, per_unit: int, ticks_per_unit: int) -> BinnedMeasure:
    """A measure in bins of equal width between two ends."""
    low, high = ends
    edges = tuple(number / per_unit for number in range(low * per_unit, high * per_unit + 1))
    ticks = tuple(number / ticks_per_unit for number in range(low * ticks_per_unit, high * ticks_per_unit + 1))
    return BinnedMeasure(name=name, title=title, edges=edges, tick_labels=tuple((tick, f"{tick:g}") for tick in ticks))


def _doubling(
    name: str, title: str, ends: tuple[int, int], *, per_octave: int = 4, is_bytes: bool = False
) -> BinnedMeasure:
    """A measure in bins of equal ratio between 2 to the power of each of two ends."""
    low, high = ends
    edges = tuple(2 ** (number / per_octave) for number in range(low * per_octave, high * per_octave + 1))
    ticks = tuple(
        (float(2**power), _binary(2**power) if is_bytes else _plain(2**power)) for power in range(low, high + 1)
    )
    return BinnedMeasure(name=name, title=title, edges=edges, tick_labels=ticks)


def _plain(number: float) -> str:
    return short_number(number) if number >= 1 else f"{number:.2g}"


def _binary(number: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number // size} {unit}"
    return f"{number} B"


_ASPECTS: Final = (*(number / 10 for number in range(10, 41)), 5.0, 6.0, 8.0, 10.0, 20.0, 50.0)
_ASPECT_LABELS: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
MEASURES: Final = (
    _doubling("short_side_px", "shorter side of the picture, px", (0, 16)),
    BinnedMeasure(
        name="aspect",
        title="aspect, long side over short side",
        edges=_ASPECTS,
        tick_labels=tuple((tick, f"{tick:g}") for tick in _ASPECT_LABELS),
    ),
    _doubling("image_size_bytes", "size of the file, bytes", (6, 30), per_octave=2, is_bytes=True),
    _doubling("caption_chars", "length of the caption, characters", (0, 15)),
    _doubling("text_chars", "length of the document, characters", (0, 26), per_octave=2),
    _doubling("duration_seconds", "length of the clip, seconds", (-3, 15), per_octave=2),
    _doubling("num_frames", "frames of the clip", (0, 16), per_octave=2),
    _even("similarity", "similarity of picture and caption (CLIP)", (-1, 1), per_unit=50, ticks_per_unit=10),
    _even("aesthetic", "aesthetic score", (-2, 12), per_unit=4, ticks_per_unit=1),
    _even("punsafe", "probability that the picture is unsafe", (0, 1), per_unit=20, ticks_per_unit=10),
    _even("pwatermark", "probability of a watermark", (0, 1), per_unit=20, ticks_per_unit=10),
    _even("caption_repetition", "share of the caption that repeats itself", (0, 1), per_unit=20, ticks_per_unit=10),
    _even("caption_language_score", "certainty of the caption's language", (0, 1), per_unit=20, ticks_per_unit=10),
    _even("language_score", "certainty of the language", (0, 1), per_unit=20, ticks_per_unit=10),
    _doubling("picture_contrast", "contrast of the picture, levels of grey", (0, 8)),
    _even("picture_entropy_bits", "entropy of the picture, bits", (0, 8), per_unit=5, ticks_per_unit=1),
    _doubling("picture_sharpness", "sharpness of the picture", (-4, 16), per_octave=2),
    _doubling("luma", "brightness of the clip, levels of grey", (0, 8)),
    _doubling("contrast", "contrast of the clip, levels of grey", (0, 8)),
    _doubling("motion", "motion of the clip, levels of grey", (-6, 8), per_octave=2),
    _doubling("flicker", "flicker of the clip, levels of grey", (-6, 8), per_octave=2),
)
"""All measures, in the order in which pictures show them."""
NAMES: Final = {
    "host": "hosts",
    "language": "languages",
    "licence": "licences",
    "sent_as": "formats as sent",
    "caption_by": "who wrote the caption",
    "duplicate_in": "earlier sources that have it",
    "benchmark": "benchmarks that have it",
}
"""Names that are counted, and the titles of their panels."""
COLUMNS_OF_NAMES: Final = {
    "language": ("caption_language", "language", "lang"),
    "licence": ("license", "licence", "license_name", "license_url"),
}
"""Columns that hold a name, by falling precedence, letter case aside; the others are called as the name is."""


def values_of(measure: BinnedMeasure, table: pa.Table) -> NDArray[np.float64] | None:
    """The value of each row, NaN where there is none; None where the table has no column for it."""
    import numpy as np

    if measure.name in ("short_side_px", "aspect"):
        if not {"width_px", "height_px"} <= set(table.column_names):
            return None
        given = np.stack([_numbers(table["width_px"]), _numbers(table["height_px"])])
        given[:, ~(given > 0).all(axis=0)] = np.nan
        short, long = np.sort(given, axis=0)
        aspects: NDArray[np.float64] = long / short
        return short if measure.name == "short_side_px" else aspects
    if measure.name in ("caption_chars", "text_chars"):
        column = measure.name.removesuffix("_chars")
        return _lengths(table[column]) if column in table.column_names else None
    found = measure.name if measure.name in table.column_names else None
    if found is None and measure.name in SPELLINGS:
        found = spelled_column(measure.name, table.column_names)
    return None if found is None else _numbers(table[found])


def names_of(kind: str, table: pa.Table) -> list[str | None] | None:
    """The name of each row, None where there is none; None where the table has no column for it."""
    if kind == "host":
        return [host_of(url) for url in texts_of(table["url"])] if "url" in table.column_names else None
    plain = {name.lower(): name for name in reversed(table.column_names)}
    column = next((plain[one] for one in COLUMNS_OF_NAMES.get(kind, (kind,)) if one in plain), None)
    if column is None:
        return None
    return [text[:MAX_NAME_CHARS] if text else None for text in texts_of(table[column])]


def host_of(url: str | None) -> str | None:
    """The host of an address without `www.`; None where there is none."""
    try:
        host = urlsplit(url or "").hostname
    except ValueError:
        return None
    return host.removeprefix("www.")[:MAX_NAME_CHARS] if host else None


def texts_of(column: pa.ChunkedArray) -> list[str | None]:
    """Values as text, whatever they are; text need not be UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        given: Sequence[bytes | None] = column.cast(pa.large_binary()).to_pylist()
        return [None if text is None else text.decode(errors="backslashreplace") for text in given]
    return [None if value is None else str(value) for value in held_values(column)]


def _lengths(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Characters of texts."""
    import numpy as np

    return np.array([math.nan if text is None else len(text) for text in texts_of(column)], np.float64)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Values as numbers; NaN for null, infinity, and what spells no number."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = column.cast(pa.float64(), safe=False).to_numpy()
    else:
        numbers = np.array([_number(text) for text in texts_of(column)], np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
