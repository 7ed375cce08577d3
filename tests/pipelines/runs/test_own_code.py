"""A user's stages: what makes them again, what a resume does with newer code, and which code made which part.

The README says in a sentence when a step is made again; the five tests below that are named after it hold it to that.
"""

import json
from pathlib import Path

import pytest

from pipelines.planning.request import Request
from pipelines.runs.run import Run, all_runs
from stages.artifacts.fingerprint import fingerprint
from stages.store.refs import read_ref
from tests.pipelines.conftest import NeoSite, Said
from tests.pipelines.running.test_execute_run import the_run

MINE = '''
"""Pairs of my own."""

from functools import partial
from pathlib import Path

import helpers
from stages.artifacts.kinds import KeptPairs
from stages.contract import ItemBalance, Part, PartDraft, Recipe, StageContext, stage


class LoadRecipe(Recipe):
    """What is loaded."""

    word: str = "neo"
    """What is written."""
    num_parts: int = 4
    """Number of parts."""


def write_part(part: Part, draft: PartDraft, recipe: LoadRecipe) -> None:
    text = helpers.shout(recipe.word)
    if part.name == "2":
        text = text  # the third part
    draft.path("word.txt").write_text(text)
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=LoadRecipe, makes=KeptPairs)
def load_pairs(recipe: LoadRecipe, *, ctx: StageContext) -> None:
    over = [Part(name=str(number)) for number in range(recipe.num_parts)]
    ctx.spread(partial(write_part, recipe=recipe), over=over, phase="write")


@stage(number=1, recipe=LoadRecipe, makes=KeptPairs)
def after(recipe: LoadRecipe, pairs: KeptPairs, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_part, recipe=recipe), over=[Part(name="only")], phase="write")


def go():
    return after.bind("after", LoadRecipe(word="end"), load_pairs.bind("pairs", LoadRecipe(num_parts=3)))
'''
BUGGY = MINE.replace("text = text  # the third part", 'raise ValueError("bug in my stage")')
HELPERS = '"""Words."""\n\n\ndef shout(word):\n    return word.upper()\n'


@pytest.fixture
def mine(site: NeoSite) -> Path:
    """A folder of the user's own with a pipeline file, and a module beside it."""
    folder = site.folder / "mine"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    (folder / "helpers.py").write_text(HELPERS)
    return folder / "mine.py"


def edit(path: Path, before: str, after: str) -> None:
    assert path.read_text().count(before) == 1
    path.write_text(path.read_text().replace(before, after))


def plan(site: NeoSite, path: Path) -> dict[str, tuple[str, str]]:
    said = site.neo("plan", f"{path}:go", "--json")
    assert said.code == 0, said.err
    return {step["name"]: (step["action"], step["reason"]) for step in said.json["steps"]}


def made(site: NeoSite, path: Path) -> Said:
    said = site.neo("run", f"{path}:go")
    assert said.code == 0, said.err
    assert {action for action, _ in plan(site, path).values()} == {"reuse"}
    return said


def manifest_of(site: NeoSite, name: str) -> dict:
    ref = read_ref(site.store, name)
    return site.store.read_json(f"artifacts/{ref['stage']}/{ref['fingerprint'][:12]}/manifest.json")


def words(site: NeoSite, name: str) -> list[str]:
    return [site.store.read(part["files"][0]["key"]).decode() for part in manifest_of(site, name)["parts"]]


def test_an_edited_default_makes_the_step_again(site: NeoSite, mine: Path) -> None:
    made(site, mine)
    edit(mine, 'word: str = "neo"', 'word: str = "ice"')
    action, reason = plan(site, mine)["pairs"]
    assert action == "make" and reason.startswith("the code changed: stage load_pairs of mine.py, ")
    assert 'word: "neo" -> "ice"' in site.neo("plan", f"{mine}:go").out
    made(site, mine)
    assert words(site, "go/pairs") == ["ICE"] * 3


def test_an_edited_stage_makes_the_step_again_and_so_does_an_edited_module_beside_it(site: NeoSite, mine: Path) -> None:
    made(site, mine)
    first = manifest_of(site, "go/pairs")
    edit(mine.with_name("helpers.py"), "word.upper()", "word.title()")
    old = first["provenance"]["code"]["sha256"][:12]
    reason = plan(site, mine)["pairs"][1]
    assert reason.startswith(f"the code changed: stage load_pairs of mine.py, {old} -> ")
    assert reason.endswith(" (edited: helpers.py)")
    made(site, mine)
    assert words(site, "go/pairs") == ["Neo"] * 3
    edit(mine, 'phase="write")\n\n\ndef go', 'phase="again")\n\n\ndef go')
    assert [action for action, _ in plan(site, mine).values()] == ["reuse", "make"]


