"""A checkpoint in flight on two ranks: the store may fail for a while, and what was done is not done twice."""

import time
from collections.abc import Callable
from typing import Any

from stages.contract import FileEntry
from stages.store.errors import StoreUnavailableError
from tests.stages.training.ranks import run_ranks


def entry(rank: int) -> FileEntry:
    return FileEntry(name=f"rank-{rank}", key=f"a/rank-{rank}", size_bytes=1, sha256="0" * 64)


class Diary:
    """Uploads and records of one rank, the first of which fail; and what is said meanwhile."""

    def __init__(self, rank: int, failing_uploads: int = 0, failing_records: int = 0) -> None:
        self.rank = rank
        self.left = {"upload": failing_uploads, "record": failing_records}
        self.done: list[str] = []
        self.told: list[str] = []
        self.recorded: list[str] = []

    def _try(self, what: str) -> None:
        self.done.append(what)
        if self.left[what]:
            self.left[what] -= 1
            raise StoreUnavailableError(f"no {what} today")

    def upload(self) -> list[FileEntry]:
        self._try("upload")
        return [entry(self.rank)]

    def record(self, files: Any) -> None:
        self._try("record")
        self.recorded = [one.name for one in files]

    def delayed(self, why: str) -> None:
        self.told.append(why)


def fly(rank: int, failing_uploads: int, failing_records: int, patience_seconds: float) -> dict[str, Any]:
    """One checkpoint whose uploads fail on rank 1 and whose records fail on rank 0, finished at once."""
    from stages.training.checkpoints import in_flight
    from stages.training.collectives import SharedError

    in_flight.PAUSE_SECONDS = 0.05
    diary = Diary(rank, failing_uploads if rank else 0, failing_records)
    message = ""
    with in_flight.CheckpointInFlight(rank) as flight:
        flight.begin("the checkpoint at step 2 could not be committed", diary.upload, diary.record, diary.delayed)
        try:
            flight.finish(patience_seconds)
        except SharedError as error:
            message = str(error)
        is_ready = flight.is_ready
    return {"done": diary.done, "told": diary.told, "recorded": diary.recorded, "raised": message, "ready": is_ready}


def test_ranks_whose_upload_failed_upload_again_and_the_others_do_not() -> None:
    first, second = run_ranks(fly, 1, 0, 0.0)
    assert first["done"] == ["upload", "record"] and second["done"] == ["upload", "upload"]
    assert first["recorded"] == ["rank-0", "rank-1"]
    assert first["told"] == ["rank 1: StoreUnavailableError: no upload today"] and second["told"] == []
    assert (first["raised"], second["raised"]) == ("", "")


def test_a_record_that_failed_is_made_again_without_another_upload() -> None:
    first, second = run_ranks(fly, 0, 1, 0.0)
    assert first["done"] == ["upload", "record", "record"] and second["done"] == ["upload"]
    assert first["recorded"] == ["rank-0", "rank-1"]


def test_when_the_next_is_due_all_ranks_give_up_in_words() -> None:
    first, second = run_ranks(fly, 9, 0, 0.0)
    assert second["done"] == ["upload", "upload"], "once more, and no more"
    assert first["raised"] == second["raised"]
    for words in ("step 2 could not be committed", "in 2 tries", "no upload today", "run the same command"):
        assert words in first["raised"]
    assert first["ready"] and second["ready"]


def test_with_patience_it_is_tried_for_as_long() -> None:
    first, second = run_ranks(fly, 6, 0, 60.0)
    assert second["done"] == ["upload"] * 7 and first["raised"] == ""


def advance(rank: int) -> list[Any]:
    """What a loop of steps sees of an upload that fails twice: it is never waited for."""
    from stages.training.checkpoints import in_flight
    from stages.training.collectives import gather_values

    in_flight.PAUSE_SECONDS = 0.2
    diary = Diary(rank, failing_uploads=2 * rank)
    num_steps = 0
    with in_flight.CheckpointInFlight(rank) as flight:
        flight.begin("the checkpoint", diary.upload, diary.record, diary.delayed)
        while not any(gather_values(bool(diary.recorded))):
            num_steps += 1
            if all(gather_values(flight.is_ready)):
                flight.advance()
            time.sleep(0.01)
    return [num_steps, diary.done, len(diary.told)]


def test_steps_continue_while_it_is_tried_again() -> None:
    (num_steps, _, num_told), (_, uploads, _) = run_ranks(advance)
    assert num_steps > 10 and num_told == 2
    assert uploads == ["upload"] * 3


def raise_on_one(rank: int, error: Callable[[str], Exception]) -> str:
    from stages.training.checkpoints.in_flight import CheckpointInFlight

    def upload() -> list[FileEntry]:
        if rank:
            raise error("this is no fault of a machine")
        return [entry(rank)]

    with CheckpointInFlight(rank) as flight:
        flight.begin("the checkpoint", upload, lambda _: None, lambda _: None)
        try:
            flight.finish()
        except Exception as caught:
            return str(caught)
    return ""


def test_what_does_not_pass_is_raised_at_once() -> None:
    told = run_ranks(raise_on_one, ValueError)
    assert set(told) == {"rank 1: the checkpoint: ValueError: this is no fault of a machine"}
