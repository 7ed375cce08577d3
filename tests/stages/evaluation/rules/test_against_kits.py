"""The rules beside the kits' own code, on thousands of answers made by one seed.

The kits are not installed here: `NEO_VLMEVALKIT` and `NEO_LMMS_EVAL` name folders with a copy of each, and a test whose
folder is not named skips itself. Only the functions that are compared are run, so that nothing of the kits' own
requirements is needed.
"""

import __future__

import ast
import copy
import math
import os
import random
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.evaluation.rules.kit_choices import mmmu_choice, vlmevalkit_choice
from stages.evaluation.rules.mmmu_open import mmmu_open_score
from stages.evaluation.rules.short_answers import anls, containment, equality, relaxed_accuracy
from stages.evaluation.rules.vqa_accuracy import vqa_accuracy, vqa_spelling
from stages.evaluation.rules.yes_no import says_yes

NUM_ANSWERS = 4000
SPOKEN = (
    "a A the an dog dogs cat red Red RED blue yes Yes no No not none two ten 2 10 100 99 105 95 0 0.5 50% 12% 1,000 "
    "1000 -3 3.14 1e3 2.50 isnt isn't couldntve couldn't've he'd've it's its so is answer Answer: therefore thus final "
    "result = could be B B. (B) (A) A. C C) **C** D E Z Option The a/b red,blue ; : ! ? e-mail U.S. no. 5. x^2 ß İ {x} "
    "$5 ten. o'clock somebody'd yall'd've 'twas it'dve"
)
WORDS = SPOKEN.split()
OPTIONS = ["a dog", "two dogs", "red", "The blue cat"]
TRUTHS = ["dog", "2 dogs", "red", "1000", "0.5", "95", "100", "A cat", "x^2", "yes", "12%", "isn't"]


def kit_folder(variable: str) -> Path:
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} names no copy of the kit")
    return Path(folder)


def defined_in(path: Path, **given: Any) -> dict[str, Any]:
    """What the functions, classes and constants of a file are, without running what the file imports."""
    names: dict[str, Any] = {
        "np": np, "re": re, "os": os, "string": string, "Counter": Counter, "cp": copy, "math": math,
        "random": random, "ast": ast, "logger": None,
    } | given  # fmt: skip
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign):
            if not isinstance(node, ast.Assign):
                node.decorator_list = []
            try:
                exec(compile(ast.Module([node], []), str(path), "exec", __future__.annotations.compiler_flag), names)
            except Exception:
                continue
    return names


@pytest.fixture(scope="module")
def vlmevalkit() -> dict[str, Any]:
    folder = kit_folder("NEO_VLMEVALKIT") / "vlmeval"
    misc = defined_in(folder / "smp/misc.py")
    shared = {name: misc[name] for name in ("process_punctuation", "istype")}
    return (
        defined_in(folder / "utils/matching_util.py")
        | defined_in(folder / "dataset/utils/yorn.py", **shared)
        | defined_in(folder / "dataset/utils/vqa_eval.py", **shared, listinstr=lambda some, text: some[0] in text)
    )


@pytest.fixture(scope="module")
def lmms_eval() -> dict[str, Any]:
    return defined_in(kit_folder("NEO_LMMS_EVAL") / "lmms_eval/api/metrics.py")


def answers(seed: int = 7) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(NUM_ANSWERS):
        words = chance.choices(WORDS, k=chance.choice((1, 1, 1, 2, 3, 4, 6, 9)))
        yield "".join(word + chance.choice((" ", " ", " ", "\n", "  ", ", ", ". ")) for word in words).rstrip(",")


def truths(seed: int = 8) -> Iterator[list[str]]:
    chance = random.Random(seed)
    while True:
        yield chance.choices([*TRUTHS, *WORDS], k=chance.choice((1, 2, 10)))


def test_short_answers_as_vlmevalkit_scores_them(vlmevalkit: dict[str, Any]) -> None:
    line, hits = vlmevalkit["process_line"], vlmevalkit["hit_calculate"]

    def kit(method: str, name: str, answer: str, right: list[str]) -> float:
        return float(hits([line({"answer": str(right), "prediction": answer}, method=method)], name)[0])

    for answer, right in zip(answers(), truths(), strict=False):
        assert vqa_spelling(answer) == vlmevalkit["process_answer"](answer), answer
        assert anls(answer, right) == pytest.approx(kit("anls", "DocVQA", answer, right)), (answer, right)
        assert relaxed_accuracy(answer, right) == kit("relaxed_accuracy", "ChartQA", answer, right), (answer, right)
        assert equality(answer, right) == max(line({"answer": str(right), "prediction": answer}, "accuracy")["match"])
        if len(right) > 1:
            assert vqa_accuracy(answer, right) == pytest.approx(kit("vqa_score", "TextVQA", answer, right))
        else:
            assert vqa_accuracy(answer, right) == kit("", "VizWiz", answer, right)


def test_choices_and_yes_or_no_as_vlmevalkit_reads_them(vlmevalkit: dict[str, Any]) -> None:
    letters = dict(zip("ABCD", OPTIONS, strict=True))
    said = {"Yes": True, "No": False, "Unknown": None}
    for answer in answers():
        assert (vlmevalkit_choice(answer, OPTIONS) or False) == vlmevalkit["can_infer"](answer, dict(letters)), answer
        assert says_yes(answer) is said[vlmevalkit["YOrN_Extraction"](answer)], answer


def test_anls_and_relaxed_accuracy_as_lmms_eval_scores_them(lmms_eval: dict[str, Any]) -> None:
    chart = defined_in(kit_folder("NEO_LMMS_EVAL") / "lmms_eval/tasks/chartqa/utils.py")
    for answer, right in zip(answers(), truths(), strict=False):
        assert anls(answer, right) == pytest.approx(lmms_eval["anls"](right, [answer])["anls"]), (answer, right)
        plain = answer.strip()
        assert relaxed_accuracy(plain, right[:1]) == chart["relaxed_correctness"](plain, right[0])


def test_ocr_answers_as_lmms_eval_scores_them() -> None:
    folder = kit_folder("NEO_LMMS_EVAL") / "lmms_eval/tasks/ocrbench/utils.py"
    process = defined_in(folder)["ocrbench_process_results"]
    for answer, right in zip(answers(), truths(), strict=False):
        for name, is_formula in (("HME100k", True), ("IIIT5K", False)):
            row = {"answer": right, "dataset": name, "question_type": ""}
            kit = process(row, [answer])["ocrbench_accuracy"]["score"]
            assert containment(answer, right, is_formula=is_formula) == kit, (answer, right)


def test_mmmu_as_its_authors_score_it_in_lmms_eval() -> None:
    folder = kit_folder("NEO_LMMS_EVAL") / "lmms_eval/tasks"
    choose = defined_in(folder / "_task_utils/mmmu_mcq_utils.py", random=_Never())["parse_mmmu_multi_choice_response"]
    kit = defined_in(folder / "mmmu/utils.py")
    letters = dict(zip("ABCD", OPTIONS, strict=True))
    for answer, right in zip(answers(), truths(), strict=False):
        assert mmmu_choice(answer, OPTIONS) == choose(answer, list(letters), letters), answer
        expected = kit["eval_open"](right, kit["parse_open_response"](answer))
        assert mmmu_open_score(answer, right) == float(expected), (answer, right)


class _Never:
    """Stands where the kit draws an option at random: no option."""

    def choice(self, _options: list[str]) -> None:
        return None