def test_what_decides_nothing_makes_nothing_again(site: NeoSite, mine: Path) -> None:
    """Comments, formatting and docstrings; the pipeline's function as far as its recipes are the same; the folder."""
    made(site, mine)
    edit(mine, '"""Pairs of my own."""', '"""Pairs of mine."""\n# A comment.\n')
    edit(mine, "text = helpers.shout(recipe.word)", "text = helpers.shout( recipe . word )")
    edit(mine, '"""What is written."""', '"""The word."""')
    edit(
        mine.with_name("helpers.py"),
        '"""Words."""',
        '"""Loud words."""\n\n\ndef whisper(word):\n    return word.lower()\n',
    )
    assert {action for action, _ in plan(site, mine).values()} == {"reuse"}
    elsewhere = site.folder / "elsewhere"
    mine.parent.rename(elsewhere)
    assert {action for action, _ in plan(site, elsewhere / "mine.py").values()} == {"reuse"}
    edit(elsewhere / "mine.py", 'LoadRecipe(word="end")', 'LoadRecipe(word="END")')
    assert [action for action, _ in plan(site, elsewhere / "mine.py").values()] == ["reuse", "make"]


def test_a_file_behind_a_path_is_refused_at_the_fields_default_too(site: NeoSite, mine: Path) -> None:
    edit(mine, 'word: str = "neo"', 'word: str = "neo"\n    file: Path = Path("/data/pairs.jsonl")')
    said = site.neo("plan", f"{mine}:go")
    assert said.code == 2
    assert "step 'pairs': LoadRecipe.file is the path '/data/pairs.jsonl'" in said.err and 'Source("name")' in said.err


def test_a_path_that_is_taken_as_text_is_pointed_out(site: NeoSite, mine: Path) -> None:
    asked = (f"{mine}:go", "--set", f"pairs.word={mine}")
    told = " ".join(site.neo("plan", *asked).out.split())
    assert "word is a path, and what lies there is not compared: take a Source" in told
    steps = site.neo("plan", *asked, "--json").json["steps"]
    assert [step["uncompared_paths"] for step in steps] == [["word"], []]


def test_two_people_with_the_same_function_name_get_their_own(site: NeoSite, mine: Path) -> None:
    made(site, mine)
    theirs = mine.with_name("theirs.py")
    theirs.write_text(MINE)
    other = site.folder / "other"
    other.mkdir()
    (other / "mine.py").write_text(MINE.replace("helpers.shout(recipe.word)", "recipe.word"))
    (other / "helpers.py").write_text("")
    for path in (theirs, other / "mine.py"):
        assert [action for action, _ in plan(site, path).values()] == ["make", "make"]
    made(site, other / "mine.py")
    assert words(site, "go/pairs") == ["neo"] * 3
    assert "Nothing to make" in site.neo("run", f"{mine}:go").out
    assert words(site, "go/pairs") == ["NEO"] * 3


def failed(site: NeoSite, mine: Path) -> Run:
    mine.write_text(BUGGY)
    said = site.neo("run", f"{mine}:go")
    assert said.code == 1, said
    return the_run(site)


def check_fixed(site: NeoSite, run: Run) -> None:
    """Everything is made by the fixed code, under other names than what the old code had made."""
    broken = {step.name: step.fingerprint for step in run.request.steps}
    manifest = manifest_of(site, "go/pairs")
    assert words(site, "go/pairs") == ["NEO"] * 3
    assert manifest["fingerprint"] != broken["pairs"]
    (text,) = manifest["provenance"]["code_texts"]
    assert {part["made_by"]["code"] for part in manifest["parts"]} == {text}
    assert site.store.read(f"code/{text}/mine.py").decode() == MINE
    assert f"/code/{text}" in site.neo("show", "go/pairs").out.replace("\n", "")
    left = site.store.read_json(f"artifacts/load_pairs/{broken['pairs'][:12]}/records/write/0.json")
    assert site.store.read(f"code/{left['made_by']['code']}/mine.py").decode() == BUGGY


def test_a_bug_fixed_in_a_frozen_runs_file_runs_under_resume(site: NeoSite, mine: Path) -> None:
    run = failed(site, mine)
    assert site.neo("resume", run.name).code == 1  # the same code makes the same failure
    mine.write_text(MINE)
    said = site.neo("resume", run.name)
    assert said.code == 0, said.err
    (other,) = (one.name for one in all_runs(site.store) if one.name != run.name)
    assert (
        f"{mine} has changed since run {run.name} was frozen. It continues with the newest code as run {other}"
        in said.out
    )
    assert "the code changed: stage load_pairs of mine.py, " in said.out and "(edited: mine.py)" in said.out
    assert "write 2 of 3 parts recorded" in " ".join(said.out.split())
    again = site.neo("resume", run.name)
    assert again.code == 0 and "Nothing to make" in again.out and len(all_runs(site.store)) == 2
    check_fixed(site, run)


