"""Profiles of parts add up to the profile of the whole, and do not grow with the rows."""

import datetime
import hashlib
import json
import random
from typing import Any

import pyarrow as pa
import pytest

from stages.profiles.profile import (
    MAX_NAMES,
    MAX_NAMES_OF_PART,
    MAX_TEXT_CHARS,
    NUM_KEPT_SHOWN,
    NUM_LOST_SHOWN,
    Profile,
    profile_of,
)

REASONS = [None, None, None, "too_small", "mismatched", "score_unreadable"]


def rows(first: int, count: int) -> pa.Table:
    picked = [random.Random(number) for number in range(first, first + count)]
    reasons = [one.choice(REASONS) for one in picked]
    verdicts = ["kept" if why is None else "failed" if why == "score_unreadable" else "dropped" for why in reasons]
    return pa.table(
        {
            "sample_id": [hashlib.sha256(str(number).encode()).digest()[:16] for number in range(first, first + count)],
            "verdict": verdicts,
            "reason": pa.array(reasons, pa.string()),
            "url": [f"https://host{one.randrange(20)}.example/{one.random()}" for one in picked],
            "caption": ["word " * one.randrange(20) for one in picked],
            "width_px": [one.randrange(16, 2000) for one in picked],
            "height_px": [one.randrange(16, 2000) for one in picked],
            "similarity": pa.array([one.choice([None, one.random()]) for one in picked], pa.float64()),
        }
    )


def profile(first: int, count: int, num_parts: int = 1) -> Profile:
    return profile_of(rows(first, count), part=f"{first:05d}", num_parts=num_parts)


def added(*profiles: Profile) -> Profile:
    whole = Profile()
    for one in profiles:
        whole.add(one)
    return whole


def counts(one: Profile) -> Any:
    return json.loads(one.dump()) | {"num_parts": 0, "examples": {}}


def test_parts_add_up_to_the_whole() -> None:
    parts = [profile(0, 300, 3), profile(300, 50, 3), profile(350, 450, 3)]
    whole = profile(0, 800)
    assert counts(added(*parts)) == counts(whole)
    assert counts(added(*reversed(parts))) == counts(whole)
    assert sum(sum(bins.values()) for bins in whole.bins["aspect"].values()) == 800
    assert (
        sum(sum(bins.values()) for bins in whole.bins["similarity"].values()) + whole.num_without["similarity"] == 800
    )


def test_examples_are_those_with_the_smallest_digests_however_the_rows_are_cut() -> None:
    whole = added(profile(0, 800))
    cut = added(*(profile(first, 100, 8) for first in range(0, 800, 100)))
    shown = {key: [one.sample_id for one in examples] for key, examples in whole.examples.items()}
    assert set(shown) == {"", "too_small", "mismatched", "score_unreadable"}
    assert len(shown[""]) == NUM_KEPT_SHOWN
    assert len(shown["too_small"]) == NUM_LOST_SHOWN
    assert {key: [one.sample_id for one in examples] for key, examples in cut.examples.items()} == shown


def test_examples_come_from_parts_all_over() -> None:
    cut = added(*(profile(first, 100, 200) for first in range(0, 20_000, 100)))
    table_parts = {
        first: {row.hex() for row in rows(first, 100)["sample_id"].to_pylist()} for first in range(0, 20_000, 100)
    }
    from_parts = {first for first, ids in table_parts.items() for one in cut.examples[""] if one.sample_id in ids}
    assert len(from_parts) > NUM_KEPT_SHOWN // 2


def test_a_profile_grows_with_bins_and_reasons_and_not_with_rows() -> None:
    small, large = (len(profile(0, count, 1000).dump()) for count in (1_000, 10_000))
    assert large < 1.6 * small
    assert large < 16_000


def test_names_are_bounded() -> None:
    def named(first: int, count: int) -> Profile:
        table = rows(0, count).set_column(
            3, "url", [[f"http://h{number}.example/" for number in range(first, first + count)]]
        )
        return profile_of(table, part="0", num_parts=1)

    one = named(0, 500)
    assert len(one.names["host"]) == MAX_NAMES_OF_PART
    assert one.num_others["host"] == 500 - MAX_NAMES_OF_PART
    whole = added(*(named(first, 100) for first in range(0, 20_000, 100)))
    assert len(whole.names["host"]) <= MAX_NAMES
    assert sum(n.total() for n in whole.names["host"].values()) + whole.num_others["host"] == 20_000


def test_a_profile_survives_being_kept() -> None:
    kept = profile(0, 500)
    read = Profile.parse(kept.dump())
    assert read.dump() == kept.dump()
    assert read.examples == kept.examples
    assert read.bins["aspect"]["kept"] == kept.bins["aspect"]["kept"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"num_parts": 1}', b'{"num_parts": "x"}', b"\xff\xfe"])
def test_what_is_no_profile_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Profile.parse(data)


def test_no_rows_and_text_that_is_no_utf8() -> None:
    assert profile(0, 0).dump()
    table = rows(0, 3)
    broken = pa.array([b"\xff caption"] * 3, pa.binary()).cast(pa.string(), safe=False)
    shown = profile_of(table.set_column(4, "caption", broken), part="0", num_parts=1)
    assert "\\xff caption" in {one.text for examples in shown.examples.values() for one in examples}


def test_columns_of_peoples_own_are_taken_for_nothing_of_ours() -> None:
    own = {"better_row": [datetime.date(2024, 1, 1)] * 3, "text": [7] * 3, "original_caption": [None] * 3}
    table = rows(0, 3)
    for name, values in own.items():
        table = table.append_column(name, pa.array(values))
    captions = pa.chunked_array([["before 0", "before 1", "before 2"]])
    plain = profile_of(table, part="0", num_parts=1)
    read = Profile.parse(plain.dump())
    assert {one.text for examples in read.examples.values() for one in examples} == {
        text[:MAX_TEXT_CHARS] for text in table["caption"].to_pylist()
    }
    assert all(one.better_row is None and not one.before for examples in read.examples.values() for one in examples)
    told = profile_of(table, part="0", num_parts=1, better_rows=[5, 6, 7], captions_before=captions)
    shown = [one for examples in Profile.parse(told.dump()).examples.values() for one in examples]
    assert {one.row: (one.better_row, one.before) for one in shown} == {
        row: (5 + row, f"before {row}") for row in range(3)
    }
