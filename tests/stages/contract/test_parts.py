import pytest
from pydantic import Field, ValidationError

from stages.artifacts.records import PartRecord
from stages.contract import Part, PartFacts, PartTask


class Stretch(PartTask):
    start: int
    stop: int | None = None
    repeats: dict[int, int] = Field(default_factory=dict)


class Counts(PartFacts):
    num_rows: int


def test_a_task_travels_as_plain_json_and_comes_back() -> None:
    task = Stretch(start=3, stop=None, repeats={1: 2})
    assert task.dump() == {"start": 3, "stop": None, "repeats": {"1": 2}}
    assert Stretch.of(Part(name="a", task=task.dump())) == task


def test_a_field_that_was_not_given_is_not_written() -> None:
    assert Stretch(start=3).dump() == {"start": 3}


def test_a_reader_ignores_the_facts_that_it_does_not_name() -> None:
    assert Counts.of(PartRecord(phase="p", part="a", facts={"num_rows": 2, "fill": 0.5})).num_rows == 2


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValidationError, match="num_rows"):
        Counts.of(PartRecord(phase="p", part="a", facts={"fill": 0.5}))
