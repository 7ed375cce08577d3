"""The profile of some items: counts by measure and name, and a few of the items; profiles of parts can be added.

A profile grows with the number of bins, of names and of reasons, never with that of its rows: some 3 to 10 KB a part.
Of names, each part keeps those that it has most often, so the counts of a sum are the least that there may be. Which
items it shows is decided by a digest of their ids alone: of any items together, those with the smallest digests, which
is a random sample that comes out the same whenever it is taken.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from stages.drawing.palette import COLOURS
from stages.profiles.measures import MEASURES, NAMES, names_of, texts_of, values_of
from stages.surfaces.credentials import without_credentials

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAMES_OF_PART: Final = 48
"""Names of one kind that the profile of a part keeps."""
MAX_NAMES: Final = 4096
"""Names of one kind that a sum of profiles holds, before the rarest half of them is summed as others."""
NUM_KEPT_SHOWN: Final = 48
"""Kept items that are shown of all parts together."""
NUM_LOST_SHOWN: Final = 16
"""Items of one reason that are shown of all parts together."""
MAX_TEXT_CHARS: Final = 400
"""Characters of a caption or document that an example holds."""
MAX_URL_CHARS: Final = 300
PAIR_COLUMNS: Final = (
    "sample_id",
    "url",
    "caption",
    "width_px",
    "height_px",
    "sha256",
    "image_offset",
    "image_size_bytes",
)
"""Columns of pairs that profiles take, beside scores and measures."""
NOT_SHOWN: Final = frozenset(("short_side_px", "aspect", "image_size_bytes", "caption_chars", "text_chars"))
"""Measures whose values examples leave out."""


@dataclass(frozen=True, order=True)
class Example:
    """One item that is shown. Its order among others is random, and always the same."""

    rank: str
    """Digest of its sample id, 16 hex digits."""
    sample_id: str
    """Its sample id, in hex."""
    role: str = field(compare=False)
    """How it ended: `kept`, `dropped` or `failed`."""
    reason: str = field(compare=False)
    """Why; '' for a kept one."""
    part: str = field(compare=False)
    """Part that holds it."""
    row: int = field(compare=False)
    """Row in the table of its part."""
    text: str = field(compare=False)
    """Beginning of its caption or text."""
    before: str = field(default="", compare=False)
    """Beginning of the caption that it had before; '' where that is the same."""
    url: str = field(default="", compare=False)
    """Beginning of its address."""
    size: tuple[int, int] | None = field(default=None, compare=False)
    """Width and height of its picture, in pixels."""
    values: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Measure to its value."""
    image: tuple[int, int, str] | None = field(default=None, compare=False)
    """First byte, length and sha256 (hex) of its stored picture in the tar of its part; None where there is none."""
    better_row: int | None = field(default=None, compare=False)
    """Row of a better item that it repeats, counted through all sources; None for none."""


