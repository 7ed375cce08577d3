"""One URL under many captions is asked for once and stored once; its rows refer to the one picture."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cluster.local import make
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.contract import Source
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.formats.pairs import ImageReader, PairReader
from tests.stages.download.conftest import HostileWeb, answer, encoded

CAPTIONS = ("one", "two", "three", "four", "five")


@pytest.fixture
def pictures(web: HostileWeb) -> dict[str, bytes]:
    """Ten pictures of the web, by their URLs; of an eleventh there is none."""
    found = {}
    for number in range(10):
        data = encoded(Image.effect_noise((40 + number, 40), 60).convert("RGB"))
        found[web.says(f"/{number}.jpg", answer(data))] = data
    web.says("/gone.jpg", answer(b"", status="404 Not Found"))
    return found


def downloaded(folder: Path, web: HostileWeb, rows: list[tuple[str, str]], **fields: Any) -> RawPairs:
    (folder / "source").mkdir()
    urls = [url.replace("bad.invalid", f"127.0.0.1:{web.port}") for url, _ in rows]
    table = pa.table({"url": urls, "caption": [caption for _, caption in rows], "number": list(range(len(rows)))})
    pq.write_table(table, folder / "source" / "urls.parquet")
    recipe = DownloadPairsRecipe(
        source=Source("urls"), allow_hosts=("127.0.0.1",), num_tries=1, max_share_lost=1, **fields
    )
    return make(download_pairs.bind("pairs", recipe), folder / "store", sources={"urls": str(folder / "source")})


@pytest.mark.parametrize("engine", ["event_loop", "img2dataset"])
def test_five_captions_of_a_picture_cost_one_request_and_one_member(
    web: HostileWeb, pictures: dict[str, bytes], tmp_path: Path, engine: str
) -> None:
    gone = "http://bad.invalid/gone.jpg"
    rows = [(url, caption) for caption in CAPTIONS for url in (*pictures, gone)]
    raw = downloaded(tmp_path, web, rows, engine=engine)
    assert set(web.asked.values()) == {1} and len(web.asked) == 11
    assert (raw.manifest.items.kept, raw.manifest.items.failed) == (50, {"not_found": 5})
    (part,) = raw.parts
    samples = pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE)))).to_pylist()
    tar = raw.read(part.file(PAIRS_FILE))
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        stored = {name: archive.extractfile(name).read() for name in archive.getnames()}
    assert [name for name in stored if name.endswith("jpg")] == [f"{number:010d}.jpg" for number in range(10)]
    for row, (url, caption) in zip(samples, rows, strict=True):
        if url == gone:
            assert row["key"] is row["image_offset"] is None
            continue
        assert row["caption"] == caption and pictures[url] == stored[f"{row['key']}.jpg"]
        assert pictures[url] == tar[row["image_offset"] : row["image_offset"] + row["image_size_bytes"]]
    assert stored["0000000003.txt"] == b"one"
    assert [row["number"] for row in samples] == list(range(55)), "each row keeps columns of its own"
    assert len({row["sample_id"] for row in samples}) == 55


def test_rows_of_one_picture_are_read_by_whichever_reader(
    web: HostileWeb, pictures: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(url, caption) for url in pictures for caption in CAPTIONS]
    reader = PairReader(downloaded(tmp_path, web, rows))
    pairs = list(reader)
    expected = [pictures[url] for url, _ in rows]
    assert [reader.image(pair.sample_id) for pair in pairs] == expected
    reads = []
    read = ImageReader.read
    monkeypatch.setattr(ImageReader, "read", lambda self, *where: reads.append(where) or read(self, *where))
    assert list(reader.images.together([pair.image for pair in pairs], ahead=False)) == expected
    assert len(reads) == 1, "pictures that lie together are read together, also where rows share them"


@pytest.mark.parametrize("num_rows", [200, 2000])
def test_a_part_of_one_url_is_as_large_as_one_picture(web: HostileWeb, tmp_path: Path, num_rows: int) -> None:
    data = encoded(Image.effect_noise((64, 64), 60).convert("RGB"))
    url = web.says("/one.jpg", answer(data))
    raw = downloaded(tmp_path, web, [(url, f"caption {number}") for number in range(num_rows)])
    assert web.asked["/one.jpg"] == 1 and raw.manifest.items.kept == num_rows
    assert raw.parts[0].file(PAIRS_FILE).size_bytes < len(data) + 10_000


def test_spellings_of_one_address_are_asked_for_once(
    web: HostileWeb, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    url = next(iter(pictures))
    rows = [(url, "one"), (f"{url}#top", "two"), (url.replace("http", "HTTP"), "three")]
    raw = downloaded(tmp_path, web, rows)
    assert web.asked["/0.jpg"] == 1 and raw.manifest.items.kept == 3
