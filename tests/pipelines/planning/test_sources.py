"""A pipeline's sources: pinned by a command or by a run, refused when they changed, planned before they are pinned."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.planning.source_files import keep_in_lock, read_lock
from stages.contract import Source
from stages.origins.pinning import pin
from stages.read_text import ReadTextRecipe, read_text
from tests.pipelines.conftest import NeoSite

PIPELINE = '''
"""A pipeline of a user's own over lines of text."""

from functools import partial

from stages.artifacts.kinds import TextDocuments
from stages.artifacts.records import ItemBalance
from stages.contract import Part, Recipe, Source, stage
from stages.origins.files import open_file


class LinesRecipe(Recipe):
    source: Source
    """The files whose lines are counted."""


class TwiceRecipe(Recipe):
    factor: int = 2
    """What the number is multiplied by."""


def count(part, draft, source):
    with open_file(source.place, source.files[0]) as file:
        number = len(file.readlines())
    draft.path("number.txt").write_text(str(number))
    draft.count(ItemBalance(kept=number))


@stage(number=1, recipe=LinesRecipe, makes=TextDocuments)
def lines(recipe, *, ctx):
    ctx.spread(partial(count, source=ctx.pinned(recipe.source)), over=[Part(name="all")], phase="count")


def twice_part(part, draft, recipe):
    draft.path("number.txt").write_text(str(recipe.factor))
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=TwiceRecipe, makes=TextDocuments)
def twice(recipe, documents: TextDocuments, *, ctx):
    ctx.spread(partial(twice_part, recipe=recipe), over=[Part(name="all")], phase="twice")


def poem():
    counted = lines.bind("counted", LinesRecipe(source=Source("poem")))
    return twice.bind("twice", TwiceRecipe(), counted)
