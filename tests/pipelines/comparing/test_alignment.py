"""Steps are aligned by artifact, by name and stage, and by a stage that is left once on both sides."""

from pipelines.comparing.alignment import aligned
from pipelines.comparing.sides import ComparedStep


def step(name: str, stage: str, digits: str) -> ComparedStep:
    return ComparedStep(name, stage, digits, {}, 1, {}, None)


def names(first: list[ComparedStep], second: list[ComparedStep]) -> list[tuple[str, str]]:
    return [(one.step if one else "", other.step if other else "") for one, other in aligned(first, second)]


def test_an_inserted_step_shifts_none() -> None:
    before = [step("pairs", "read", "1"), step("kept", "filter", "2"), step("rows", "pack", "3")]
    inserted = [step("more", "filter", "4"), step("kept", "filter", "5")]
    after = [step("pairs", "read", "1"), *inserted, step("rows", "pack", "6")]
    assert names(before, after) == [("pairs", "pairs"), ("kept", "kept"), ("rows", "rows"), ("", "more")]
    assert names(after, before) == [("pairs", "pairs"), ("more", ""), ("kept", "kept"), ("rows", "rows")]


def test_a_renamed_step_is_found_by_its_artifact_or_where_its_stage_is_left_once() -> None:
    assert names([step("a", "read", "1")], [step("b", "read", "1")]) == [("a", "b")]
    assert names([step("a", "read", "1")], [step("b", "read", "2")]) == [("a", "b")]
    two = [step("b", "read", "2"), step("c", "read", "3")]
    assert names([step("a", "read", "1")], two) == [("a", ""), ("", "b"), ("", "c")]


def test_two_steps_of_one_name_are_aligned_in_their_order() -> None:
    twice = [step("pairs", "read", "1"), step("pairs", "read", "2")]
    other = [step("pairs", "read", "3"), step("pairs", "read", "2")]
    assert [(one and one.fingerprint, two and two.fingerprint) for one, two in aligned(twice, other)] == [
        ("1", "3"), ("2", "2"),
    ]  # fmt: skip
