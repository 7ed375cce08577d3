"""Licences and languages are counted as they were drawn, and the counts stay short."""

import numpy as np
import pyarrow as pa

from stages.artifacts.carried import (
    MAX_CARRIED_VALUES,
    MAX_PART_VALUES,
    OTHER_VALUES,
    carried_counts,
    most_frequent,
)
from stages.artifacts.head import head_of
from stages.artifacts.manifest import Manifest, manifest_bytes
from stages.artifacts.records import ItemBalance, PartRecord


def test_drawings_are_counted_by_value_repetitions_included() -> None:
    table = pa.table({"LICENSE": ["CC BY 4.0", None, " MIT\n", "MIT"], "language": ["en", "en", "de", "de"]})
    assert carried_counts(table, np.array([0, 0, 1, 2, 3])) == {
        "licence": {"CC BY 4.0": 2, "MIT": 2, "": 1},
        "language": {"en": 3, "de": 2},
    }


def test_columns_that_are_missing_or_no_text_are_left_out() -> None:
    assert carried_counts(pa.table({"license": [1, 2], "url": ["a", "b"]}), np.array([0, 1])) == {}
    assert carried_counts(pa.table({"license": pa.array([], pa.string())}), np.array([], np.int64)) == {}


def test_text_that_is_no_utf_8_is_counted_too() -> None:
    odd = pa.array([b"\xff", b"en"]).view(pa.binary())
    table = pa.table({"lang": pa.Array.from_buffers(pa.string(), 2, odd.buffers())})
    assert carried_counts(table, np.array([0, 1])) == {"language": {"en": 1, "�": 1}}


def test_a_part_lists_few_values_however_many_there_are() -> None:
    for num_rows in (100, 10_000):
        table = pa.table({"license": [f"https://licences.invalid/{number}" for number in range(num_rows)]})
        counts = carried_counts(table, np.arange(num_rows))["licence"]
        assert len(counts) == MAX_PART_VALUES + 1
        assert counts[OTHER_VALUES] == num_rows - MAX_PART_VALUES


def draw_of(counts: list[dict[str, int]]) -> Manifest:
    facts = [{"source": "pairs", "num_drawn": 1, "carried_counts": {"licence": one}} for one in counts]
    parts = [PartRecord(phase="draw", part=f"{number:06d}", facts=fact) for number, fact in enumerate(facts)]
    return Manifest(
        kind="Draw", stage="mix_samples", number=3, fingerprint="a" * 64, recipe={}, inputs={}, parts=tuple(parts),
        items=ItemBalance(), content="b" * 64, versions={},
    )  # fmt: skip


def test_a_head_sums_parts_and_stays_short_with_many() -> None:
    head = head_of(manifest_bytes(draw_of([{"mit": 3, "": 1}, {"mit": 2, OTHER_VALUES: 4}])))
    assert head.carried == {"pairs": {"licence": {"mit": 5, "": 1, OTHER_VALUES: 4}}}
    for num_parts in (300, 3000):
        unique = [{"mit": 1, **{f"{part}-{n}": 1 for n in range(30)}} for part in range(num_parts)]
        (counts,) = head_of(manifest_bytes(draw_of(unique))).carried["pairs"].values()
        assert (len(counts), counts["mit"]) == (MAX_CARRIED_VALUES + 1, num_parts)
        assert sum(counts.values()) == 31 * num_parts


def test_values_of_one_frequency_come_in_order() -> None:
    assert [*most_frequent({"b": 1, "a": 1, "c": 2, OTHER_VALUES: 9}, 2)] == ["c", "a", OTHER_VALUES]
