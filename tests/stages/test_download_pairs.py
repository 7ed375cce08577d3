"""The toy web, downloaded: every row accounted for, the same bytes whatever the threads did, tars that others read."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.commit.draft import Draft
from stages.contract import Part, StageError
from stages.download.engines import img2dataset
from stages.download.reasons import Reason
from stages.download_pairs import DownloadPairsRecipe, check_downloader, check_network, download_rows
from stages.formats.sample_table import Verdict
from stages.store.store import Store
from stages.toy_world.oddities import Oddity, oddity
from stages.toy_world.records import RowOddity, row_oddity
from stages.toy_world.tables import url_table
from stages.toy_world.world import ToyWorld

ROOT = Path(__file__).parents[2]

ENDS: dict[Oddity, Reason | None] = {
    Oddity.PLAIN: None,
    Oddity.MISSING: Reason.NOT_FOUND,
    Oddity.MOVED: None,
    Oddity.CIRCLING: Reason.REDIRECT_LOOP,
    Oddity.TRESPASSING: Reason.REDIRECT_FORBIDDEN,
    Oddity.TRUNCATED: Reason.TRUNCATED,
    Oddity.PAGE: Reason.NOT_IMAGE,
    Oddity.DOT: None,
    Oddity.SLIVER: None,
    Oddity.ANIMATED: None,
    Oddity.COPY: None,
    Oddity.CMYK: None,
    Oddity.TURNED: None,
    Oddity.TRANSPARENT: None,
    Oddity.SLOW: None,
    Oddity.STALLED: Reason.TIMEOUT,
    Oddity.DRIPPING: Reason.TIMEOUT,
    Oddity.ENDLESS: Reason.TOO_LARGE,
    Oddity.BOMB: Reason.TOO_MANY_PIXELS,
    Oddity.UNAVAILABLE: Reason.SERVER_ERROR,
    Oddity.EMPTY: Reason.EMPTY_BODY,
    Oddity.OPTED_OUT: Reason.OPT_OUT,
}


def samples_of(raw: RawPairs) -> pa.Table:
    return pa.concat_tables([pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE)))) for part in raw.parts])


def repeats(table: pa.Table) -> set[int]:
    seen: set[tuple[str, str]] = set()
    found = set()
    for number, row in enumerate(zip(table["url"].to_pylist(), table["caption"].to_pylist(), strict=True)):
        if row in seen:
            found.add(number)
        seen.add(row)
    return found


def test_every_row_ends_as_the_web_treats_it(toy_pairs: Any) -> None:
    """A row that repeats another is dropped; all others end as their picture does."""
    world, samples = toy_pairs.world, samples_of(toy_pairs.raw)
    repeated = repeats(url_table(world))
    treated = [oddity(world.seed, int(url[-10:-4])) for url in samples["url"].to_pylist()]
    expected = [Reason.REPEATED_ROW if number in repeated else ENDS[how] for number, how in enumerate(treated)]
    assert samples["reason"].to_pylist() == [reason and reason.value for reason in expected]
    assert samples["retriable"].to_pylist() == [reason is not None and reason.retriable for reason in expected]
    assert set(treated) == set(Oddity) and RowOddity.REPEATED in {row_oddity(world.seed, n) for n in range(260)}
    verdicts = Counter(samples["verdict"].to_pylist())
    items = toy_pairs.raw.manifest.items
    assert (items.kept, items.num_dropped, items.num_failed) == tuple(verdicts[verdict.value] for verdict in Verdict)
    assert items.total == world.num_train_images == samples.num_rows


def test_the_table_says_what_is_in_the_tar(toy_pairs: Any) -> None:
    for part in toy_pairs.raw.parts:
        tar = toy_pairs.raw.read(part.file(PAIRS_FILE))
        rows = pq.read_table(io.BytesIO(toy_pairs.raw.read(part.file(SAMPLES_FILE)))).to_pylist()
        kept = [row for row in rows if row["verdict"] == "kept"]
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            assert archive.getnames() == [f"{row['key']}.{end}" for row in kept for end in ("jpg", "json", "txt")]
            for row in kept:
                image = tar[row["image_offset"] : row["image_offset"] + row["image_size_bytes"]]
                assert archive.extractfile(f"{row['key']}.jpg").read() == image
                assert archive.extractfile(f"{row['key']}.txt").read().decode() == row["caption"]
                assert hashlib.sha256(image).digest() == row["sha256"]
        assert all(
            row[name] is None for row in rows if row["verdict"] != "kept" for name in ("key", "sha256", "width_px")
        )


def test_sizes_are_those_of_the_upright_picture(toy_pairs: Any) -> None:
    seed = toy_pairs.world.seed
    rows = {int(row["url"][-10:-4]): row for row in samples_of(toy_pairs.raw).to_pylist() if row["verdict"] == "kept"}
    plain = [row for number, row in rows.items() if oddity(seed, number) in {Oddity.PLAIN, Oddity.TURNED, Oddity.CMYK}]
    assert len(plain) > 100
    assert all((row["width_px"], row["height_px"]) == (row["width"], row["height"]) for row in plain)
    sent_as = {oddity(seed, number): row["sent_as"] for number, row in rows.items()}
    assert sent_as[Oddity.CMYK] == "JPEG CMYK" and sent_as[Oddity.TRANSPARENT] == "PNG RGBA"
    assert sent_as[Oddity.ANIMATED].startswith("GIF")


def test_a_sample_id_is_made_of_source_url_and_caption(toy_pairs: Any) -> None:
    samples = samples_of(toy_pairs.raw)
    ids = samples["sample_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    fields = (b"toy_world/urls/train", samples["url"][0].as_py().encode(), samples["caption"][0].as_py().encode())
    spelled = b"".join(str(len(field)).encode() + b":" + field for field in fields)
    assert ids[0] == hashlib.sha256(spelled).digest()[:16]


def test_webdataset_reads_the_tars(toy_pairs: Any) -> None:
    import webdataset

    for part in toy_pairs.raw.parts:
        path = toy_pairs.raw.local_path(part.file(PAIRS_FILE))
        samples = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
        assert len(samples) == part.items.kept
        for sample in samples:
            assert {"jpg", "json", "txt"} <= set(sample)
            Image.open(io.BytesIO(sample["jpg"])).load()


def test_another_machine_with_other_threads_makes_the_same_bytes(
    toy_pairs: Any, carry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(img2dataset, "NUM_THREADS", 5)
    again = carry(toy_pairs.raw_step, Store(tmp_path))
    assert again.manifest.content == toy_pairs.raw.manifest.content


def test_a_download_killed_in_the_middle_is_resumed(toy_pairs: Any, carry: Any, tmp_path: Path) -> None:
    """The driver is killed; parts recorded before stay as they were, the rest is made, nothing differs."""
    recipe = toy_pairs.raw_step.recipe.model_dump_json()
    program = f"""