@dataclass
class Profile:
    """Counts of items, and some of them."""

    num_parts: int = 0
    bins: dict[str, dict[str, Counter[int]]] = field(default_factory=dict)
    """Measure, then how items ended, to the number of items in each bin."""
    num_without: Counter[str] = field(default_factory=Counter)
    """Measure or kind of name to the number of items that have none."""
    names: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    """Kind of name, then name, to the number of items by how they ended."""
    num_others: Counter[str] = field(default_factory=Counter)
    """Kind of name to the number of items of other names."""
    examples: dict[str, list[Example]] = field(default_factory=dict)
    """Reason, or "" for kept ones, to items of it, by rank."""

    def add(self, other: Profile) -> None:
        """Add the counts and examples of another profile to this one."""
        self.num_parts += other.num_parts
        self.num_without.update(other.num_without)
        self.num_others.update(other.num_others)
        for measure, by_role in other.bins.items():
            bins = self.bins.setdefault(measure, {})
            for role, in_bins in by_role.items():
                bins.setdefault(role, Counter()).update(in_bins)
        for kind, by_name in other.names.items():
            names = self.names.setdefault(kind, {})
            for name, endings in by_name.items():
                names.setdefault(name, Counter()).update(endings)
            if len(names) > MAX_NAMES:
                self._keep_names(kind, MAX_NAMES // 2)
        for key, examples in other.examples.items():
            most = NUM_LOST_SHOWN if key else NUM_KEPT_SHOWN
            self.examples[key] = heapq.nsmallest(most, {*self.examples.get(key, ()), *examples})

    def subtract(self, other: Profile) -> None:
        """Take the counts of another profile off this one, whatever is left; examples stay.

        What is left may be less than nothing, until the profiles that counted the same items are added and `settle`d.
        """
        self.num_without.subtract(other.num_without)
        self.num_others.subtract(other.num_others)
        for measure, by_role in other.bins.items():
            bins = self.bins.setdefault(measure, {})
            for role, in_bins in by_role.items():
                bins.setdefault(role, Counter()).subtract(in_bins)
        for kind, by_name in other.names.items():
            names = self.names.setdefault(kind, {})
            for name, endings in by_name.items():
                names.setdefault(name, Counter()).subtract(endings)

    def leave_out(self, superseded: Mapping[str, Collection[str]]) -> None:
        """Leave out the examples of parts that ended for one of the reasons which `superseded` has of their part."""
        for key, examples in self.examples.items():
            self.examples[key] = [one for one in examples if key not in superseded.get(one.part, ())]

    def settle(self) -> None:
        """End a sum of profiles from which some were subtracted: no count stays below 0.

        A name may have been counted by itself where it was subtracted and among others before; those then have less.
        """
        for bins in self.bins.values():
            bins.update({role: +in_bins for role, in_bins in bins.items()})
        for kind, names in self.names.items():
            self.num_others[kind] -= sum((-endings).total() for endings in names.values())
            self.names[kind] = {name: +endings for name, endings in names.items() if +endings}
        self.num_others, self.num_without = +self.num_others, +self.num_without

    def top_names(self, kind: str, most: int) -> list[tuple[str, Counter[str]]]:
        """The most frequent names of a kind, with their counts."""
        ordered = sorted(self.names.get(kind, {}).items(), key=lambda item: (-item[1].total(), item[0]))
        return ordered[:most]

    def _keep_names(self, kind: str, most: int) -> None:
        total = sum(counts.total() for counts in self.names[kind].values())
        self.names[kind] = dict(self.top_names(kind, most))
        self.num_others[kind] += total - sum(counts.total() for counts in self.names[kind].values())

    def dump(self) -> bytes:
        """The profile as JSON."""
        return json.dumps(_plain(self), sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Profile:
        """The profile that `dump` gave. Raises `ValueError` for anything else."""
        try:
            read = json.loads(data)
            return cls(
                num_parts=int(read["num_parts"]),
                bins={
                    measure: {role: Counter(dict(counts)) for role, counts in by_role.items()}
                    for measure, by_role in read["bins"].items()
                },
                num_without=Counter(read["num_without"]),
                names={kind: {name: Counter(n) for name, n in of.items()} for kind, of in read["names"].items()},
                num_others=Counter(read["num_others"]),
                examples={key: [_example(one) for one in examples] for key, examples in read["examples"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no profile: {error!r}") from error


def _plain(profile: Profile) -> dict[str, Any]:
    bins = {
        measure: {role: sorted(counts.items()) for role, counts in by_role.items() if counts}
        for measure, by_role in profile.bins.items()
    }
    examples = {
        key: [{name: value for name, value in vars(one).items() if value not in ("", None, {})} for one in examples]
        for key, examples in profile.examples.items()
    }
    return {**vars(profile), "bins": bins, "examples": examples}


def _example(read: Mapping[str, Any]) -> Example:
    fields = {"reason": "", "text": "", "row": 0, **read}
    for name in ("size", "image"):
        fields[name] = tuple(fields[name]) if fields.get(name) else None
    return Example(**fields)


def profile_of(
    table: pa.Table,
    *,
    part: str,
    num_parts: int,
    better_rows: Sequence[int | None] | None = None,
    captions_before: pa.ChunkedArray | None = None,
) -> Profile:
    """The profile of the rows of one part.

    `table` has `sample_id`, `verdict` and `reason`, and whatever else there is: `url`, `caption` or `text`,
    `width_px` and `height_px`, where the picture lies in the tar of `part`, scores and measures. `num_parts` is the
    number of all parts: the more there are, the fewer examples each gives. `better_rows`, if any, has for each row
    where the better item lies that it repeats, and `captions_before` what its caption was before. They are no columns
    of `table`, where columns of people's own may have any name.
    """
    import numpy as np

    profile = Profile(num_parts=1)
    roles = np.array(table["verdict"].to_pylist(), dtype=object)
    values: dict[str, Any] = {}
    for measure in MEASURES:
        of_rows = values_of(measure, table)
        if of_rows is None:
            continue
        is_there = ~np.isnan(of_rows)
        profile.num_without[measure.name] = int((~is_there).sum())
        if is_there.any():
            profile.bins[measure.name] = {
                role: _counted(measure.bins_of(of_rows[is_there & (roles == role)]).tolist()) for role in COLOURS
            }
            values[measure.name] = of_rows
    for kind in NAMES:
        names = names_of(kind, table)
        if names is not None:
            _count_names(profile, kind, names, roles.tolist())
    profile.examples = _examples(table, part, num_parts, roles.tolist(), values)
    before = None if captions_before is None else texts_of(captions_before)
    for examples in profile.examples.values():
        examples[:] = [_beside(one, better_rows, before) for one in examples]
    return profile


def _beside(example: Example, better_rows: Sequence[int | None] | None, before: Sequence[str | None] | None) -> Example:
    """The example with what stands beside its row: the better one, and the caption before where that is another."""
    text = without_credentials((before[example.row] if before is not None else None) or "")[:MAX_TEXT_CHARS]
    better = better_rows[example.row] if better_rows is not None else None
    return replace(example, before="" if text == example.text else text, better_row=better)


def _counted(bins: Sequence[int]) -> Counter[int]:
    return Counter(bins)


def _count_names(profile: Profile, kind: str, names: Sequence[str | None], roles: Sequence[str]) -> None:
    counted: dict[str, Counter[str]] = {}
    for name, role in zip(names, roles, strict=True):
        if name:
            counted.setdefault(name, Counter())[role] += 1
        else:
            profile.num_without[kind] += 1
    if counted:
        profile.names[kind] = counted
        profile._keep_names(kind, MAX_NAMES_OF_PART)


def _examples(
    table: pa.Table, part: str, num_parts: int, roles: Sequence[str], values: Mapping[str, Any]
) -> dict[str, list[Example]]:
    """Some rows for each reason: as many as make, with those of all other parts, a few more than are shown."""
    by_reason: dict[str, list[tuple[str, int]]] = {}
    for row, (sample_id, reason) in enumerate(
        zip(table["sample_id"].to_pylist(), texts_of(table["reason"]), strict=True)
    ):
        key = "" if reason is None else str(reason)
        by_reason.setdefault(key, []).append((hashlib.blake2b(sample_id, digest_size=8).hexdigest(), row))
    shown: dict[str, list[Example]] = {}
    for key, rows in by_reason.items():
        most = NUM_LOST_SHOWN if key else NUM_KEPT_SHOWN
        chosen = heapq.nsmallest(min(most, -(-3 * most // max(1, num_parts))), rows)
        plain = _plain_rows(table.select(_shown_columns(table)).take([row for _, row in chosen]))
        shown[key] = [
            _of_row(
                {**fields, "rank": rank, "row": row, "part": part, "role": roles[row]},
                {name: of_rows[row] for name, of_rows in values.items()},
            )
            for (rank, row), fields in zip(chosen, plain, strict=True)
        ]
    return dict(sorted(shown.items()))


_WANTED: Final = ("sample_id", "reason", "url", "caption", "text", "width_px", "height_px")
_TEXTS: Final = frozenset(("reason", "url", "caption", "text"))
_STORED: Final = ("image_offset", "image_size_bytes", "sha256")


def _shown_columns(table: pa.Table) -> list[str]:
    return [name for name in (*_WANTED, *_STORED) if name in table.column_names]


def _plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as values of Python; text that is no UTF-8 too."""
    columns = {
        name: texts_of(table[name]) if name in _TEXTS else table[name].to_pylist() for name in table.column_names
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _of_row(fields: Mapping[str, Any], values: Mapping[str, float]) -> Example:
    """The example of a row with these columns and measures."""
    offset, size_bytes, sha256 = (fields.get(name) for name in _STORED)
    width, height = fields.get("width_px"), fields.get("height_px")
    text = str((fields.get("caption") if "caption" in fields else fields.get("text")) or "")
    return Example(
        rank=fields["rank"],
        sample_id=fields["sample_id"].hex(),
        role=fields["role"],
        reason=fields["reason"] or "",
        part=fields["part"],
        row=fields["row"],
        text=without_credentials(text)[:MAX_TEXT_CHARS],
        url=without_credentials(str(fields.get("url") or ""))[:MAX_URL_CHARS],
        size=(int(width), int(height)) if width and height else None,
        values={name: round(float(value), 4) for name, value in values.items() if _is_shown(name, value)},
        image=None if offset is None or not sha256 else (int(offset), int(size_bytes or 0), sha256.hex()),
    )


def _is_shown(name: str, value: float) -> bool:
    return name not in NOT_SHOWN and not math.isnan(value)
