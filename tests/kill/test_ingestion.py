"""Every stage of ingestion, killed at a moment that nobody chose and made again: the same bytes at the end.

A moment is a share of the time that the undisturbed step takes, drawn by the number of its case; where the step ends
before it, the next try kills sooner, so every case has one kill, or several in a row. What the web and the endpoint are
asked is counted where it arrives: beyond what the undisturbed step asks, that is no more than the part in flight.
"""

import itertools
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.kill import invariants
from tests.kill.folder import Folder, Recorded
from tests.kill.ingestion import ASK_THE_WEB, NUM_ASKED_AT_ONCE, Servers, ingestion

STAGES = (
    "download_pairs",
    "retry_pairs",
    "import_pairs",
    "collect_images",
    "score_pairs",
    "filter_pairs",
    "caption_pairs",
    "caption_by_checkpoint",
    "dedup_pairs",
    "read_text",
    "filter_text",
    "dedup_texts",
)
PHASES = {
    "download_pairs": "download",
    "retry_pairs": "download",
    "collect_images": "collect",
    "caption_pairs": "caption",
}
"""The phase in which a stage asks others."""
NUM_KILLS = 20
NUM_IN_A_ROW = 4
"""Kills of one and the same step, each of which meets what the ones before left."""
CASES = [
    pytest.param(stage, number, id=f"{stage}-{number}", marks=() if number == 1 else pytest.mark.kill)
    for stage in STAGES
    for number in range(1, NUM_KILLS + 1)
]
"""The first of each stage runs in `make test`."""
SOONER = 0.7
"""By so much nearer to the begin a case kills that met no living process."""


@dataclass
class Undisturbed:
    """Each step made once, with the seconds it took and what it asked for."""

    servers: Servers
    folder: Folder
    seconds: dict[str, float]
    asked: dict[str, Counter[str]]

    def part_of(self, step: str) -> dict[str, str]:
        """Each thing that a step asks for to the part that asks; a row fetched again counts where it is asked for."""
        found = {}
        for record in self.folder.made[step if step in ASK_THE_WEB else "download_pairs"].parts:
            for entry in (entry for entry in record.files if entry.name == "samples.parquet"):
                rows = pq.read_table(self.folder.store / entry.key, columns=["url", "caption"]).to_pylist()
                for row in rows:
                    path, words = "/" + row["url"].rpartition("/")[2], f"Say more: {row['caption']}"
                    found[path if step in ASK_THE_WEB else words] = record.part
        return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    with ingestion(tmp_path_factory.mktemp("world")) as servers:
        folder, seconds, asked = Folder(tmp_path_factory.mktemp("undisturbed")), {}, {}
        for step in servers.world.steps:
            before = servers.asked(step)
            servers.await_step(step)
            code, seconds[step] = folder.make(servers.world, step)
            assert code == 0, folder.commands[-1].said.out
            asked[step] = servers.asked(step) - before
        yield Undisturbed(servers, folder, seconds, asked)


def killed(golden: Undisturbed, step: str, number: int, folder: Path) -> tuple[Folder, list[Recorded]]:
    """A home in which a step was killed, as often as the case asks and its end allows, and what was recorded then."""
    chance = random.Random(f"{step} {number}")
    num_kills = NUM_IN_A_ROW if number % 5 == 0 else 1
    for attempt in itertools.count():
        home, recorded = Folder(folder / str(attempt), asked_before=golden.servers.asked(step)), list[Recorded]()
        home.folder.mkdir()
        golden.folder.lend(step, home)
        at_death: dict[str, bytes] = {}
        while len(home.kills) < num_kills:
            moment = chance.uniform(0, golden.seconds[step]) * SOONER**attempt
            code, _ = home.make(golden.servers.world, step, kill_after=moment)
            if code != -signal.SIGKILL:
                assert code == 0, home.commands[-1].said.out
                break
            invariants.hold_at_death(home)
            invariants.i1_nothing_committed_changes_or_goes(at_death, home)
            at_death = home.committed()
            recorded.append(home.recorded(golden.folder.folder_of(step)))
        if home.kills:
            return home, recorded
    raise AssertionError


@pytest.mark.parametrize(("step", "number"), CASES)
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    step: str, number: int, undisturbed: Undisturbed, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    servers = undisturbed.servers
    servers.await_step(step)
    home, recorded = killed(undisturbed, step, number, tmp_path)
    at_death = home.committed()
    code, _ = home.make(servers.world, step)
    assert code == 0, home.commands[-1].said.out
    hold_at_the_end(undisturbed.folder, step, at_death, home)
    again = asked_again(undisturbed, step, home, recorded)
    if step == "retry_pairs":
        hold_where_parts_are_taken_over(home)
    assert not list((home.folder / "tmp").glob("neo-*"))
    num_begun_again = home.num_begun(step) - undisturbed.folder.num_begun(step)
    record_property("moments", [round(seconds / undisturbed.seconds[step], 2) for seconds in home.kills])
    record_property("recorded", [len(parts) for parts in recorded])
    record_property("again", {"parts": num_begun_again, "asked": again, "of": undisturbed.asked[step].total()})


def hold_at_the_end(golden: Folder, step: str, at_death: dict[str, bytes], home: Folder) -> None:
    invariants.i1_nothing_committed_changes_or_goes(at_death, home)
    invariants.i2_every_item_is_accounted_for(home)
    invariants.i3_no_item_is_there_twice(home)
    invariants.i4_what_is_committed_is_whole(home)
    invariants.i5_nothing_committed_is_made_again(golden, step, home)
    invariants.i7_lineage_is_closed(home)
    invariants.i8_each_part_is_committed_once(home)
    invariants.i11_the_end_is_that_of_the_golden_run(golden, step, home)
    assert golden.num_begun(step) <= home.num_begun(step) <= golden.num_begun(step) + len(home.kills)


def hold_where_parts_are_taken_over(home: Folder) -> None:
    """The parts of the download are there by reference, and only the others have files of their own."""
    made = home.manifests()
    files, of_download = (
        [entry.key for part in made[stage].parts if part.phase == "download" for entry in part.files]
        for stage in ("retry_pairs", "download_pairs")
    )
    own = files[len(of_download) :]
    assert files[: len(of_download)] == of_download
    assert own and all(key.startswith("artifacts/retry_pairs/") for key in own)


def asked_again(golden: Undisturbed, step: str, home: Folder, recorded: list[Recorded]) -> int:
    """Requests beyond those of the undisturbed step: only what the part in flight at a kill had asked for."""
    expected, asked = golden.asked[step], golden.servers.asked(step) - home.asked_before
    assert asked.keys() == expected.keys()
    again = asked - expected
    part_of = golden.part_of(step) if again else {}
    parts = {part_of[thing] for thing in again}
    assert len(parts) <= len(recorded), again
    assert not {(PHASES[step], part) for part in parts} & recorded[0], "what was recorded is asked for again"
    if step in ASK_THE_WEB:
        assert all(again[path] <= len(recorded) * expected[path] for path in again)
    else:
        assert again.total() <= NUM_ASKED_AT_ONCE * len(recorded), again
    return again.total()
