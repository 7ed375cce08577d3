"""The pictures of conversations, collected from the web, folders, tars and tables, each once, and found by name."""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage

from cluster.local import make
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.artifacts.profiles import profile_files
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, StageError
from stages.formats.pairs import PairReader
from stages.profiles.pictures import NUMBERS_FILE
from stages.profiles.profile import Profile
from tests.stages.importing.conftest import PHOTO, picture, small_web
from tests.stages.importing.test_tar_members import tar_of

PHOTO_FOLDER = Path(skimage.__file__).parent / "data"


def collected(tmp_path: Path, rows: list[dict[str, Any]], images: Path | None = None, **fields: Any) -> RawPairs:
    (tmp_path / "chat.json").write_text(json.dumps(rows))
    return collected_from(tmp_path, tmp_path / "chat.json", images, **fields)


def collected_from(tmp_path: Path, table: Path, images: Path | None = None, **fields: Any) -> RawPairs:
    sources = {"chat": str(table)} | ({} if images is None else {"photos": str(images)})
    named = None if images is None else Source("photos")
    recipe = CollectImagesRecipe(source=Source("chat"), images=named, **fields)
    return make(collect_images.bind("pictures", recipe), tmp_path / "store", sources=sources)


def rows_of(raw: RawPairs) -> list[dict[str, Any]]:
    tables = [pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE)))) for part in raw.parts]
    return [row for table in tables for row in table.to_pylist()]


def ends_of(raw: RawPairs) -> dict[str, str | None]:
    return {row["reference"]: row["reason"] for row in rows_of(raw)}


def llava(image: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]
    return {"id": "1", "image": image, "conversations": turns}


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "photos"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats/chelsea.png").write_bytes((PHOTO_FOLDER / "chelsea.png").read_bytes())
    (folder / "rocket.jpg").write_bytes(PHOTO)
    (folder / "copy.jpg").write_bytes(PHOTO)
    (tmp_path / "secret.jpg").write_bytes(picture())
    yield folder


def test_pictures_of_a_folder_are_collected_once_and_found_by_their_paths(tmp_path: Path, photos: Path) -> None:
    rows = [
        llava("cats/chelsea.png"),
        llava(["rocket.jpg", "./cats//chelsea.png"]),
        llava("copy.jpg"),
        llava("cats/chelsea.png"),
        llava("gone.jpg"),
        llava("../secret.jpg"),
        llava(str(tmp_path / "secret.jpg")),
        llava("/etc/passwd"),
        {"conversations": [{"from": "human", "value": "no picture"}]},
    ]
    raw = collected(tmp_path, rows, photos)
    assert ends_of(raw) == {
        "cats/chelsea.png": None,
        "rocket.jpg": None,
        "./cats//chelsea.png": None,
        "copy.jpg": None,
        "gone.jpg": "image_missing",
        "../secret.jpg": "path_outside",
        str(tmp_path / "secret.jpg"): "path_outside",
        "/etc/passwd": "path_outside",
    }
    reader = PairReader(raw)
    for name in ("rocket.jpg", "copy.jpg"):
        sample_id = reader.sample_id_of(name)
        assert sample_id is not None and reader.image(sample_id) == PHOTO
    assert reader.sample_id_of("gone.jpg") is None
    (part,) = raw.parts
    with tarfile.open(fileobj=io.BytesIO(raw.read(part.file(PAIRS_FILE)))) as tar:
        assert sum(name.endswith(".jpg") for name in tar.getnames()) == 2, "equal bytes are stored once"
    assert {row["url"] for row in rows_of(raw)} >= {"photos:rocket.jpg"}
    drawn = {entry.name: raw.read(entry) for entry in profile_files(raw)}
    assert drawn.keys() == {
        "funnel.png", "charts.png", "sheet_kept.png", "sheet_dropped.png", "sheet_failed.png", NUMBERS_FILE,
    }  # fmt: skip
    profile = Profile.parse(drawn[NUMBERS_FILE])
    assert {reason: len(examples) for reason, examples in profile.examples.items()} == {
        "": 4, "image_missing": 1, "path_outside": 3,
    }  # fmt: skip
    assert "caption_chars" not in profile.bins, "there are no captions to count"


