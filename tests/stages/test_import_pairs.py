"""Pairs in every form in which people have them, imported, read back and packed like a download."""

import gzip
import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage
import webdataset
from PIL import Image

from cluster.local import make
from stages.artifacts.kinds import SAMPLES_FILE, RawPairs
from stages.artifacts.profiles import profile_files
from stages.contract import Source, StageError
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.pairs import PairReader
from stages.import_pairs import INDEX_PHASE, ImportPairsRecipe, import_pairs
from stages.profiles.pictures import NUMBERS_FILE
from stages.profiles.profile import Profile
from tests.stages.importing.conftest import EXPECTED, download_shard, picture
from tests.stages.importing.test_tar_members import tar_of

PHOTOS = {
    "astronaut.png": "an astronaut before a flag",
    "chelsea.png": "a cat with orange fur",
    "coffee.png": "a cup of coffee on a saucer",
    "rocket.jpg": "a rocket on its pad at night",
    "camera.png": "a man with a camera on a tripod",
}
"""Photographs that scikit-image ships, and what they show."""
PHOTO_FOLDER = Path(skimage.__file__).parent / "data"


def imported(tmp_path: Path, files: Path | str, **fields: Any) -> RawPairs:
    step = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("mine"), **fields))
    return make(step, tmp_path / "store", sources={"mine": str(files)})


def rows_of(raw: RawPairs) -> list[dict[str, Any]]:
    tables = [pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE)))) for part in raw.parts]
    return [row for table in tables for row in table.to_pylist()]


def ends_of(raw: RawPairs) -> dict[str, str | None]:
    return {row["reference"]: row["reason"] for row in rows_of(raw)}


def check_photos(raw: RawPairs) -> None:
    """All photographs were kept with their captions, and their bytes can be read back as JPEG of their size."""
    reader = PairReader(raw)
    found = {pair.caption: pair for pair in reader}
    assert found.keys() == set(PHOTOS.values()) and raw.manifest.items.total == len(PHOTOS)
    for name, caption in PHOTOS.items():
        pair = found[caption]
        with (
            Image.open(PHOTO_FOLDER / name) as original,
            Image.open(io.BytesIO(reader.image(pair.image.sample_id))) as got,
        ):
            assert (got.format, got.size, (pair.width_px, pair.height_px)) == ("JPEG", original.size, original.size)


def check_profile(raw: RawPairs) -> Profile:
    """What was imported is drawn, each item counted once; the sheets show pictures that are there."""
    drawn = {entry.name: raw.read(entry) for entry in profile_files(raw)}
    assert drawn.keys() >= {"funnel.png", "charts.png", NUMBERS_FILE}
    for role, number in (("kept", raw.head.items.kept), ("failed", raw.head.items.num_failed)):
        assert (f"sheet_{role}.png" in drawn) == (number > 0)
    profile = Profile.parse(drawn[NUMBERS_FILE])
    assert sum(counts.total() for counts in profile.bins["short_side_px"].values()) == raw.head.items.kept
    assert profile.examples.keys() >= {"" for _ in range(raw.head.items.kept)} | raw.head.items.failed.keys()
    return profile


def photo_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in PHOTOS:
        shutil.copy(PHOTO_FOLDER / name, folder / name)
    return folder


def test_tars_of_webdataset(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "tars/%03d.tar"), maxcount=2, verbose=0) as writer:
        for number, (name, caption) in enumerate(PHOTOS.items()):
            data = (PHOTO_FOLDER / name).read_bytes()
            writer.write(
                {"__key__": f"{number:04d}", name.rpartition(".")[2]: data, "txt": caption, "json": {"n": number}}
            )
    raw = imported(tmp_path, tmp_path / "tars")
    check_photos(raw)
    profile = check_profile(raw)
    assert {example.text for example in profile.examples[""]} == set(PHOTOS.values())
    assert [part.items.kept for part in raw.parts] == [2, 2, 1]
    assert rows_of(raw)[2]["source_json"] == '{"n": 2}' and rows_of(raw)[2]["url"] == "mine:001.tar/0002.png"
    assert PairReader(raw).sample_id_of("001.tar/0002.png") == rows_of(raw)[2]["sample_id"]
    kept = make(
        filter_pairs.bind(
            "kept", FilterPairsRecipe(), import_pairs.bind("pairs", ImportPairsRecipe(source=Source("mine")))
        ),
        tmp_path / "store",
        sources={"mine": str(tmp_path / "tars")},
    )
    assert kept.manifest.items.kept == len(PHOTOS)


