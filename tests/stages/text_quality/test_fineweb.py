"""FineWeb's own rules at their limits."""

import pytest

from stages.text_quality.fineweb import FineWebQuality, reason_of_fineweb
from stages.text_quality.reasons import DocumentReason
from stages.text_quality.split_text import SplitText

LINES = [f"The teacher of village {number} walks to the old bridge every day." for number in range(10)]
OPEN = [line.rstrip(".") for line in LINES]


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        (None, LINES),
        (None, [*LINES[:1], *OPEN[1:8]]),
        (DocumentReason.TOO_FEW_FULL_LINES, [*LINES[:1], *OPEN[1:9]]),
        (DocumentReason.TOO_FEW_FULL_LINES, OPEN),
        (None, [*LINES[:4], *(f"Short line {number}." for number in range(8))]),
        (DocumentReason.TOO_MANY_SHORT_LINES, [*LINES[:4], *(f"Short line {number}." for number in range(9))]),
        (DocumentReason.REPEATED_CHARS, [*LINES, LINES[0]]),
        (None, [*LINES, "Yes.", "Yes."]),
        (
            DocumentReason.TOO_MANY_LINES,
            ["Unpronounceable.unpronounceable.", "", "Incomprehensible_incomprehensible.", ""],
        ),
        (DocumentReason.NOTHING_LEFT, ["", "  ", ""]),
    ],
)
def test_each_rule_at_its_limit(reason: DocumentReason | None, lines: list[str]) -> None:
    assert reason_of_fineweb(SplitText("\n".join(lines)), FineWebQuality()) is reason


def test_limits_are_fields() -> None:
    split = SplitText("\n".join([*LINES, LINES[0]]))
    assert reason_of_fineweb(split, FineWebQuality(max_repeated_chars=0.1)) is None
    assert reason_of_fineweb(split, FineWebQuality(max_repeated_chars=0.1, short_line_chars=99)) is (
        DocumentReason.TOO_MANY_SHORT_LINES
    )
