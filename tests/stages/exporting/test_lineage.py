"""The lineage of an export is plain JSON that says of every artifact what it was used for."""

import json

from stages.exporting.lineage import finite, lineage_document
from tests.stages.exporting.test_model_card import HOSTILE, LINEAGE


def test_lineage_is_plain_json_from_the_first_input_to_the_checkpoint() -> None:
    lineage = json.loads(json.dumps(lineage_document(LINEAGE)))
    assert [each["fingerprint"][0] for each in lineage["artifacts"]] == [*"abef12c"]
    assert lineage["checkpoint"] == "c" * 64
    draw = lineage["artifacts"][1]
    assert draw["drawn"] == {"pairs": 63, "text": 27}
    assert draw["carried"]["pairs"] == {"licence": {"": 59, HOSTILE: 4}}
    assert draw["inputs"]["sources.pairs"]["content"] == "a" * 64


def test_uses_and_scores_are_told() -> None:
    lineage = lineage_document(LINEAGE)
    told = {each["fingerprint"][0]: (each["learned_from"], each["used"]) for each in lineage["artifacts"]}
    assert told["a"] == (True, [])
    assert told["f"] == told["e"] == (False, ["examined on while training", "measured on"])
    assert [each["stage"] for each in lineage["evaluated"]] == ["evaluate"]
    assert lineage["scores"]["held_out"]["metrics"]["accuracy"] == 0.9004


def test_metrics_that_json_has_no_word_for_are_null() -> None:
    assert finite({"a": float("nan"), "b": float("-inf"), "c": 0.5, "d": 3}) == {"a": None, "b": None, "c": 0.5, "d": 3}