def test_a_compressed_tar_whose_captions_are_fields_of_json(tmp_path: Path) -> None:
    members = {}
    for number, (name, caption) in enumerate(PHOTOS.items()):
        members[f"{number}.{name.rpartition('.')[2]}"] = (PHOTO_FOLDER / name).read_bytes()
        members[f"{number}.json"] = json.dumps({"captions": {"long": caption}, "caption": "short"}).encode()
    (tmp_path / "photos.tar.gz").write_bytes(gzip.compress(tar_of(members), 1))
    check_photos(imported(tmp_path, tmp_path / "photos.tar.gz", columns={"caption": "captions.long"}))


@pytest.mark.parametrize("output_format", ["webdataset", "files", "parquet"])
def test_what_img2dataset_downloaded_with_its_failures(tmp_path: Path, output_format: str) -> None:
    for shard in range(2):
        download_shard(tmp_path / "shards", output_format, shard)
    raw = imported(tmp_path, tmp_path / "shards")
    rows = rows_of(raw)
    assert Counter((row["caption"], row["reason"]) for row in rows) == dict.fromkeys(EXPECTED.items(), 2)
    assert check_profile(raw).names["host"].keys() == {"127.0.0.1", "x"}
    assert [part.facts["form"] for part in raw.parts] == ["img2dataset"] * 2
    assert all(row["similarity"] == int(row["caption"][4:]) / 100 for row in rows)
    kept = [row for row in rows if row["verdict"] == "kept"]
    assert all(row["url"].startswith("http://127.0.0.1") and row["source_sha256"] for row in kept)
    assert len({row["sample_id"] for row in rows}) == len(rows)


def test_a_shard_of_img2dataset_that_was_cut_and_one_that_lost_its_table(tmp_path: Path) -> None:
    for shard in range(2):
        download_shard(tmp_path / "shards", "webdataset", shard)
    tar = tmp_path / "shards/00000.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    (tmp_path / "shards/00001.parquet").unlink()
    first, second = imported(tmp_path, tmp_path / "shards", form="img2dataset").parts
    assert first.items.total == second.items.total == len(EXPECTED)
    assert first.items.failed["truncated_tar"] >= 2 and second.items.kept == 3
    assert second.items.failed == {"not_listed": 9}


@pytest.mark.parametrize("as_struct", [True, False])
def test_parquet_of_a_hub_in_nested_folders(tmp_path: Path, as_struct: bool) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for number, (name, caption) in enumerate(PHOTOS.items()):
        data = (PHOTO_FOLDER / name).read_bytes()
        image = pa.array([{"bytes": data, "path": name}], kind) if as_struct else pa.array([data], pa.binary())
        path = tmp_path / f"hub/data/{'train' if number % 2 else 'more'}/{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"image": image, "text": [caption], "licence": ["CC0"]}), path)
    (tmp_path / "hub/README.md").write_text("a card")
    raw = imported(tmp_path, tmp_path / "hub")
    check_photos(raw)
    assert {row["licence"] for row in rows_of(raw)} == {"CC0"}
    assert len(raw.phase(INDEX_PHASE)) == len(raw.parts) == len(PHOTOS)


