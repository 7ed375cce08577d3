"""The toy web, downloaded: every row accounted for, the same bytes whatever the threads did, tars that others read."""

import gzip
import hashlib
import io
import json
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data

from cluster.local import make
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.commit.draft import Draft
from stages.contract import Source, StageError
from stages.download.engines import img2dataset, requests
from stages.download.part_health import check_downloader, check_network
from stages.download.reasons import Reason
from stages.download_pairs import (
    DownloadPairsRecipe,
    download_pairs,
    download_rows,
)
from stages.formats.pairs import PairReader
from stages.formats.sample_table import Verdict
from stages.origins.row_parts import PartRows
from stages.origins.sample_id import sample_id
from stages.origins.tables.row_batches import MALFORMED
from stages.store.store import Store
from stages.toy_world.oddities import Oddity, oddity
from stages.toy_world.records import RowOddity, row_oddity, url_rows
from tests.stages.conftest import TOY_SOURCES

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


def repeats(rows: Iterable[Mapping[str, Any]]) -> set[int]:
    """Numbers of the rows whose URL and caption stand in an earlier one."""
    seen: set[tuple[str, str]] = set()
    found = set()
    for number, row in enumerate(rows):
        fields = (row["url"], row["caption"])
        if fields in seen:
            found.add(number)
        seen.add(fields)
    return found


def test_every_row_ends_as_the_web_treats_it(toy_pairs: Any) -> None:
    """A row that repeats another is dropped; all others end as their picture does."""
    world, samples = toy_pairs.world, samples_of(toy_pairs.raw)
    repeated = repeats(url_rows(world))
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
    fields = (b"toy_urls", samples["url"][0].as_py().encode(), samples["caption"][0].as_py().encode())
    spelled = b"".join(str(len(field)).encode() + b":" + field for field in fields)
    assert ids[0] == hashlib.sha256(spelled).digest()[:16]


def test_webdataset_reads_the_tars(toy_pairs: Any) -> None:
    import webdataset

    for part in toy_pairs.raw.parts:
        path = toy_pairs.raw.store.folder / part.file(PAIRS_FILE).key
        samples = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
        assert len(samples) == part.items.kept
        for sample in samples:
            assert {"jpg", "json", "txt"} <= set(sample)
            Image.open(io.BytesIO(sample["jpg"])).load()


