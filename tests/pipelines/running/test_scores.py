"""The tables of scores: each kind beside its controls, a benchmark beside what was published."""

from pipelines.running.scores import accuracy_table, published_table
from stages.evaluation.metrics import ScoredAnswer, metrics


def scored(kind: str, correct: bool, **further: object) -> ScoredAnswer:
    return ScoredAnswer(kind=kind, truth="Yes", correct=correct, blind_correct=False, **further)  # type: ignore[arg-type]


def test_each_mean_has_a_row_for_each_kind_and_no_other_number_has_one() -> None:
    answers = [scored("ocr", True, scoring="yes_no", says_yes=True, sets=("picture:1",)), scored("scene", False)]
    answers += [scored("doc", False, scoring="anls", score=0.8, blind_score=0.1)]
    table = accuracy_table(metrics(answers, num_failed=0))
    assert table.cells(0) == ["all", "ocr", "scene", "all: ANLS", "doc: ANLS"]
    assert table.cells(1) == ["0.500", "1.000", "0.000", "0.800", "0.800"]
    assert all(" to " in interval for interval in table.cells(2))
    assert table.cells(3) == ["0.000", "0.000", "0.000", "0.100", "0.100"]


def test_a_benchmark_stands_beside_what_was_published_of_it() -> None:
    table = published_table("docvqa", {"score": 0.9123, "score_95_low": 0.9, "score_95_high": 0.92})
    assert table is not None
    assert table.cells(0)[:3] == ["this checkpoint", "NEO 2B, published", "NEO 2B again, published"]
    assert table.cells(1)[:3] == ["91.2", "89.9", "89.9"] and table.cells(2)[0] == "90.0 to 92.0"
    points = published_table("mme", {"score": 1900.0, "score_perception": 1500.0, "score_95_low": 1.0})
    assert points is not None and points.cells(1) == ["1500.0", "1565.7"]
    assert published_table("mme", {"score": 1.0}) is None and published_table("site_image", {"score": 0.5}) is None
    assert max(line.cell_len for line in table.lines(80)) <= 80
