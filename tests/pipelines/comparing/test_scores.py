"""Which evaluations of two sides are compared, each with one other, and what sets the rest apart."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from pipelines.commands.diff import score_lines, unpaired_table
from pipelines.comparing.scores import compared_scores
from pipelines.comparing.sides import RUN_KIND, ComparedStep, Side
from pipelines.screen.console import open_console
from pipelines.screen.text_table import print_whole
from stages.artifacts.head import read_head
from stages.artifacts.kinds import METRICS_FILE
from stages.artifacts.manifest import Manifest, manifest_bytes, manifest_key
from stages.artifacts.records import FileEntry, InputRecord, ItemBalance, PartRecord
from stages.store.store import Store

SAME = "q" * 64
LOOKED_UP = "9" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def evaluation(
    store: Store, name: str, accuracy: float, /, *, model: str, step: str = "", **fields: Any
) -> ComparedStep:
    """A committed evaluation whose fingerprint begins with `name`. `fields` are those of its recipe, and `pairs`."""
    fingerprint = name * 16
    data = json.dumps({"accuracy": accuracy}).encode()
    key = f"artifacts/evaluate/{fingerprint[:12]}/metrics.json"
    store.create(key, data)
    entry = FileEntry(name=METRICS_FILE, key=key, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    read = {"checkpoint": ("tune_end_to_end", model * 32), "questions": ("read_questions", SAME)}
    read |= {"pairs": ("import_pairs", LOOKED_UP)} if fields.pop("pairs", False) else {}
    number = fields.pop("number", 4)
    manifest = Manifest(
        kind="Evaluation", stage="evaluate", number=number, fingerprint=fingerprint, recipe=fields,
        inputs={one: InputRecord(stage=stage, fingerprint=of, content=of) for one, (stage, of) in read.items()},
        parts=(PartRecord(phase="evaluate", part="00000", files=(entry,)),), items=ItemBalance(), content=fingerprint,
        versions={}, provenance={"step": step or name},
    )  # fmt: skip
    store.create(manifest_key("evaluate", fingerprint), manifest_bytes(manifest))
    return of_head(store, fingerprint)


def of_head(store: Store, fingerprint: str) -> ComparedStep:
    head = read_head(store, "evaluate", fingerprint)
    assert head is not None
    return ComparedStep(
        step=head.provenance["step"], stage="evaluate", fingerprint=fingerprint, recipe=head.recipe, number=head.number,
        reads={name: item.fingerprint for name, item in head.inputs.items()}, head=head,
    )  # fmt: skip


def side(*evaluations: ComparedStep) -> Side:
    return Side("r", "r", RUN_KIND, evaluations, evaluations)


def told(store: Store, a: Side, b: Side) -> tuple[list[tuple[str, str]], list[tuple[str, str, list[str]]]]:
    """Who is compared with whom, and who with none and why, by the first letters of fingerprints."""
    scores, unpaired = compared_scores(store, a, b)
    pairs = [(one.a.partition("/")[2][:4], one.b.partition("/")[2][:4]) for one in scores]
    alone = [(one.side, one.evaluation.partition("/")[2][:4], [str(each) for each in one.changes]) for one in unpaired]
    return pairs, alone


@pytest.mark.parametrize("names", [("x", "y", "x", "y"), ("x", "y", "v", "w"), ("x", "y", "y", "x")])
def test_evaluations_of_one_checkpoint_are_compared_and_each_with_one(store: Store, names: tuple[str, ...]) -> None:
    aaaa = evaluation(store, "aaaa", 0.30, model="c1", step=names[0])
    bbbb = evaluation(store, "bbbb", 0.80, model="c2", step=names[1])
    cccc = evaluation(store, "cccc", 0.31, model="c1", step=names[2], number=2)
    dddd = evaluation(store, "dddd", 0.81, model="c3", step=names[3])
    assert told(store, side(aaaa, bbbb), side(cccc, dddd)) == ([("aaaa", "cccc"), ("bbbb", "dddd")], [])
    scores, _ = compared_scores(store, side(aaaa, bbbb), side(dddd, cccc))
    assert [(one.numbers[0].a, one.numbers[0].b) for one in scores] == [(0.30, 0.31), (0.80, 0.81)]


def test_steps_of_one_name_are_compared_and_what_is_not_clear_is_not(store: Store) -> None:
    few = side(evaluation(store, "aaaa", 0.3, model="c1", step="mid"), evaluation(store, "bbbb", 0.8, model="c2"))
    many = side(evaluation(store, "cccc", 0.4, model="c3"), evaluation(store, "dddd", 0.8, model="c4", step="mid"))
    assert told(store, few, many) == ([("aaaa", "dddd"), ("bbbb", "cccc")], [])
    one = side(evaluation(store, "eeee", 0.5, model="c5"))
    assert told(store, few, one) == ([], [("a", "aaaa", []), ("a", "bbbb", []), ("b", "eeee", [])])
    assert told(store, few, few) == ([], [])


def test_another_recipe_or_other_pairs_are_not_compared_but_told(store: Store) -> None:
    plain = evaluation(store, "aaaa", 0.3, model="c1")
    longer = evaluation(store, "bbbb", 0.5, model="c2", max_new_tokens=64, shuffled_control=True)
    found = told(store, side(plain), side(longer))
    changes = ["max_new_tokens: 32 -> 64", "shuffled_control: false -> true"]
    assert found == ([], [("a", "aaaa", changes), ("b", "bbbb", changes)])
    paired = evaluation(store, "cccc", 0.5, model="c2", pairs=True)
    changes = [f'pairs: (absent) -> "import_pairs/{LOOKED_UP[:12]}"']
    assert told(store, side(plain), side(longer, paired))[1][0] == ("a", "aaaa", changes)
    same = evaluation(store, "dddd", 0.4, model="c2", max_new_tokens=32, allow_trained_on=True)
    assert told(store, side(plain), side(longer, same))[0] == [("aaaa", "dddd")], "a default, and conduct"


def test_the_tables_name_both_artifacts_in_80_columns(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr("pipelines.screen.text_table.is_screen", lambda _: True)
    monkeypatch.setenv("NO_COLOR", "1")
    a = side(evaluation(store, "aaaa", 0.3, model="c1"), evaluation(store, "bbbb", 0.3, model="c1", max_frames=8))
    b = side(evaluation(store, "cccc", 0.4, model="c2", step="other"))
    scores, unpaired = compared_scores(store, a, b)
    console = open_console()
    for thing in (*(line for score in scores for line in score_lines(score)), unpaired_table(unpaired)):
        print_whole(console, Text(thing) if isinstance(thing, str) else thing)
    out = capsys.readouterr().out
    for text in ("evaluate/aaaaaaaaaaaa", "evaluate/cccccccccccc", "+0.1", "not compared", "max_frames: 8 -> 256"):
        assert text in out, out
    assert "evaluate/bbbbbbbbbbbb  bbbb, on read_questions/qqqqqqqqqqqq" in out
    assert max(map(len, out.splitlines())) <= 80