def test_pictures_of_tars_are_found_by_member_and_by_folder(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars/a.tar").write_bytes(tar_of({"train/0.jpg": picture("red"), "same.jpg": picture("blue")}))
    (tmp_path / "tars/b.tar").write_bytes(tar_of({"train/1.jpg": picture("green"), "same.jpg": picture("pink")}))
    rows = [llava("train/0.jpg"), llava("b/train/1.jpg"), llava("a.tar/same.jpg"), llava("same.jpg")]
    raw = collected(tmp_path, rows, tmp_path / "tars")
    assert ends_of(raw) == {
        "train/0.jpg": None,
        "b/train/1.jpg": None,
        "a.tar/same.jpg": None,
        "same.jpg": "image_ambiguous",
    }


def test_a_prefix_that_the_table_has_is_cut_off(tmp_path: Path, photos: Path) -> None:
    rows = [llava("/data/photos/rocket.jpg"), llava("/data/other/rocket.jpg")]
    raw = collected(tmp_path, rows, photos, path_prefix="/data/photos/", max_share_lost=1.0)
    assert ends_of(raw) == {"/data/photos/rocket.jpg": None, "/data/other/rocket.jpg": "path_outside"}


def test_data_uris_and_bytes_in_the_table_are_stored_once(tmp_path: Path) -> None:
    red, blue = picture("red"), picture("blue")
    uri = f"data:image/jpeg;base64,{base64.b64encode(red).decode()}"
    message = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": "?"}],
    }
    raw = collected(tmp_path, [{"messages": [message]}, {"messages": [message]}])
    name = f"sha256:{hashlib.sha256(red).hexdigest()}"
    assert ends_of(raw) == {name: None}
    images = pa.array(
        [{"bytes": data, "path": None} for data in (red, blue, red)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": images, "conversations": [json.dumps([{"from": "human", "value": "<image>"}])] * 3})
    pq.write_table(table, tmp_path / "chat.parquet")
    reader = PairReader(collected_from(tmp_path, tmp_path / "chat.parquet"))
    found = reader.sample_id_of(name)
    assert reader.num_kept == 2 and found is not None and reader.image(found) == red


def test_parts_are_ranges_of_the_references_and_a_table_of_several_files_is_one(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "tables").mkdir()
    for number in range(3):
        rows = [llava("rocket.jpg"), llava(f"gone{number}.jpg"), llava(f"cats/gone{number}.jpg")]
        (tmp_path / f"tables/{number}.json").write_text(json.dumps(rows))
    raw = collected_from(tmp_path, tmp_path / "tables", photos, num_images_per_part=3, max_share_lost=1.0)
    assert [part.items.total for part in raw.parts] == [3, 3, 1]
    assert [row["reference"] for row in rows_of(raw)][:4] == ["rocket.jpg", "gone0.jpg", "cats/gone0.jpg", "gone1.jpg"]


def test_web_addresses_are_asked_for_as_a_download_asks(tmp_path: Path) -> None:
    with small_web() as web:
        rows = [
            llava([f"{web}/0.jpg", f"{web}/404"]),
            llava(f"{web}/0.jpg"),
            llava("https://user:secret@a.example/x.jpg"),
        ]
        raw = collected(tmp_path, rows, allow_hosts=("127.0.0.1",))
        assert ends_of(raw) == {
            f"{web}/0.jpg": None,
            f"{web}/404": "not_found",
            "https://user:secret@a.example/x.jpg": "url_malformed",
        }
        refused = collected(tmp_path, rows, max_share_lost=1.0)
        assert refused.manifest.items.dropped["url_forbidden_address"] == 2
    sample_id = PairReader(raw).sample_id_of(f"{web}/0.jpg")
    assert sample_id is not None and PairReader(raw).image(sample_id) == PHOTO


def test_a_collection_that_gets_nothing_fails_and_says_why(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(StageError, match=r"of 2 references, none were kept.*2 image_missing"):
        collected(tmp_path, [llava("a.jpg"), llava("b.jpg")], photos)
    with pytest.raises(StageError, match="no row of source 'chat' refers to a picture"):
        collected(tmp_path, [{"conversations": []}], photos)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/a.tar.gz").write_bytes(b"")
    with pytest.raises(StageError, match=r"a.tar.gz is compressed.*unpack it"):
        collected(tmp_path, [llava("a.jpg")], tmp_path / "packed")


def test_frames_of_videos_are_collected_and_videos_passed_over(tmp_path: Path, photos: Path) -> None:
    """Videos that are files are `cut_clips`'s; a video that is a list of pictures needs these pictures."""
    part = {"type": "video", "video": ["copy.jpg", "cats/chelsea.png"], "fps": 1}
    asked = [{"role": "user", "content": [part, {"type": "video", "video": "b.mp4"}]}]
    rows = [
        {"id": "1", "video": "a.mp4", "conversations": [{"from": "human", "value": "<video>"}]},
        {"id": "2", "video": ["rocket.jpg", "copy.jpg"], "conversations": [{"from": "human", "value": "<video>"}]},
        {"id": "3", "video": 7, "image": "rocket.jpg", "conversations": [{"from": "human", "value": "<image>"}]},
        {"id": "4", "messages": asked},
    ]
    assert ends_of(collected(tmp_path, rows, photos)) == dict.fromkeys(["rocket.jpg", "copy.jpg", "cats/chelsea.png"])
