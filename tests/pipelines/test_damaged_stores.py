"""Any single damage to a finished store ends in words: no command shows an exception, and history is not needed.

A small store of three runs is made once; each damage is done to a copy of it: a bit flipped, the file cut in half, the
file removed. The bits are drawn from a seed. The whole table takes minutes, and is marked `kill`.
"""

import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import pipelines.commands.run
from cluster.site import load_site
from pipelines.cli import main
from pipelines.exits import ExitCode
from pipelines.runs.run import all_runs
from pipelines.runs.submissions import Submissions
from stages.store.store import Store
from tests.long import long
from tests.pipelines.conftest import NOBODY, TOYS, NeoSite, Said
from tests.pipelines.local_graph import run_graph_locally

SEED = 13
"""Damages of the default test, of some 500."""
RAW = ("Traceback", "pydantic", "ValidationError", "KeyError", "TypeError", "AttributeError", "IndexError")
"""What no message may hold: the marks of an exception that nobody put into words."""
EXIT_CODES = {int(code) for code in ExitCode}


def flip(path: Path, chance: random.Random) -> None:
    """Turn one bit."""
    data = bytearray(path.read_bytes())
    if data:
        place = chance.randrange(8 * len(data))
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)


def halve(path: Path, chance: random.Random) -> None:
    """Cut it in half."""
    os.truncate(path, path.stat().st_size // 2)


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


WAYS = {"flipped": flip, "halved": halve, "removed": remove}


@dataclass(frozen=True)
class SingleDamage:
    """One damage: which file of the store, and what is done to it."""

    key: str
    way: str

    def inflict(self, folder: Path, number: int = 0) -> None:
        WAYS[self.way](folder / self.key, random.Random(f"{SEED} {self.key} {number}"))


def type_in_process(words: list[str]) -> int:
    """The exit code of `neo` with these words; any exception but the end of the program is passed on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["neo", *words])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


@contextmanager
def local_runs(folder: Path) -> Iterator[Callable[[str], int]]:
    """Within this context, a call runs a toy pipeline into `folder/store` and returns the exit code."""
    site = folder / "site.toml"
    site.write_text(f'store = "{folder}/store"\nmlflow = "{NOBODY}"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines.commands.run, "machines", lambda: run_graph_locally)
        patch.setattr("stages.commit.phase_records.PARTS_PER_BUNDLE", 2)
        patch.delenv("NEO_SITE", raising=False)
        yield lambda pipeline: type_in_process(["run", f"{TOYS}:{pipeline}", "--site", str(site)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store/`: a run of data, a training that failed and was handed to a cluster, a whole run."""
    folder = tmp_path_factory.mktemp("finished")
    with local_runs(folder) as run:
        for pipeline, code in (("data", 0), ("broken", 1), ("whole", 0)):
            assert run(pipeline) == code
    store = Store(folder / "store")
    (failed,) = (run for run in all_runs(store) if run.name.startswith("broken-"))
    Submissions(failed).begin(load_site(str(folder / "site.toml")))
    Submissions(failed).end_without_attempt(1, ExitCode.REFUSED, "the versions differ", "neo list")
    return folder


@pytest.fixture
def again(finished: Path, site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """Puts a whole copy of the finished store in the place of the site's; returns its folder."""
    monkeypatch.setattr("stages.commit.phase_records.PARTS_PER_BUNDLE", 2)

    def copy() -> Path:
        shutil.rmtree(site.folder / "store", ignore_errors=True)
        shutil.copytree(finished / "store", site.folder / "store")
        return site.folder / "store"

    yield copy


def files_of(finished: Path) -> list[str]:
    store = finished / "store"
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())


def commands(finished: Path) -> list[list[str]]:
    names = {run.name.split("-")[0]: run.name for run in all_runs(Store(finished / "store"))}
    return [
        ["list"],
        ["status"],
        ["status", names["whole"]],
        ["plan", f"{TOYS}:whole"],
        ["show", names["whole"]],
        ["show", "whole/evaluate"],
        ["logs", names["whole"]],
        ["trace", "whole/evaluate"],
        ["audit", "whole/evaluate"],
    ]


def complaints(site: NeoSite, words: list[str]) -> list[str]:
    """What is wrong with the answer to a command, if anything."""
    try:
        said = site.neo(*words)
    except Exception as error:
        return [f"{words[0]}: {type(error).__name__}: {str(error)[:200]}"]
    raw = [mark for mark in RAW if mark in said.out + said.err]
    wrong = [f"{words[0]}: shows {mark}: {said.err[-300:]}" for mark in raw]
    wrong += [f"{words[0]}: exit code {said.code}"] if said.code not in EXIT_CODES else []
    wrong += [f"{words[0]}: says nothing: {said}"] if said.code and not says_why(said) else []
    return wrong


def says_why(said: Said) -> bool:
    return "neo: " in said.err or "not as they were committed" in said.out


def check(finished: Path, site: NeoSite, again: Callable[[], Path], damages: list[SingleDamage]) -> None:
    wrong = []
    for damage in damages:
        damage.inflict(again())
        wrong += [
            f"{damage.way} {damage.key}: {one}" for words in commands(finished) for one in complaints(site, words)
        ]
    assert wrong == []


@pytest.mark.parametrize("num_sampled", [8, long(24)])
def test_damage_drawn_from_a_seed_ends_in_words(
    num_sampled: int, finished: Path, site: NeoSite, again: Callable[[], Path]
) -> None:
    damages = [SingleDamage(key, way) for key in files_of(finished) for way in WAYS]
    check(finished, site, again, random.Random(SEED).sample(damages, num_sampled))


@pytest.mark.parametrize(
    ("pattern", "warned"),
    [
        ("runs/data-*/attempts/1.json", ["list"]),
        ("runs/data-*/attempts/1.ended.json", ["list"]),
        ("runs/data-*/outbox/00000001.json", []),
        ("runs/data-*/plan.json", []),
        ("runs/broken-*/submissions/1.json", []),
        ("runs/whole-*/outbox/00000003.json", ["status"]),
        ("refs/whole/rows/0.json", ["list"]),
    ],
)
def test_no_command_dies_of_history_that_it_does_not_need(
    finished: Path, site: NeoSite, again: Callable[[], Path], pattern: str, warned: list[str]
) -> None:
    (victim,) = again().glob(pattern)
    os.truncate(victim, victim.stat().st_size // 2)
    run = next(run.name for run in all_runs(site.store) if run.name.startswith("whole-"))
    shown = []
    for words in (["list"], ["status", run], ["plan", f"{TOYS}:whole"], ["logs", run]):
        said = site.neo(*words)
        assert said.code == 0, said.err
        shown += [words[0]] if f"warning: left out: {victim} does not parse" in said.err else []
    assert shown == warned


def test_a_document_lists_what_was_left_out(finished: Path, site: NeoSite, again: Callable[[], Path]) -> None:
    (victim,) = again().glob("runs/data-*/attempts/1.ended.json")
    victim.write_text("{")
    (warning,) = site.neo("list", "--json").json["warnings"]
    assert warning.startswith(f"left out: {victim} does not parse as JSON")


@pytest.mark.kill
@pytest.mark.parametrize("way", WAYS)
def test_every_damage_ends_in_words(finished: Path, site: NeoSite, again: Callable[[], Path], way: str) -> None:
    check(finished, site, again, [SingleDamage(key, way) for key in files_of(finished)])