def test_a_bug_fixed_in_a_frozen_runs_file_runs_under_run(site: NeoSite, mine: Path) -> None:
    run = failed(site, mine)
    mine.write_text(MINE)
    assert plan(site, mine)["pairs"][1].startswith("the code changed: stage load_pairs of mine.py, ")
    assert f"since run {run.name}; what the old code made is not used" in plan(site, mine)["pairs"][1]
    made(site, mine)
    check_fixed(site, run)


def test_a_run_goes_on_with_its_own_code_where_that_is_asked(site: NeoSite, mine: Path) -> None:
    run = failed(site, mine)
    mine.write_text(MINE)
    kept = site.neo("resume", run.name, "--keep-code")
    assert kept.code == 1 and "bug in my stage" in kept.out + kept.err
    assert [one.name for one in all_runs(site.store)] == [run.name]


def test_the_recipes_of_a_frozen_run_stay_when_its_code_is_new(site: NeoSite, mine: Path) -> None:
    run = failed(site, mine)
    mine.write_text(MINE.replace("num_parts=3", "num_parts=1").replace('"neo"', '"ice"'))
    said = site.neo("resume", run.name)
    assert said.code == 0, said.err
    assert words(site, "go/pairs") == ["NEO"] * 3
    assert "has changed since; this run continues from its frozen plan." in said.out


def test_a_file_that_is_gone_or_broken_or_takes_other_recipes_is_said(site: NeoSite, mine: Path) -> None:
    run = failed(site, mine)
    mine.write_text(MINE.replace("def go():", "def go(:"))
    broken = site.neo("resume", run.name)
    assert broken.code == 4 and "SyntaxError" in broken.err
    assert broken.last_line.startswith(f"Next: neo resume {run.name} --keep-code")
    mine.write_text(MINE.replace("    num_parts: int = 4", "    num_pieces: int = 4"))
    other = site.neo("resume", run.name)
    assert other.code == 4 and "cannot take the newest code: step 'pairs'" in other.err and "num_parts" in other.err
    mine.unlink()
    gone = site.neo("resume", run.name)
    assert gone.code == 1 and "is not here: this run continues with the code that it was frozen with" in gone.out


def test_a_run_that_is_done_is_not_made_again_by_a_resume(site: NeoSite, mine: Path) -> None:
    made(site, mine)
    edit(mine, "text = helpers.shout(recipe.word)", "text = recipe.word")
    assert "Nothing to make" in site.neo("resume", the_run(site).name).out


def test_a_plan_that_was_frozen_before_code_took_part_is_still_read(site: NeoSite, mine: Path) -> None:
    run = as_of_an_earlier_release(failed(site, mine))
    old = {step.name: step.fingerprint for step in run.request.steps}
    kept = site.neo("resume", run.name, "--keep-code")
    assert kept.code == 1 and "bug in my stage" in kept.out + kept.err, kept
    assert (site.folder / "store" / "artifacts" / "load_pairs" / old["pairs"][:12] / "records" / "write").is_dir()
    mine.write_text(MINE)
    said = site.neo("resume", run.name)
    assert said.code == 0, said.err
    assert "made before its code took part in identity" in said.out
    assert manifest_of(site, "go/pairs")["fingerprint"] != old["pairs"]


def as_of_an_earlier_release(run: Run) -> Run:
    """The run with its plan as an earlier release froze it: one file, and fingerprints without the code."""
    path = Path(run.store.url) / run.folder / "plan.json"
    module = run.request.user_file.module
    frozen = json.loads(path.read_text().replace(module, "neo_user_file_mine_0123456789ab"))
    names: dict[str, str] = {}
    for step in frozen["steps"]:
        stage, recipe = run.request.load_step(step["name"])
        for item in step["inputs"].values():
            item["fingerprint"] = names[item["step"]]
        inputs = {edge: item["fingerprint"] for edge, item in step["inputs"].items()}
        step["fingerprint"] = names[step["name"]] = fingerprint(stage.name, stage.number, recipe, inputs)
        del step["code"], step["conduct"]
    del frozen["user_file"]["beside"]
    frozen["user_file"]["source"] = BUGGY.replace("import helpers", "from string import capwords as shout")
    frozen["user_file"]["source"] = frozen["user_file"]["source"].replace("helpers.shout", "shout")
    earlier = Run(run.store, Request.model_validate(frozen).run)
    folder = path.parent.rename(path.parent.with_name(earlier.name))
    (folder / "plan.json").write_text(json.dumps(frozen))
    return earlier