'''


TWO = """
def two():
    return poem(), lines.bind("other", LinesRecipe(source=Source("gone")))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mine.py").write_text(PIPELINE)
    (folder / "sources.toml").write_text('[poem]\nuri = "poem.txt"\n')
    (folder / "poem.txt").write_text("one\ntwo\n")
    return folder


def asked(project: Path) -> str:
    return f"{project / 'mine.py'}:poem"


def test_an_unpinned_source_is_planned_without_a_fingerprint(site: NeoSite, project: Path) -> None:
    said = site.neo("plan", asked(project), "--json")
    steps = said.json["steps"]
    assert [step["fingerprint"] for step in steps] == ["-", "-"]
    assert [step["reason"] for step in steps] == [
        "source poem is not pinned",
        "reads counted, of a source that is not pinned",
    ]
    assert said.json["unpinned"] == ["poem"]
    assert "source 'poem' is not pinned: neo pin" in site.neo("plan", asked(project)).out
    assert said.json["next"].startswith(f"neo pin {asked(project)}")
    assert not (project / "sources.lock").exists()


def test_a_run_pins_a_small_local_source_and_says_so(site: NeoSite, project: Path) -> None:
    said = site.neo("run", asked(project))
    assert said.code == 0, said
    assert "Pinned source poem: 1 file, 8 bytes" in said.out
    lock = json.loads((project / "sources.lock").read_text())
    assert lock["sources"]["poem"]["files"][0]["path"] == "poem.txt"
    assert "Nothing to make" in site.neo("run", asked(project)).out


def test_a_source_that_changed_is_refused_by_file_until_it_is_pinned_again(site: NeoSite, project: Path) -> None:
    site.neo("run", asked(project))
    before = site.neo("plan", asked(project), "--json").json["steps"]
    (project / "poem.txt").write_text("one\ntwo\nthree\n")
    for command in ("plan", "run"):
        said = site.neo(command, asked(project))
        assert said.code == 3
        assert "poem.txt has 14 bytes, 8 were pinned" in said.err
    assert site.neo("pin", asked(project), "--check").code == 3
    pinned = site.neo("pin", asked(project))
    assert (pinned.code, "changed" in pinned.out) == (0, True)
    after = site.neo("plan", asked(project), "--json").json["steps"]
    assert [step["action"] for step in after] == ["make", "make"]
    assert [step["fingerprint"] for step in before] != [step["fingerprint"] for step in after]
    assert site.neo("run", asked(project)).code == 0
    assert site.neo("pin", asked(project), "--check").code == 0


def test_where_files_lie_does_not_matter(site: NeoSite, project: Path) -> None:
    site.neo("run", asked(project))
    (project / "moved").mkdir()
    (project / "poem.txt").rename(project / "moved" / "poem.txt")
    (project / "sources.toml").write_text('poem = "moved/poem.txt"\n')
    assert site.neo("pin", asked(project)).code == 0
    assert "Nothing to make" in site.neo("run", asked(project)).out


def test_a_site_may_place_the_files_elsewhere(site: NeoSite, project: Path) -> None:
    assert site.neo("pin", asked(project)).code == 0
    there = project.parent / "there"
    there.mkdir()
    (project / "poem.txt").rename(there / "poem.txt")
    assert site.neo("run", asked(project)).code == 3
    site.file.write_text(f'{site.file.read_text()}\n[sources]\npoem = "{there}"\n')
    said = site.neo("run", asked(project))
    assert said.code == 0, said


def test_a_source_that_nobody_defines_is_named_with_what_to_write(site: NeoSite, project: Path) -> None:
    (project / "sources.toml").write_text('[poems]\nuri = "poem.txt"\n')
    said = site.neo("run", asked(project))
    assert said.code == 3
    assert "nothing says where source 'poem' lies (did you mean 'poems'?)" in said.err
    assert "add a table [poem]" in said.err
    (project / "sources.toml").write_text("[poem]\nurl = 1\n")
    said = site.neo("plan", asked(project))
    assert (said.code, "[poem] uri: Field required" in said.err) == (2, True)
    (project / "sources.toml").write_text('[poem]\nuri = "none.txt"\n')
    said = site.neo("run", asked(project))
    assert (said.code, "none.txt is not there" in said.err) == (3, True)


def test_a_lock_file_that_was_edited_is_noticed(site: NeoSite, project: Path) -> None:
    site.neo("pin", asked(project))
    lock = project / "sources.lock"
    text = lock.read_text()
    lock.write_text(text.replace("poem.txt", "poen.txt"))
    said = site.neo("plan", asked(project))
    assert (said.code, "sources.lock cannot be read" in said.err) == (2, True)
    lock.write_text(text)
    assert site.neo("plan", asked(project)).code == 0


def test_a_wrong_source_gets_the_nearest(site: NeoSite, project: Path) -> None:
    said = site.neo("pin", asked(project), "--source", "pome")
    assert (said.code, "did you mean 'poem'?" in said.err) == (2, True)


def test_a_resume_needs_no_lock(site: NeoSite, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_FAULT", "artifact.manifest_created:before=raise")
    assert site.neo("run", asked(project)).code == 1
    monkeypatch.delenv("NEO_FAULT")
    for name in ("sources.lock", "sources.toml"):
        (project / name).unlink()
    said = site.neo("resume")
    assert said.code == 0, said


def test_the_manifest_says_where_the_data_came_from(site: NeoSite, project: Path) -> None:
    site.neo("run", asked(project))
    (manifest,) = (site.folder / "store" / "artifacts" / "lines").glob("*/manifest.json")
    provenance = json.loads(manifest.read_text())["provenance"]
    assert provenance["sources"]["poem"]["uri"] == ["poem.txt"]
    assert provenance["sources"]["poem"]["place"] == str(project)
    traced = site.neo("trace", "poem/twice")
    assert f"counted (lines/{manifest.parent.name}): source poem, {project} (1 file, 8 bytes, digest" in traced.out


def test_a_resume_refuses_files_that_changed_since_the_run_was_frozen(
    site: NeoSite, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_FAULT", "part.recorded:before=raise")
    assert site.neo("run", asked(project)).code == 1
    monkeypatch.delenv("NEO_FAULT")
    (project / "poem.txt").write_text("oen\nwto\n")  # of the same size
    said = site.neo("resume")
    assert (said.code, "poem.txt has other content than was pinned" in said.err) == (4, True)


def test_check_reads_every_file_again_whatever_is_remembered(site: NeoSite, project: Path) -> None:
    site.neo("pin", asked(project))
    times = (project / "poem.txt").stat()
    (project / "poem.txt").write_text("oen\nwto\n")
    os.utime(project / "poem.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    said = site.neo("pin", asked(project), "--check")
    assert (said.code, "poem: poem.txt has other content than was pinned" in said.out) == (3, True)


def test_a_source_of_a_step_that_is_left_out_is_not_asked_for(site: NeoSite, project: Path) -> None:
    text = (project / "mine.py").read_text()
    (project / "mine.py").write_text(f"{text}\n\n{TWO}")
    (project / "sources.toml").write_text('poem = "poem.txt"\ngone = "nowhere.txt"\n')
    two = asked(project).replace(":poem", ":two")
    said = site.neo("run", two, "--until", "counted")
    assert said.code == 0, said
    assert site.neo("run", two).code == 3


def test_pins_of_two_commands_at_once_are_all_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    found = pin(["a.txt"], tmp_path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: keep_in_lock(tmp_path, f"source{number}", found), range(24)))
    assert len(read_lock(tmp_path)) == 24


def test_how_many_rows_a_source_is_said_to_have_is_no_identity() -> None:
    assert fingerprint_of(Source("x", num_rows=5)) == fingerprint_of(Source("x"))
    assert fingerprint_of(Source("x")) != fingerprint_of(Source("y"))


def fingerprint_of(source: Source) -> str:
    return read_text.bind("text", ReadTextRecipe(source=source)).fingerprint
