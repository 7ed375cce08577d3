"""A further URL table for pairs that are there: nothing of before is fetched or judged again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import make
from stages.artifacts.kinds import SAMPLES_FILE, KeptPairs, RawPairs
from stages.contract import Event, PartRecorded, Source, StageError
from stages.contract.binding import Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.retry_pairs import RetryPairsRecipe, retry_pairs
from tests.worlds.flaky_web import FlakyWeb, flaky_web

FETCH: dict[str, Any] = {"allow_hosts": ("127.0.0.1",), "deadline_seconds": 8, "num_tries": 1}


@pytest.fixture
def web() -> Iterator[FlakyWeb]:
    with flaky_web({3: "server_error"}) as served:
        yield served


def download(source: str, *extends: Step[RawPairs], **fields: Any) -> Step[RawPairs]:
    recipe = DownloadPairsRecipe(source=Source(source), num_urls_per_part=20, **(FETCH | fields))
    return download_pairs.bind(source, recipe, *extends)


def judged(pairs: Step[RawPairs]) -> Step[KeptPairs]:
    return filter_pairs.bind("kept", FilterPairsRecipe(), pairs)


def made(events: list[Event], phase: str) -> list[str]:
    return [event.part for event in events if isinstance(event, PartRecorded) and event.phase == phase]


def test_a_further_table_is_fetched_alone(web: FlakyWeb, tmp_path: Path) -> None:
    store, events = tmp_path / "store", list[Event]()
    sources = {"old": str(web.table(tmp_path / "old.parquet", 40))}
    sources["new"] = str(web.table(tmp_path / "new.parquet", 30, first=100))
    first = make(judged(download("old")), store, sources=sources)
    asked = web.asked.copy()

    more = download("new", download("old"))
    raw = make(more, store, sources=sources, post=events.append)
    kept = make(judged(more), store, sources=sources, post=events.append)
    assert set(web.asked - asked) == set(range(100, 130)) and web.asked.total() == 70
    assert made(events, "download") == made(events, "judge") == ["add1_00000", "add1_00001"]
    assert [part.part for part in raw.parts] == ["00000", "00001", "add1_00000", "add1_00001"]
    assert [part.files for part in raw.parts][:2] == [part.files for part in first.input("raw", RawPairs).parts]
    assert raw.head.items.total == 70 and kept.head.items.kept == 56
    reader = PairReader(kept)
    assert len({pair.sample_id for pair in reader}) == 56
    assert all(reader.image_of(pair.image) for pair in reader)
    samples = read_table(raw.read(raw.part("add1_00001").file(SAMPLES_FILE)))
    assert samples["key"].to_pylist()[0] == f"{40 + 20:010d}"

    web.mend()
    recipe = RetryPairsRecipe(source=Source("new"), **FETCH)
    again = make(retry_pairs.bind("again", recipe, more), store, sources=sources)
    assert again.head.items.failed == {"not_found": 7} and again.head.items.kept == 63
    retried = read_table(again.read(again.part("retry1_00000").file(SAMPLES_FILE)))
    assert retried["key"].to_pylist() == [f"{number:010d}" for number in (3, 13, 23, 33, 43, 53, 63)]
    third = make(
        download("old2", retry_pairs.bind("again", recipe, more)), store, sources=sources | {"old2": sources["old"]}
    )
    assert third.head.items.total == 110 and third.parts[-1].part == "add2_00001"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            download("old", download("old", deadline_seconds=9)),
            "holds the rows of source 'old'; give the further table a name",
        ),
        (download("new", download("old"), resize_mode="keep_ratio"), "keeps pictures with resize_mode = 'no'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_before_it_is_fetched(
    step: Step[RawPairs], message: str, web: FlakyWeb, tmp_path: Path
) -> None:
    table = str(web.table(tmp_path / "urls.parquet", 20))
    with pytest.raises(StageError, match=message):
        make(step, tmp_path / "store", sources={"old": table, "new": table})
    assert web.asked.total() == 20
