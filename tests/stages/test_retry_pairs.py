"""Failed rows fetched again: the pairs are those of an undisturbed download, and nothing else is made again."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import make
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.artifacts.profiles import profile_files
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Event, PartRecorded, PhaseOpened, Source, StageError, Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.profiles.pictures import NUMBERS_FILE
from stages.profiles.profile import Profile
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.retry_pairs import RetryPairsRecipe, retry_pairs
from stages.store.store import Store
from tests.stages.importing.conftest import download_urls
from tests.worlds.flaky_web import FAILS, FlakyWeb, flaky_web, picture

FETCH: dict[str, Any] = {
    "source": Source("urls"),
    "allow_hosts": ("127.0.0.1",),
    "deadline_seconds": 4,
    "num_tries": 1,
    "max_requests_per_host": 32,
}
COLLECT = FETCH | {"images": Source("photos"), "max_share_lost": 1}
RULES = FilterPairsRecipe(min_side_px=70)


@pytest.fixture
def web() -> Iterator[FlakyWeb]:
    with flaky_web() as served:
        yield served


def download(num_urls_per_part: int) -> Step[RawPairs]:
    return download_pairs.bind("pairs", DownloadPairsRecipe(**FETCH, num_urls_per_part=num_urls_per_part))


def retry(before: Step[RawPairs], **fields: Any) -> Step[RawPairs]:
    return retry_pairs.bind("pairs_retry", RetryPairsRecipe(**(FETCH | fields)), before)


def collection(num_images_per_part: int) -> Step[RawPairs]:
    recipe = CollectImagesRecipe(**COLLECT, num_images_per_part=num_images_per_part)
    return collect_images.bind("pictures", recipe)


def talks(web: FlakyWeb, folder: Path, num_pictures: int) -> dict[str, str]:
    """A table of conversations about pictures of the web and of a folder, one of which is cut off; the sources."""
    (folder / "photos").mkdir()
    (folder / "photos/whole.jpg").write_bytes(picture(1000))
    (folder / "photos/cut.jpg").write_bytes(picture(1001)[:-200])
    names = [f"{web.url}/{number:06d}.jpg" for number in range(num_pictures)]
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "!"}]
    rows = [{"image": name, "conversations": turns} for name in ["whole.jpg", "cut.jpg", "gone.jpg", *names]]
    (folder / "talks.json").write_text(json.dumps(rows))
    return {"urls": str(folder / "talks.json"), "photos": str(folder / "photos")}


def made(events: list[Event], phase: str) -> list[str]:
    """Names of the parts of a phase that were worked on."""
    return [event.part for event in events if isinstance(event, PartRecorded) and event.phase == phase]


def rows_of(raw: RawPairs) -> dict[bytes, dict[str, Any]]:
    """The kept rows with the bytes of their pictures and of the other members of the tar, by sample id."""
    reader, rows = PairReader(raw), {}
    for part in reader.parts:
        members = {}
        with tarfile.open(fileobj=io.BytesIO(raw.read(raw.part(part).file(PAIRS_FILE)))) as tar:
            for member in tar:
                members[member.name] = tar.extractfile(member).read()  # type: ignore[union-attr]
        table = reader.read_table(part).to_pylist()
        for row, pair in zip(table, reader.pairs_of(part), strict=True):
            own = {name: value for name, value in row.items() if name not in ("position", "image_offset")}
            texts = {end: members[f"{row['key']}.{end}"] for end in ("jpg", "txt", "json")}
            rows[row["sample_id"]] = {**own, **texts, "picture": reader.image_of(pair.image)}
            assert rows[row["sample_id"]]["picture"] == texts["jpg"]
    return rows


@pytest.mark.parametrize(("num_rows", "num_per_part"), [(60, 20), (160, 40)])
def test_a_retry_ends_as_an_undisturbed_download(
    web: FlakyWeb, tmp_path: Path, num_rows: int, num_per_part: int
) -> None:
    sources = {"urls": str(web.table(tmp_path / "urls.parquet", num_rows))}
    store = Store(tmp_path / "store")
    first = make(download(num_per_part), store, sources=sources)
    judged = make(filter_pairs.bind("kept", RULES, download(num_per_part)), store, sources=sources)
    assert first.head.items.failed == {"not_found": num_rows // 10} | dict.fromkeys(FAILS.values(), num_rows // 10)
    asked = web.asked.copy()
    web.mend()

    events: list[Event] = []
    again = make(retry(download(num_per_part)), store, sources=sources, post=events.append)
    assert {number for number in web.asked if web.asked[number] > asked[number]} == {
        number for number in range(num_rows) if number % 10 in FAILS
    }
    assert made(events, "download") == [part.part for part in again.parts if part.part.startswith("retry1_")]
    assert again.head.items.failed == {"not_found": num_rows // 10}
    assert again.head.items.total == num_rows
    taken = [part for part in again.parts if not part.part.startswith("retry1_")]
    assert [part.part for part in taken] == [part.part for part in first.parts]
    assert [part.files for part in taken] == [part.files for part in first.parts]
    assert all(part.facts["superseded"].keys() == set(FAILS.values()) for part in taken)

    clean = make(download(num_per_part), Store(tmp_path / "clean"), sources=sources)
    assert rows_of(again) == rows_of(clean)
    check_profile(again, clean)

    events.clear()
    kept = make(
        filter_pairs.bind("kept", RULES, retry(download(num_per_part))), store, sources=sources, post=events.append
    )
    assert made(events, "judge") == [part.part for part in again.parts if part.part.startswith("retry1_")]
    opened = [event for event in events if isinstance(event, PhaseOpened) and event.phase == "judge"]
    assert [event.num_recorded for event in opened] == [len(taken)]
    assert kept.head.provenance["taken_over"] == {f"filter_pairs/{judged.short}": len(taken)}
    clean_kept = make(
        filter_pairs.bind("kept", RULES, download(num_per_part)), Store(tmp_path / "clean"), sources=sources
    )
    assert kept.head.items == clean_kept.head.items
    assert {pair.sample_id for pair in PairReader(kept)} == {pair.sample_id for pair in PairReader(clean_kept)}
    alone = make(
        filter_pairs.bind("kept", RULES, retry(download(num_per_part))),
        unjudged(store, tmp_path / "copy"),
        sources=sources,
    )
    assert alone.head.content == kept.head.content  # what was taken over is what would have been made


def test_pictures_of_conversations_are_fetched_again_and_those_of_files_keep_their_reasons(
    web: FlakyWeb, tmp_path: Path
) -> None:
    sources, store = talks(web, tmp_path, 40), Store(tmp_path / "store")
    first = make(collection(15), store, sources=sources)
    failed = {"image_missing": 1, "not_found": 4, "truncated": 1}
    assert first.head.items.failed == failed | dict.fromkeys(FAILS.values(), 4)
    web.mend()
    reasons = ("truncated", *FAILS.values())
    retried = retry(collection(15), reasons=reasons, max_share_lost=1)
    again = make(retried, store, sources=sources)
    assert again.head.items.failed == failed and again.head.items.total == 43
    clean = make(collection(15), Store(tmp_path / "clean"), sources=sources)
    assert rows_of(again) == rows_of(clean)
    check_profile(again, clean)
    assert len({row["key"] for row in rows_of(again).values()}) == again.head.items.kept

    read = read_conversations.bind(
        "talks", ReadConversationsRecipe(source=Source("urls"), max_share_lost=1), retried, None
    )
    items = make(read, store, sources=sources).head.items
    assert (items.kept, items.dropped) == (37, {"image_missing": 6})


def test_rows_that_img2dataset_lost_are_fetched_again_and_those_without_a_url_keep_their_reasons(
    web: FlakyWeb, tmp_path: Path
) -> None:
    folder, cut = tmp_path / "shards", picture(1000)[:-200]
    download_urls([f"{web.url}/{number:06d}.jpg" for number in range(20)], folder, "webdataset")
    with tarfile.open(folder / "00001.tar", "w") as tar:  # a tar without a table: nothing says where its pictures are
        for name, data in (("0.jpg", cut), ("0.txt", b"cut"), ("1.jpg", picture(1001)), ("1.txt", b"whole")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    sources, store = {"shards": str(folder)}, Store(tmp_path / "store")
    imported = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("shards"), max_share_lost=1))
    fields = {"source": Source("shards"), "reasons": ("transient", "truncated"), "max_share_lost": 1}
    first = make(imported, store, sources=sources)
    assert first.head.items.failed == {"not_found": 2, "truncated": 1} | dict.fromkeys(FAILS.values(), 2)
    web.mend()
    retried = retry(imported, **fields)
    again = make(retried, store, sources=sources)
    assert again.head.items.failed == {"not_found": 2, "truncated": 1} and again.head.items.total == 22
    before, after = rows_of(first), rows_of(again)
    assert before.keys() < after.keys() and all(after[one] == before[one] for one in before)
    for row in (after[one] for one in after.keys() - before.keys()):
        number = int(row["caption"].removeprefix("row "))
        assert row["url"] == f"{web.url}/{number:06d}.jpg" and row["picture"] == picture(number)
    assert len({row["key"] for row in after.values()}) == len(after)
    assert again.head.items.kept == len(after) == 19
    once_more = make(retry_pairs.bind("more", RetryPairsRecipe(**(FETCH | fields)), retried), store, sources=sources)
    assert rows_of(once_more) == after and once_more.head.items.failed == again.head.items.failed


def check_profile(again: RawPairs, clean: RawPairs) -> None:
    """The profile counts each row once, with the verdict that it has now, as that of the undisturbed download does."""
    drawn, wanted = (
        Profile.parse(artifact.read(entry))
        for artifact in (again, clean)
        for entry in profile_files(artifact)
        if entry.name == NUMBERS_FILE
    )
    items = again.head.items
    for measure, bins in drawn.bins.items():
        assert sum(in_bins.total() for in_bins in bins.values()) + drawn.num_without[measure] == items.total, measure
    if "caption_chars" in wanted.bins:
        captions = drawn.bins["caption_chars"]
        assert captions["kept"].total() == items.kept and captions["failed"].total() == items.num_failed
    assert (drawn.bins, drawn.names) == (wanted.bins, wanted.names)
    assert drawn.num_without == wanted.num_without and drawn.num_others == wanted.num_others
    assert {reason for reason, examples in drawn.examples.items() if examples} == {"", *items.failed}


def unjudged(store: Store, folder: Path) -> Store:
    """A copy of a store without what was filtered."""
    assert store.folder is not None
    shutil.copytree(store.folder, folder)
    shutil.rmtree(folder / "artifacts" / "filter_pairs")
    return Store(folder)


def test_what_fails_again_is_retried_once_more_under_its_own_number(web: FlakyWeb, tmp_path: Path) -> None:
    sources = {"urls": str(web.table(tmp_path / "urls.parquet", 60))}
    store, timeouts = Store(tmp_path / "store"), retry(download(20), reasons=("timeout",))
    once = make(timeouts, store, sources=sources)
    assert once.head.items.failed == {"cut_short": 6, "not_found": 6, "server_error": 6, "timeout": 6}
    (part,) = [part for part in once.parts if part.part.startswith("retry")]
    samples = read_table(once.read(part.file(SAMPLES_FILE)))
    assert samples["key"].to_pylist() == [f"{number:010d}" for number in range(5, 60, 10)]

    web.mend()
    step = retry_pairs.bind("pairs_retry2", RetryPairsRecipe(**FETCH), timeouts)
    twice = make(step, store, sources=sources)
    assert twice.head.items.failed == {"not_found": 6} and twice.head.items.kept == 54
    assert [part.part for part in twice.parts] == ["00000", "00001", "00002", "retry1_00000", "retry2_00000"]
    clean = make(download(20), Store(tmp_path / "clean"), sources=sources)
    assert rows_of(twice) == rows_of(clean)
    check_profile(twice, clean)

    events: list[Event] = []
    make(filter_pairs.bind("kept", RULES, download(20)), store, sources=sources)
    make(filter_pairs.bind("kept", RULES, step), store, sources=sources, post=events.append)
    assert made(events, "judge") == ["retry1_00000", "retry2_00000"]  # the step between was never filtered


def test_nothing_to_retry_takes_all_over(web: FlakyWeb, tmp_path: Path) -> None:
    web.mend()
    sources = {"urls": str(web.table(tmp_path / "urls.parquet", 40))}
    events: list[Event] = []
    again = make(retry(download(20)), tmp_path / "store", sources=sources, post=events.append)
    assert again.head.items.kept == 36 and len(again.parts) == 2
    assert sum(web.asked.values()) == 40


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resize_mode": "keep_ratio"}, "keeps pictures with resize_mode = 'no', and what extends it has 'keep_ratio'"),
        ({"source": Source("others")}, "was downloaded from source 'urls'"),
    ],
)
def test_a_retry_of_another_kind_is_refused(
    web: FlakyWeb, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    web.mend()
    table = str(web.table(tmp_path / "urls.parquet", 20))
    with pytest.raises(StageError, match=message):
        make(retry(download(20), **fields), tmp_path / "store", sources={"urls": table, "others": table})


def test_a_wrong_reason_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(
        ValueError, match=r"'time_out' is no reason .* \(did you mean 'timeout'\?\); there are transient"
    ):
        RetryPairsRecipe(**FETCH, reasons=("time_out",))
    with pytest.raises(ValueError, match="'opt_out' is no reason"):
        RetryPairsRecipe(**FETCH, reasons=("opt_out",))
    assert RetryPairsRecipe(**FETCH, reasons=("transient",)) == RetryPairsRecipe(**FETCH)
