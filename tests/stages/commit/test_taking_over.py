"""Parts taken over by reference: killed at any commit of it, a step ends with the same records and the same content."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.local import make
from stages.artifacts.kinds import SAMPLES_FILE, VERDICTS_FILE, KeptPairs, RawPairs
from stages.artifacts.records import ItemBalance
from stages.artifacts.taken_over import TAKEN_FROM, with_superseded
from stages.contract import BindError, Part, PartDraft, Recipe, StageContext, stage
from stages.contract.binding import Step
from tests.long import long

NUM_PARTS = 6


class WordsRecipe(Recipe):
    """How many parts there are."""

    num_parts: int


def write_part(part: Part, draft: PartDraft) -> None:
    draft.path(SAMPLES_FILE).write_text(f"words of {part.name}")
    draft.count(ItemBalance(kept=3, failed={"timeout": 2}))


def judge_part(part: Part, draft: PartDraft, words: RawPairs) -> None:
    text = words.read(words.part(part.name).file(SAMPLES_FILE)).decode()
    draft.path(VERDICTS_FILE).write_text(text.upper())
    draft.count(ItemBalance(kept=3))


def _judge_verdicts(part: Part, draft: PartDraft) -> None:
    draft.path(VERDICTS_FILE).write_text(part.name)
    draft.count(ItemBalance(kept=3))


class _Judge:
    """Work that pickles."""

    def __init__(self, words: RawPairs) -> None:
        self.words = words

    def __call__(self, part: Part, draft: PartDraft) -> None:
        judge_part(part, draft, self.words)


@stage(number=1, recipe=WordsRecipe, makes=RawPairs)
def write_words(recipe: WordsRecipe, *, ctx: StageContext) -> None:
    ctx.spread(write_part, over=[Part(name=f"{number:03d}") for number in range(recipe.num_parts)], phase="write")


@stage(number=1, recipe=WordsRecipe, makes=RawPairs)
def write_more(recipe: WordsRecipe, extends: RawPairs, *, ctx: StageContext) -> None:
    taken = [with_superseded(record, {"timeout"}) for record in extends.parts]
    over = [Part(name=record.part, num_items=record.items.total) for record in taken]
    over += [Part(name=f"more_{number}") for number in range(recipe.num_parts)]
    ctx.spread(write_part, over=over, phase="write", taken=taken)


@stage(number=1, recipe=WordsRecipe, makes=KeptPairs, part_by_part="raw")
def judge_again(_: WordsRecipe, raw: KeptPairs, *, ctx: StageContext) -> None:
    ctx.spread(_judge_verdicts, over=[Part(name=record.part) for record in raw.parts], phase="judge")


@stage(number=1, recipe=WordsRecipe, makes=KeptPairs, part_by_part="raw")
def judge_words(_: WordsRecipe, raw: RawPairs, *, ctx: StageContext) -> None:
    ctx.spread(_Judge(raw), over=[Part(name=record.part) for record in raw.parts], phase="judge")


def steps() -> tuple[Step[KeptPairs], Step[KeptPairs]]:
    """Verdicts on some words, and on those and more."""
    words = write_words.bind("words", WordsRecipe(num_parts=NUM_PARTS))
    more = write_more.bind("more", WordsRecipe(num_parts=2), words)
    recipe = WordsRecipe(num_parts=0)
    return judge_words.bind("judged", recipe, words), judge_words.bind("judged_more", recipe, more)


def make_more(folder: str) -> None:
    """Make the second step where the first is committed; a process of its own that a fault may kill."""
    make(steps()[1], folder)


def in_a_process(folder: Path, fault: str = "") -> int:
    code = "import sys; from tests.stages.commit.test_taking_over import make_more; make_more(sys.argv[1])"
    environment = os.environ | ({"NEO_FAULT": fault} if fault else {})
    root = Path(__file__).parents[3]
    return subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, cwd=root, check=False).returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> KeptPairs:
    folder = tmp_path_factory.mktemp("undisturbed")
    make(steps()[0], folder)
    return make(steps()[1], folder)


@pytest.mark.parametrize(
    "fault",
    [
        "part.taken_over:before@1=kill",
        long("part.taken_over:after@4=kill"),
        long("part.recorded:before@1=kill"),
        long(f"part.taken_over:before@{NUM_PARTS + 3}=kill"),
        long(f"part.taken_over:after@{2 * NUM_PARTS}=kill"),
        "part.recorded:after@4=kill",
    ],
)
def test_killed_while_it_takes_over_it_ends_with_the_same_content(
    fault: str, undisturbed: KeptPairs, tmp_path: Path
) -> None:
    make(steps()[0], tmp_path)
    assert in_a_process(tmp_path, fault) == -signal.SIGKILL
    assert in_a_process(tmp_path) == 0
    ended = make(steps()[1], tmp_path)
    assert ended.head.content == undisturbed.head.content
    assert [(part.part, part.items, part.facts) for part in ended.parts] == [
        (part.part, part.items, part.facts) for part in undisturbed.parts
    ]
    assert [TAKEN_FROM in part.made_by for part in ended.parts] == [True] * NUM_PARTS + [False] * 2


def test_what_was_taken_over_is_read_and_counted_once(undisturbed: KeptPairs) -> None:
    more = undisturbed.input("raw", RawPairs)
    assert more.head.items == ItemBalance(kept=24, failed={"timeout": 4})
    assert more.read(more.part("003").file(SAMPLES_FILE)) == b"words of 003"
    assert undisturbed.read(undisturbed.part("003").file(VERDICTS_FILE)) == b"WORDS OF 003"
    first = steps()[0]
    assert undisturbed.head.provenance["taken_over"] == {f"judge_words/{first.fingerprint[:12]}": NUM_PARTS}


def test_a_lost_file_is_called_by_both_artifacts(undisturbed: KeptPairs, tmp_path: Path) -> None:
    make(steps()[0], tmp_path)
    judged = make(steps()[1], tmp_path)
    entry = judged.part("003").file(VERDICTS_FILE)
    (tmp_path / entry.key).unlink()
    with pytest.raises(Exception, match=r"which took it over from judge_words/[0-9a-f]{12}, is missing"):
        judged.read(entry)


def test_an_earlier_chain_that_lost_its_beginning_costs_only_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chains = []
    for judged in steps():
        again = judge_again.bind("again", WordsRecipe(num_parts=1), judged)
        chains.append(judge_again.bind("last", WordsRecipe(num_parts=2), again))
    make(chains[0], tmp_path)
    shutil.rmtree(tmp_path / "artifacts" / "judge_words")
    made = make(chains[1], tmp_path)
    assert len(made.parts) == NUM_PARTS + 2 and "taken_over" not in made.head.provenance
    assert "step last takes over no part of what was made before" in caplog.text


def test_part_by_part_names_a_single_input() -> None:
    with pytest.raises(BindError, match=r"part_by_part is 'words', and its single inputs are \['raw'\]"):

        @stage(number=1, recipe=WordsRecipe, makes=KeptPairs, part_by_part="words")
        def wrong(_: WordsRecipe, raw: RawPairs, *, ctx: StageContext) -> None: ...