@pytest.mark.parametrize("engine", ["img2dataset", "event_loop"])
def test_the_other_engine_and_another_machine_make_the_same_bytes(
    toy_pairs: Any, carry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(img2dataset, "NUM_THREADS", 5)
    monkeypatch.setattr(requests, "NUM_AT_ONCE", 5)
    recipe = toy_pairs.raw_step.recipe.model_copy(update={"engine": engine})
    again = carry(download_pairs.bind("pairs", recipe), Store(tmp_path))
    assert again.manifest.content == toy_pairs.raw.manifest.content
    assert again.fingerprint == toy_pairs.raw.fingerprint


def test_a_download_killed_in_the_middle_is_resumed(toy_pairs: Any, carry: Any, tmp_path: Path) -> None:
    """The driver is killed; parts recorded before stay as they were, the rest is made, nothing differs."""
    recipe = toy_pairs.raw_step.recipe.model_dump()
    program = f"""
from cluster.local import make
from stages.download_pairs import DownloadPairsRecipe, download_pairs
recipe = DownloadPairsRecipe.model_validate({recipe!r})
make(download_pairs.bind("pairs", recipe), {str(tmp_path)!r}, sources={TOY_SOURCES!r})
"""
    records = tmp_path / "artifacts" / "download_pairs" / toy_pairs.raw.short / "records" / "download"
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
    check_network(hosts, [*[Reason.CONNECT_ERROR] * 24, *[Reason.NOT_FOUND] * 6])
    check_network(hosts, down, accept_unreachable=True)


def test_a_resolver_that_fails_for_many_names_records_nothing() -> None:
    hosts = [f"host{number}" for number in range(40)]
    with pytest.raises(StageError, match="20 of 40 hosts got no answer from the resolver.*accept_unreachable=True"):
        check_network(hosts, [Reason.DNS_ERROR] * 20 + [Reason.NOT_FOUND] * 20, accept_unreachable=False)
    check_network(hosts, [Reason.DNS_ERROR] * 10 + [Reason.NOT_FOUND] * 30)
    check_network(hosts, [Reason.HOST_UNKNOWN] * 30 + [Reason.NOT_FOUND] * 10)


def test_one_dead_host_is_no_dead_network() -> None:
    check_network(["dead"] * 500, [Reason.CONNECT_ERROR] * 500)


def test_a_downloader_that_fails_at_everything_records_nothing() -> None:
    check_downloader([Reason.UNEXPLAINED] * 5 + [Reason.NOT_FOUND] * 20, ["KeyError: 'x'"])
    with pytest.raises(StageError, match="6 of 26 URLs failed in the downloader itself.*KeyError: 'x'"):
        check_downloader([Reason.UNEXPLAINED] * 6 + [Reason.NOT_FOUND] * 20, ["KeyError: 'x'"])


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A server of one photograph on this machine; gives the URL of its folder."""
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).save(buffer, "JPEG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path.endswith(".jpg") else 404)
            self.end_headers()
            self.wfile.write(buffer.getvalue() if self.path.endswith(".jpg") else b"")

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


asked: list[str] = []


def downloaded(folder: Path, files: dict[str, bytes | pa.Table], **fields: Any) -> RawPairs:
    """What `download_pairs` makes of files with these contents."""
    asked.clear()
    (folder / "source").mkdir(exist_ok=True)
    for name, content in files.items():
        if isinstance(content, pa.Table):
            pq.write_table(content, folder / "source" / name)
        else:
            (folder / "source" / name).write_bytes(content)
    recipe = DownloadPairsRecipe(source=Source("urls"), **{"allow_hosts": ("127.0.0.1",), "num_tries": 1, **fields})
    step = download_pairs.bind("pairs", recipe)
    return make(step, folder / "store", sources={"urls": str(folder / "source")})


def facts_of(raw: RawPairs) -> list[dict[str, Any]]:
    """The json members of the pairs."""
    found = []
    for part in raw.parts:
        with tarfile.open(fileobj=io.BytesIO(raw.read(part.file(PAIRS_FILE)))) as archive:
            found += [json.load(archive.extractfile(name)) for name in archive.getnames() if name.endswith("json")]
    return found


FORMS: dict[str, Callable[[str], bytes | pa.Table]] = {
    "urls.parquet": lambda web: pa.table({"URL": [f"{web}/1.jpg", f"{web}/2.jpg"], "TEXT": ["one", "two"]}),
    "urls.csv": lambda web: f"TEXT,URL\r\none,{web}/1.jpg\r\ntwo,{web}/2.jpg\r\n".encode(),
    "urls.tsv": lambda web: f"caption\timage_url\none\t{web}/1.jpg\ntwo\t{web}/2.jpg\n".encode(),
    "urls.jsonl": lambda web: f'{{"url":"{web}/1.jpg","alt":"one"}}\n{{"url":"{web}/2.jpg","alt":"two"}}'.encode(),
    "urls.json.gz": lambda web: gzip.compress(
        f'[{{"url":"{web}/1.jpg","title":"one"}},{{"url":"{web}/2.jpg","title":"two"}}]'.encode()
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_table_is_downloaded_alike(tmp_path: Path, web: str, name: str) -> None:
    raw = downloaded(tmp_path, {name: FORMS[name](web)})
    rows = samples_of(raw).to_pylist()
    assert [(row["url"], row["caption"], row["verdict"]) for row in rows] == [
        (f"{web}/1.jpg", "one", "kept"),
        (f"{web}/2.jpg", "two", "kept"),
    ]
    assert rows[0]["sample_id"] == sample_id("urls", [f"{web}/1.jpg".encode(), b"one"])
    assert asked == ["/1.jpg", "/2.jpg"] or asked == ["/2.jpg", "/1.jpg"]


@pytest.mark.parametrize(("name", "head"), [("a.txt", ""), ("a.csv", "url\n")])
def test_a_list_of_urls_alone_has_no_captions(tmp_path: Path, web: str, name: str, head: str) -> None:
    files = {name: f"{head}{web}/1.jpg\r\n{web}/2.jpg\r\n".encode()}
    if head:
        with pytest.raises(StageError, match=r"no column 'caption'"):
            downloaded(tmp_path, files)
    raw = downloaded(tmp_path, files, columns={"caption": ""} if head else {})
    assert [(row["caption"], row["verdict"]) for row in samples_of(raw).to_pylist()] == [("", "kept")] * 2


def test_hosts_on_this_machine_are_asked_only_where_the_recipe_lists_them(tmp_path: Path, web: str) -> None:
    files = {"a.csv": f"url,caption\n{web}/1.jpg,one\n".encode()}
    with pytest.raises(StageError, match=r"of 1 URLs, none were kept.*1 url_forbidden_address \(such as row 0, url"):
        downloaded(tmp_path, files, allow_hosts=())
    assert asked == []
    assert downloaded(tmp_path, files).manifest.items.kept == 1


def test_more_may_be_lost_without_downloading_again(tmp_path: Path, web: str) -> None:
    lines = [f"{web}/{number}.png,lost" for number in range(9)]
    files = {"a.csv": "\n".join(["url,caption", f"{web}/1.jpg,one", *lines]).encode()}
    with pytest.raises(StageError, match=r"of 10 URLs, 1 were kept.*9 not_found"):
        downloaded(tmp_path, files)
    assert len(asked) == 10
    raw = downloaded(tmp_path, files, max_share_lost=0.9)
    assert (raw.manifest.items.kept, asked) == (1, [])


NO_UTF8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"espa\xf1ol"]).buffers())
ODD: dict[str, pa.Array] = {
    "no UTF-8": NO_UTF8,
    "beyond the year 9999": pa.array([900000000000000000], pa.timestamp("us")),
    "a zone of nowhere": pa.array([1], pa.timestamp("us", tz="Mars/Base")),
    "tags": pa.array([["red", "photo"]]),
    "meta": pa.array([{"a": 1}]),
    "image": pa.array([{"bytes": b"\xff\xd8" * 100, "path": "a.jpg"}]),
}


def test_columns_of_any_type_are_carried_as_they_are(tmp_path: Path, web: str) -> None:
    table = pa.table({"url": [f"{web}/1.jpg"], "caption": ["one"], **ODD})
    raw = downloaded(tmp_path, {"a.parquet": table})
    samples = samples_of(raw)
    assert all(samples[name].type == array.type for name, array in ODD.items())
    (facts,) = facts_of(raw)
    assert (facts["tags"], facts["meta"]) == (["red", "photo"], {"a": 1})
    assert len(facts["image"]["bytes"]) < 300 and facts["no UTF-8"] is None
    assert raw.parts[0].facts["num_unspelled"] == {"no UTF-8": 1}
    assert [pair.caption for pair in PairReader(raw)] == ["one"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("url,caption,key", "column 'key', a name that our own tables use"),
        ("url,caption,position", "column 'position'"),
        ("url,caption,sha256", "column 'sha256'"),
        ("url,caption,caption", "'caption' 2 times"),
        ("link,caption", r"has no column 'picture', which `columns` names"),
        ("url,caption,punsafe,punsafe", "'punsafe' 2 times"),
        ("http://a/b.jpg,a cat", r"header=\('caption', 'url'\)"),
        ("url,caption,punsafe", r"column 'punsafe' of a.csv holds 'x', and pairs are filtered by numbers"),
    ],
)
def test_columns_are_refused_before_anything_is_asked(tmp_path: Path, web: str, header: str, message: str) -> None:
    line = ",".join(["http://a.test/1.jpg", "one", "x", "y"][: header.count(",") + 1])
    columns = {"url": "picture"} if header.startswith("link") else {}
    with pytest.raises(StageError, match=message):
        downloaded(tmp_path, {"a.csv": f"{header}\n{line}\n".encode()}, columns=columns)
    assert asked == []


def test_a_row_that_cannot_be_read_ends_with_a_reason(tmp_path: Path, web: str) -> None:
    raw = downloaded(tmp_path, {"a.csv": f"url,caption\n{web}/1.jpg,one\n{web}/2.jpg,two,more\n".encode()})
    assert raw.manifest.items.failed == {"malformed_row": 1}
    assert samples_of(raw)["malformed_row"].to_pylist()[1].startswith("line 3: 3 fields, the header has 2: http")
    assert raw.parts[0].facts["examples"]["malformed_row"]["row"] == 1


def test_a_part_of_which_nothing_is_asked_still_accounts_for_its_rows(tmp_path: Path) -> None:
    columns = {"url": ["file:///etc/passwd", None], "caption": ["a", "b"], "score": [float("nan"), 1.0]}
    rows = PartRows(pa.table({**columns, MALFORMED: pa.nulls(2, pa.string())}), {}, first_row=7)
    draft = Draft(scratch=tmp_path, report=lambda _: None)
    download_rows(rows, {}, "urls", DownloadPairsRecipe(source=Source("urls")), draft)
    assert draft.items.dropped == {"url_scheme": 1} and draft.items.failed == {"schema": 1}
    files = dict(draft.files())
    with tarfile.open(files[PAIRS_FILE]) as archive:
        assert archive.getnames() == []
    assert "score" in pq.read_schema(files[SAMPLES_FILE]).names