from cluster.local import make
from stages.download_pairs import DownloadPairsRecipe, download_pairs
make(download_pairs.bind("pairs", DownloadPairsRecipe.model_validate_json('{recipe}')), {str(tmp_path)!r})
"""
    records = tmp_path / "artifacts" / "download_pairs" / toy_pairs.raw_step.fingerprint[:12] / "records" / "download"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        for _ in range(1200):
            if records.is_dir() and list(records.glob("*.json")):
                break
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done_before = {path.stem: json.loads(path.read_text())["made_by"]["attempt"] for path in records.glob("*.json")}
    assert 0 < len(done_before) < len(toy_pairs.raw.parts), "the driver was not killed in the middle"
    raw = carry(toy_pairs.raw_step, Store(tmp_path))
    (killed,) = set(done_before.values())
    assert {part.part for part in raw.parts if part.made_by["attempt"] == killed} == done_before.keys()
    assert raw.manifest.content == toy_pairs.raw.manifest.content


def test_a_network_that_is_down_loses_no_url() -> None:
    hosts = [f"host{number}" for number in range(30)]
    down = [Reason.DNS_ERROR] * 15 + [Reason.CONNECT_ERROR] * 10 + [Reason.NOT_FOUND] * 5
    with pytest.raises(StageError, match="25 of 30 hosts could not be reached at all"):
        check_network(hosts, down)
    check_network(hosts, [*down[1:], Reason.NOT_FOUND])


def test_one_dead_host_is_no_dead_network() -> None:
    check_network(["dead"] * 500, [Reason.CONNECT_ERROR] * 500)


def test_a_downloader_that_fails_at_everything_records_nothing() -> None:
    check_downloader([Reason.UNEXPLAINED] * 5 + [Reason.NOT_FOUND] * 20, ["KeyError: 'x'"])
    with pytest.raises(StageError, match="6 of 26 URLs failed in the downloader itself.*KeyError: 'x'"):
        check_downloader([Reason.UNEXPLAINED] * 6 + [Reason.NOT_FOUND] * 20, ["KeyError: 'x'"])


def test_a_table_of_wrong_columns_is_refused_with_its_name(tmp_path: Path) -> None:
    recipe = DownloadPairsRecipe(origin=ToyWorld())
    part = Part(name="00000", task={"start": 0, "stop": 1, "repeats": {}})
    draft = Draft(scratch=tmp_path, report=lambda _: None)
    with pytest.raises(StageError, match="column 'caption' of the URL table is int64"):
        download_rows(pa.table({"url": ["http://a.invalid/"], "caption": [1]}), part, {}, recipe, draft)
    with pytest.raises(StageError, match=r"columns \['key'\]"):
        download_rows(pa.table({"url": ["file:///a"], "caption": ["a"], "key": ["b"]}), part, {}, recipe, draft)


def test_a_part_of_which_nothing_is_asked_still_accounts_for_its_rows(tmp_path: Path) -> None:
    table = pa.table({"url": ["file:///etc/passwd", None], "caption": ["a", "b"], "score": [float("nan"), 1.0]})
    part = Part(name="00000", task={"start": 7, "stop": 9, "repeats": {}})
    draft = Draft(scratch=tmp_path, report=lambda _: None)
    download_rows(table, part, {}, DownloadPairsRecipe(origin=ToyWorld()), draft)
    assert draft.items.dropped == {"url_scheme": 1} and draft.items.failed == {"schema": 1}
    files = dict(draft.files())
    with tarfile.open(files[PAIRS_FILE]) as archive:
        assert archive.getnames() == []
    assert "score" in pq.read_schema(files[SAMPLES_FILE]).names
