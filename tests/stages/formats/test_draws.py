"""What a draw records of its sources, summed over parts."""

from stages.artifacts.records import PartRecord
from stages.formats.draws import DrawFacts, drawn_by_source


def record(part: str, facts: DrawFacts) -> PartRecord:
    return PartRecord(phase="draw", part=part, facts=facts.dump())


def test_numbers_are_summed_by_source() -> None:
    records = [
        record("a-0", DrawFacts(source="a", part="0", num_samples=5, num_held_out=1, num_distinct=3, num_drawn=4)),
        record("a-1", DrawFacts(source="a", part="1", num_samples=2, num_held_out=0, num_distinct=2, num_drawn=2)),
        record("b-0", DrawFacts(source="b", part="0", num_samples=9, num_drawn=1, num_distinct=1, num_tokens=7.0)),
    ]
    assert drawn_by_source(records) == {
        "a": {"samples": 7, "held_out": 1, "distinct": 5, "drawn": 6},
        "b": {"samples": 9, "distinct": 1, "drawn": 1, "tokens": 7.0},
    }


def test_what_a_draw_of_an_earlier_number_lacks_is_left_out() -> None:
    old = PartRecord(phase="draw", part="a-0", facts={"source": "a", "num_samples": 5, "num_drawn": 4})
    assert drawn_by_source([old]) == {"a": {"samples": 5, "drawn": 4}}