def test_row_groups_are_gathered_into_parts(tmp_path: Path) -> None:
    images = [picture(size=(20 + number, 20)) for number in range(10)]
    table = pa.table({"jpg": pa.array(images, pa.binary()), "caption": [str(number) for number in range(10)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    raw = imported(tmp_path, tmp_path / "rows.parquet", num_pairs_per_part=3)
    assert [part.items.kept for part in raw.parts] == [4, 4, 2]
    assert [row["width_px"] for row in rows_of(raw)] == [20 + number for number in range(10)]


@pytest.mark.parametrize("table", ["metadata.jsonl", "metadata.csv", "metadata.parquet"])
@pytest.mark.parametrize("num_pairs_per_part", [2, 100])
def test_a_folder_with_a_table(tmp_path: Path, table: str, num_pairs_per_part: int) -> None:
    folder = photo_folder(tmp_path / "photos/train")
    rows = [{"file_name": name, "text": caption, "licence": "CC0"} for name, caption in PHOTOS.items()]
    if table.endswith("jsonl"):
        (folder / table).write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif table.endswith("csv"):
        lines = ["file_name,text,licence", *(",".join(row.values()) for row in rows)]
        (folder / table).write_text("\r\n".join(lines))
    else:
        pq.write_table(pa.Table.from_pylist(rows), folder / table)
    raw = imported(tmp_path, tmp_path / "photos", num_pairs_per_part=num_pairs_per_part)
    check_photos(raw)
    assert json.loads(rows_of(raw)[0]["source_json"]) == {"licence": "CC0"}
    assert len(raw.parts) == (3 if num_pairs_per_part == 2 else 1)
    assert PairReader(raw).sample_id_of("train/coffee.png") is not None


def test_a_folder_with_texts_beside_the_pictures(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos")
    for name, caption in PHOTOS.items():
        (folder / name).with_suffix(".txt").write_text(f"{caption}\n")
    check_photos(imported(tmp_path, folder, num_pairs_per_part=2))


def test_a_folder_whose_file_names_are_captions_or_that_has_none(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos")
    named = imported(tmp_path, folder, captions="file_name")
    assert {pair.caption for pair in PairReader(named)} == {name.partition(".")[0] for name in PHOTOS}
    bare = imported(tmp_path, folder, captions="none")
    assert {pair.caption for pair in PairReader(bare)} == {""} and bare.manifest.items.kept == len(PHOTOS)
    with pytest.raises(StageError, match="of 5 items, none were kept.*5 no_caption"):
        imported(tmp_path, folder)
    assert imported(tmp_path, folder, max_share_lost=1.0).manifest.items.failed == {"no_caption": len(PHOTOS)}


def test_a_large_tar_is_read_in_stretches_that_give_the_same_pairs(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for number in range(20):
        members |= {f"{number:03d}.jpg": picture(size=(20 + number, 20)), f"{number:03d}.txt": b"caption %d" % number}
    (tmp_path / "large.tar").write_bytes(tar_of(members))
    whole = imported(tmp_path, tmp_path / "large.tar")
    cut = imported(tmp_path, tmp_path / "large.tar", max_tar_bytes=8000)
    assert len(whole.parts) == 1 and len(cut.parts) > 3
    assert [row["sample_id"] for row in rows_of(cut)] == [row["sample_id"] for row in rows_of(whole)]
    assert cut.manifest.items == whole.manifest.items
    (tmp_path / "large.tar").write_bytes(tar_of(dict(sorted(members.items(), key=lambda item: item[0][4:]))))
    apart = imported(tmp_path, tmp_path / "large.tar", max_tar_bytes=8000)
    assert len(apart.parts) == 1 and apart.manifest.items.kept == 20


def test_a_large_tar_that_is_cut_off_is_never_silently_short(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for number in range(20):
        members |= {f"{number:03d}.jpg": picture(size=(20 + number, 20)), f"{number:03d}.txt": b"caption %d" % number}
    data = tar_of(members)
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2 + 100])
    cut = imported(tmp_path, tmp_path / "cut.tar", max_tar_bytes=8000)
    assert 5 < cut.manifest.items.kept < 15 and cut.manifest.items.failed["truncated_tar"] >= 1


def test_a_second_import_reads_nothing_and_makes_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({"0.jpg": picture(), "0.txt": b"red"}))
    first = imported(tmp_path, tmp_path / "a.tar")
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(tmp_path / "a.tar", other / "a.tar")
    second = imported(other, other / "a.tar")
    assert first.fingerprint == second.fingerprint and first.manifest.content == second.manifest.content


def test_what_cannot_be_read_is_said_before_anything_is_imported(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([b"x"]), "conversations": ["y"]}), tmp_path / "chat.parquet")
    with pytest.raises(StageError, match="no column 'caption'"):
        imported(tmp_path, tmp_path / "chat.parquet")
    (tmp_path / "urls.csv").write_text("url,caption\n")
    with pytest.raises(StageError, match="none of the 1 files is a tar"):
        imported(tmp_path, tmp_path / "urls.csv")
    with pytest.raises(StageError, match="none that form='webdataset' is read from"):
        imported(tmp_path, tmp_path / "urls.csv", form="webdataset")
