"""lmms-eval's own class for NEO-ov asks an exported folder, and gets the answers that it gives without the kit.

Tried where `NEO_LMMS_EVAL` is a Python that has lmms-eval.
"""

import os
from pathlib import Path

import pytest

from tests.stages.exporting.test_loadable import QUESTIONS, answers_of, exported, pictures  # noqa: F401

SCRIPT = Path(__file__).parent / "asked_by_lmms_eval.py"


def test_the_kit_gets_the_answers_of_the_folder(exported, pictures, tmp_path) -> None:  # noqa: F811
    python = os.environ.get("NEO_LMMS_EVAL")
    if not python:
        pytest.skip("NEO_LMMS_EVAL names no Python with lmms-eval")
    folder, _ = exported
    told = answers_of(python, folder, pictures, tmp_path, script=SCRIPT)
    assert told["kit"] == told["alone"]
    assert len(set(told["kit"])) == len(QUESTIONS), "the questions tell answers apart"
    assert told["same pictures"] == [True] * len(QUESTIONS)
