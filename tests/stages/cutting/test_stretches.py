"""Clips begin and end where they are asked to, where scenes change, and where they would become too long."""

from itertools import pairwise

import pytest

from stages.cutting.reasons import ClipReason
from stages.cutting.stretches import LengthRule, Stretch, asked_for, cut_stretch

ANY = LengthRule(min_clip_seconds=0.0, max_clip_seconds=None, longer="cut")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, Stretch(0.0, 10.0)),
        (2.5, None, Stretch(2.5, 10.0)),
        (None, 4.0, Stretch(0.0, 4.0)),
        (2.0, 99.0, Stretch(2.0, 10.0)),
        (4.0, 4.0, Stretch(4.0, 4.0, ClipReason.BAD_TIMES)),
        (6.0, 4.0, Stretch(6.0, 4.0, ClipReason.BAD_TIMES)),
        (10.0, None, Stretch(10.0, 10.0, ClipReason.OUTSIDE_VIDEO)),
        (11.0, 12.0, Stretch(11.0, 12.0, ClipReason.OUTSIDE_VIDEO)),
    ],
)
def test_a_row_asks_for_a_stretch_of_the_video(start: float | None, end: float | None, expected: Stretch) -> None:
    assert asked_for(start, end, 10.0) == expected


def test_scenes_outside_a_stretch_and_at_its_ends_cut_nothing() -> None:
    found = list(cut_stretch(Stretch(2.0, 8.0), [0.0, 1.0, 2.0, 5.0, 8.0, 9.0, 5.0], ANY))
    assert found == [Stretch(2.0, 5.0), Stretch(5.0, 8.0)]


def test_a_stretch_with_a_reason_is_not_cut() -> None:
    lost = Stretch(12.0, 20.0, ClipReason.OUTSIDE_VIDEO)
    assert list(cut_stretch(lost, [13.0], ANY)) == [lost]


def test_long_stretches_are_cut_into_equal_pieces_or_dropped() -> None:
    by_length = LengthRule(min_clip_seconds=1.0, max_clip_seconds=4.0, longer="cut")
    pieces = list(cut_stretch(Stretch(0.0, 9.0), [], by_length))
    assert pieces == [Stretch(0.0, 3.0), Stretch(3.0, 6.0), Stretch(6.0, 9.0)]
    dropping = LengthRule(min_clip_seconds=1.0, max_clip_seconds=4.0, longer="drop")
    found = list(cut_stretch(Stretch(0.0, 9.0), [0.5, 4.5], dropping))
    assert [one.reason for one in found] == [ClipReason.TOO_SHORT, None, ClipReason.CLIP_TOO_LONG]


def test_pieces_meet_and_end_where_the_stretch_ends() -> None:
    rule = LengthRule(min_clip_seconds=0.0, max_clip_seconds=0.7, longer="cut")
    pieces = list(cut_stretch(Stretch(0.1, 10.3), [], rule))
    assert pieces[0].start_seconds == 0.1
    assert pieces[-1].end_seconds == 10.3
    assert all(one.end_seconds == other.start_seconds for one, other in pairwise(pieces))
    assert max(one.end_seconds - one.start_seconds for one in pieces) <= 0.7 + 1e-9
