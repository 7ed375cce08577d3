"""The command line on a store whose disk is full, wherever in a run that happens: what it says, and going on."""

from collections.abc import Callable

import pytest

from tests.pipelines.conftest import NOBODY, TOYS, NeoSite
from tests.small_disk import SmallDisk

DATA = f"{TOYS}:data"
NUM_PARTS = 6


@pytest.mark.parametrize("num_kib_left", [4, 12, 48, 80, 112, 160, 208])
def test_a_full_store_stops_the_run_with_a_word_and_making_room_goes_on(
    num_kib_left: int, site: NeoSite, disk: SmallDisk, executions: Callable[[], list[str]]
) -> None:
    """From a store that takes nothing to one that takes all but the last word."""
    site.file.write_text(f'store = "{disk.folder}/store"\nmlflow = "{NOBODY}"\n')
    disk.leave(num_kib_left * 1024)
    said = site.neo("run", DATA)
    assert said.code in (1, 3), said.out + said.err
    assert f"the store {disk.folder}/store is full (0.0" in said.out + said.err
    assert "make room, then run the command again" in said.out + said.err
    assert said.last_line.startswith(f"Next: neo run {DATA}")
    disk.free()
    recorded = len(list((disk.folder / "store").glob("artifacts/*/*/records/*/*.json")))
    num_before = len(executions())
    assert site.neo("run", DATA).code == 0
    assert len(executions()) - num_before == NUM_PARTS - recorded_work(recorded)
    assert "Everything is as it was committed." in site.neo("audit", "data/rows").out


def recorded_work(num_records: int) -> int:
    """How many of the parts that count their executions are among the first records."""
    return min(num_records, NUM_PARTS)


def test_a_simulated_full_disk_at_each_commit_of_a_part_is_survived(
    site: NeoSite, executions: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no disk can be mounted: the same error, raised at the fault points."""
    for point in ("part.uploaded:before", "part.recorded:before"):
        process = site.start("run", DATA, NEO_FAULT=f"{point}@2=enospc")
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 1, out + errors
        assert "is full" in out and "No space left on device" in out
    assert site.neo("run", DATA).code == 0
    assert "Everything is as it was committed." in site.neo("audit", "data/rows").out
