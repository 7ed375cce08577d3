"""Odd tars, tables and folders that people have already, one for each kind that is known: each ends in its reason.

The members and columns are those by which other readers were made to write outside their folder, to run code, to walk
a tar for ever, or to stop at one bad item. All of one form lie in one source, so that none of them costs the others.
"""

import datetime
import io
import json
import pickle
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.local import make
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, StageError
from stages.import_pairs import ImportPairsRecipe, import_pairs
from tests.stages.importing.conftest import picture
from tests.stages.importing.test_tar_members import tar_of

RED, BLUE = picture("red"), picture("blue")
SECRET = "secret.jpg"
"""A file beside the source that no member may lead to."""
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
UNKNOWN_ZONE = pa.array([datetime.datetime(2020, 1, 2)], pa.timestamp("us", "Mars/Olympus"))
ONE = b"x" * 16


def header(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def member(name: str, content: bytes) -> bytes:
    return header(name, size=len(content)) + content + bytes(-len(content) % 512)


def with_size(size: int, name: str = "a.jpg", kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header with any size, spelled in binary as GNU tar does, and a checksum that fits."""
    block = bytearray(header(name, kind))
    block[124:136] = (256**12 + size if size < 0 else 128 * 256**11 + size).to_bytes(12, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def with_pax(record: bytes, name: str = "a.jpg", content: bytes = b"") -> bytes:
    extended = header("PaxHeaders/a", tarfile.XHDTYPE, size=len(record))
    return extended + record + bytes(-len(record) % 512) + member(name, content)


TEXT, END = member("a.txt", b"c"), bytes(1024)
BEHIND = member("z.jpg", BLUE) + member("z.txt", b"z") + END
"""A pair behind what is odd. A header that is no header leaves nothing behind it to be found."""
KEPT = None
TARS: dict[str, tuple[bytes, list[str | None]]] = {
    "a size below zero": (with_size(-512) + BEHIND, ["damaged_tar"]),
    "a walk back to the start": (member("0.txt", b"c") + with_size(-2048, "a.bin") + BEHIND,
                                 ["image_missing", "damaged_tar"]),
    "a size beyond all files": (with_size(2**80) + BEHIND, ["damaged_tar"]),
    "a size beyond all offsets": (with_size(2**63 - 1) + BEHIND, ["damaged_tar"]),
    "an extended header below zero": (with_size(-1, kind=tarfile.XHDTYPE) + BEHIND, ["damaged_tar"]),
    "a size of 5,000 digits": (with_pax(b"5010 size=" + b"9" * 4999 + b"\n") + BEHIND, ["damaged_tar"]),
    "a record of 5,000 digits": (with_pax(b"9" * 5000 + b" size=1\n") + BEHIND, ["damaged_tar"]),
    "a record that ends in itself": (with_pax(b"0 size=1\n") + BEHIND, ["damaged_tar"]),
    "an absolute path": (member("/etc/passwd.jpg", RED) + member("/etc/passwd.txt", b"c") + BEHIND, [KEPT, KEPT]),
    "a path that leads outside": (member(f"../{SECRET}", RED) + member("../secret.txt", b"c") + BEHIND, [KEPT, KEPT]),
    "a path of Windows": (member("C:\\x.jpg", RED) + member("C:\\x.txt", b"c") + BEHIND, [KEPT, KEPT]),
    "a name of 300 letters": (tar_of({f"{'x' * 300}.jpg": RED, f"{'x' * 300}.txt": b"c"}), [KEPT]),
    "a name that is no UTF-8": (member("a\udcff.jpg", RED) + member("a\udcff.txt", b"c") + BEHIND, [KEPT, KEPT]),
    "zero bytes in a name": (with_pax(b"16 path=a\0b.jpg\n", content=RED) + BEHIND, ["no_caption", KEPT]),
    "a link to a file": (header("a.jpg", tarfile.SYMTYPE, f"../{SECRET}") + TEXT + BEHIND, ["not_a_file", KEPT]),
    "a hard link": (member("b.jpg", RED) + member("b.txt", b"c") + header("a.jpg", tarfile.LNKTYPE, "b.jpg") + TEXT
                    + END, [KEPT, "not_a_file"]),
    "a link as caption": (member("a.jpg", RED) + header("a.txt", tarfile.SYMTYPE, "/etc/passwd") + BEHIND,
                          ["not_a_file", KEPT]),
    "a character device": (header("a.jpg", tarfile.CHRTYPE) + TEXT + BEHIND, ["not_a_file", KEPT]),
    "a block device": (header("a.jpg", tarfile.BLKTYPE) + TEXT + BEHIND, ["not_a_file", KEPT]),
    "a pipe": (header("a.jpg", tarfile.FIFOTYPE) + TEXT + BEHIND, ["not_a_file", KEPT]),
    "a folder": (header("a.jpg", tarfile.DIRTYPE) + TEXT + BEHIND, ["image_missing", KEPT]),
    "a type that nobody knows": (header("a.jpg", b"Z") + TEXT + BEHIND, ["not_a_file", KEPT]),
    "the same member twice": (member("a.jpg", RED) + TEXT + member("a.jpg", RED) + TEXT + BEHIND,
                              [KEPT, "repeated_row", KEPT]),
    "two members of one name": (member("a.jpg", RED) + TEXT + member("a.jpg", BLUE) + member("a.txt", b"d") + END,
                                [KEPT, KEPT]),
    "a pickle beside a picture": (member("a.jpg", RED) + TEXT + member("a.pkl", b"cos\nsystem\n(S'x'\ntR.") + END,
                                  [KEPT]),
    "a tar in the tar": (member("a.tar", BEHIND) + BEHIND, [KEPT]),
    "a caption of 2 MB": (member("a.jpg", RED) + member("a.txt", b"c" * 2_000_000) + BEHIND,
                          ["caption_too_large", KEPT]),
    "JSON without end": (member("a.jpg", RED) + member("a.json", b"[" * 100_000) + BEHIND,
                         ["caption_unreadable", KEPT]),
    "a number of 5,000 digits": (member("a.jpg", RED) + member("a.json", b'{"caption":' + b"9" * 5000 + b"}") + BEHIND,
                                 ["caption_unreadable", KEPT]),
    "nothing": (b"", ["truncated_tar"]),
    "a ZIP named as a tar": (b"PK\3\4" + bytes(3000), ["damaged_tar"]),
    "zeros alone": (bytes(10_240), []),
}  # fmt: skip


def sparse_tars(folder: Path) -> Iterator[tuple[str, tuple[bytes, list[str | None]]]]:
    """A picture with a hole, as GNU tar writes it in each of its ways."""
    (folder / "a.jpg").write_bytes(RED)
    with (folder / "a.jpg").open("r+b") as file:
        file.truncate(1_000_000)
    (folder / "a.txt").write_text("c")
    for way in (["--format=gnu"], *(["--format=posix", f"--sparse-version={one}"] for one in ("0.0", "0.1", "1.0"))):
        command = ["tar", "-C", str(folder), "--sparse", *way, "-cf", "-", "a.jpg", "a.txt"]
        yield " ".join(way), (subprocess.run(command, check=True, capture_output=True).stdout, ["not_a_file"])


@pytest.fixture
def tars(tmp_path: Path) -> dict[str, list[str | None]]:
    """Write the tars into `tmp_path/source`; path to the reasons of its items."""
    for name in ("source", "sparse"):
        (tmp_path / name).mkdir()
    (tmp_path / SECRET).write_bytes(picture("black"))
    odd = {**TARS, **dict(sparse_tars(tmp_path / "sparse"))}
    for number, (data, _) in enumerate(odd.values()):
        (tmp_path / "source" / f"{number:02d}.tar").write_bytes(data)
    return {f"{number:02d}.tar {name}": ends for number, (name, (_, ends)) in enumerate(odd.items())}


def imported(tmp_path: Path, **fields: Any) -> RawPairs:
    step = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("odd"), max_share_lost=1, **fields))
    return make(step, tmp_path / "store", sources={"odd": str(tmp_path / "source")})


def rows_of(raw: RawPairs) -> list[list[dict[str, Any]]]:
    """The rows of each part, without columns of people's own."""
    names = ["url", "caption", "reason", "reference", "sha256"]
    read = [pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE))), columns=names) for part in raw.parts]
    return [table.to_pylist() for table in read]


def test_every_odd_member_of_a_tar_ends_in_its_reason(tmp_path: Path, tars: dict[str, list[str | None]]) -> None:
    raw = imported(tmp_path)
    ends = [[row["reason"] for row in rows] for rows in rows_of(raw)]
    wrong = {name: end for (name, right), end in zip(tars.items(), ends, strict=True) if end != right}
    assert wrong == {}
    assert {row["caption"] for rows in rows_of(raw) for row in rows if row["reason"] is None} == {"c", "d", "z"}
    for part in raw.parts:
        with tarfile.open(fileobj=io.BytesIO(raw.read(part.file(PAIRS_FILE)))) as tar:
            assert all(name.partition(".")[0].isdigit() for name in tar.getnames()), "no name of a member reaches ours"


def test_pictures_of_conversations_are_found_in_the_odd_tars_or_are_missing(
    tmp_path: Path, tars: dict[str, list[str | None]]
) -> None:
    wanted = [f"../{SECRET}", "C:\\x.jpg", "/etc/passwd.jpg", "b.jpg", "z.jpg", str(tmp_path / SECRET)]
    wanted += [f"{number:02d}/a.jpg" for number in range(len(tars))]
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "!"}]
    talks = [{"id": str(number), "image": name, "conversations": turns} for number, name in enumerate(wanted)]
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    recipe = CollectImagesRecipe(source=Source("talks"), images=Source("odd"), max_share_lost=1)
    sources = {"talks": str(tmp_path / "talks.json"), "odd": str(tmp_path / "source")}
    raw = make(collect_images.bind("pictures", recipe), tmp_path / "store", sources=sources)
    ends = {row["reference"]: row["reason"] for rows in rows_of(raw) for row in rows}
    places = {name.partition(" ")[2]: f"{number:02d}/a.jpg" for number, name in enumerate(tars)}
    assert {ends[name] for name in (wanted[0], wanted[1], wanted[2], wanted[5])} == {"path_outside"}
    assert (ends["b.jpg"], ends["z.jpg"]) == (None, "image_ambiguous")
    assert {name for name, place in places.items() if ends[place] is None} == {
        "a link as caption", "a pickle beside a picture", "a caption of 2 MB", "JSON without end",
        "a number of 5,000 digits",
    }  # fmt: skip
    assert {name for name, place in places.items() if ends[place] == "image_ambiguous"} == {
        "the same member twice", "two members of one name"
    }  # fmt: skip
    broken = [record.facts["broken"] for record in raw.phase("images") if "broken" in record.facts]
    assert len(broken) == sum("damaged_tar" in ends or "truncated_tar" in ends for ends in tars.values())


def parquet(columns: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), file)
    return file.getvalue()


class _RunsCode:
    """Creates a file where somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def pickled_type(path: Path) -> pa.Table:
    """A table with a column of the type that old releases of Arrow unpickled when they opened a file."""
    metadata = {"ARROW:extension:name": "arrow.py_extension_type"}
    metadata["ARROW:extension:metadata"] = pickle.dumps(_RunsCode(path), 0).decode("latin-1")
    own = pa.field("own", pa.string(), metadata=metadata)
    columns = {"image": pa.array([RED]), "caption": pa.array(["c"]), "own": pa.array(["x"])}
    schema = pa.schema([("image", pa.binary()), ("caption", pa.string()), own])
    return pa.table(columns, schema=schema)


VIEWS = pa.string_view()
ROW: dict[str, Any] = {"image": pa.array([RED]), "caption": ["c"], "url": ["http://a.example/1"]}
TABLES: dict[str, tuple[dict[str, Any], tuple[str | None, str | None]]] = {
    "large text": ({"caption": pa.array(["c"], pa.large_string())}, (KEPT, "c")),
    "a view of text": ({"caption": pa.array(["c"], VIEWS), "url": pa.array(["http://a.example"], VIEWS)}, (KEPT, "c")),
    "a dictionary": ({"caption": pa.array(["c"]).dictionary_encode()}, (KEPT, "c")),
    "binary text": ({"caption": [b"c"]}, (KEPT, "c")),
    "binary that is no text": ({"caption": [b"\xff"]}, ("caption_encoding", None)),
    "nothing but null": ({"caption": pa.nulls(1)}, ("no_caption", None)),
    "a view of a picture": ({"image": pa.array([RED], pa.binary_view())}, (KEPT, "c")),
    "a large picture": ({"image": pa.array([RED], pa.large_binary())}, (KEPT, "c")),
    "a path outside": ({"image": pa.array([{"bytes": None, "path": f"../{SECRET}"}], IMAGE)}, ("image_missing", "c")),
    "views in lists": ({"tags": pa.array([["a"]], pa.list_(VIEWS))}, (KEPT, "c")),
    "views in structs": ({"tags": pa.array([{"a": "b"}], pa.struct([("a", VIEWS)]))}, (KEPT, "c")),
    "an unknown zone": ({"taken": UNKNOWN_ZONE}, (KEPT, "c")),
    "a day of the year 50,000": ({"taken": pa.array([1_515_000_000_000_000], pa.timestamp("ms"))}, (KEPT, "c")),
    "a UUID": ({"own": pa.array([ONE], pa.uuid())}, (KEPT, "c")),
    "a UUID in a struct": ({"own": pa.StructArray.from_arrays([pa.array([ONE], pa.uuid())], ["u"])}, (KEPT, "c")),
    "a list of structs": ({"own": [[{"a": 1}]]}, (KEPT, "c")),
    "a map": ({"own": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))}, (KEPT, "c")),
    "an infinite number": ({"own": [float("inf")]}, (KEPT, "c")),
}  # fmt: skip


def test_every_odd_column_of_parquet_is_read_or_ends_in_its_reason(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for number, (columns, _) in enumerate(TABLES.values()):
        (tmp_path / "source" / f"{number:02d}.parquet").write_bytes(parquet({**ROW, **columns}))
    pq.write_table(pickled_type(tmp_path / "ran"), tmp_path / "source/pickled.parquet")
    rows = [row for rows in rows_of(imported(tmp_path, columns={"image": "image"})) for row in rows]
    ends = [(row["reason"], row["caption"]) for row in rows]
    expected = {**{name: end for name, (_, end) in TABLES.items()}, "a pickled type": (KEPT, "c")}
    assert dict(zip(expected, ends, strict=True)) == expected
    assert not (tmp_path / "ran").exists(), "a type of a file was unpickled"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"caption": [["c"]]}, r"00.parquet: column 'caption' is list<.*a caption must be text.*columns=\{'caption'"),
        ({"caption": [{"en": "c"}]}, r"'caption' is struct<en: string>, and a caption must be text"),
        ({"caption": UNKNOWN_ZONE}, r"'caption' is timestamp\[us, tz=Mars/Olympus\], and a caption must be text"),
        ({"caption": [7]}, "'caption' is int64, and a caption must be text"),
        ({"caption": pa.array([ONE], pa.uuid())}, "'caption' is extension<arrow.uuid>, and a caption must be text"),
        ({"image": pa.array([ONE], pa.uuid())}, r"no column with the bytes of pictures.*image \(extension<arrow.uuid>"),
        ({"image": pa.array([[RED]])}, r"no column with the bytes of pictures, one to a row.*image \(list<"),
    ],
)
def test_a_column_that_holds_something_else_is_refused_before_anything_is_read(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/00.parquet").write_bytes(parquet({**ROW, **columns}))
    with pytest.raises(StageError, match=message):
        imported(tmp_path)


def test_a_url_column_that_is_named_and_holds_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/00.parquet").write_bytes(parquet({**ROW, "url": [["http://a.example/1"]]}))
    with pytest.raises(StageError, match="column 'url' is list<.*a url must be text"):
        imported(tmp_path, columns={"url": "url"})
    with pytest.raises(StageError, match="has no column 'link', which `columns` names for 'url'"):
        imported(tmp_path, columns={"url": "link"})
    assert rows_of(imported(tmp_path))[0][0]["url"] == "odd:00.parquet#0", "no URL, where none was named"


SHARD: dict[str, Any] = {
    "url": ["http://a.example/1"], "key": ["000000000"], "status": ["success"],
    "error_message": pa.nulls(1, pa.string()), "caption": ["c"],
}  # fmt: skip


def shard(folder: Path, stats: bytes = b'{"count": 1}', **columns: Any) -> None:
    """A shard of img2dataset with one picture, and odd columns or statistics."""
    folder.mkdir(exist_ok=True)
    (folder / "00000.parquet").write_bytes(parquet({**SHARD, **columns}))
    (folder / "00000_stats.json").write_bytes(stats)
    (folder / "00000.tar").write_bytes(tar_of({"000000000.jpg": RED, "000000000.txt": b"c"}))


@pytest.mark.parametrize(
    ("stats", "columns", "message"),
    [
        (b'{"count": 1000000000000}', {}, "00000_stats.json counts 1,000,000,000,000 rows.*leave the file out"),
        (b'{"count": 1}', {"key": [0]}, "column 'key' of the table 00000.parquet is int64; it must be text"),
        (b'{"count": 1}', {"caption": [["c"]]}, "column 'caption' of the table 00000.parquet is list<"),
    ],
)
def test_a_shard_of_img2dataset_that_is_none_is_refused_in_words(
    tmp_path: Path, stats: bytes, columns: dict[str, Any], message: str
) -> None:
    shard(tmp_path / "source", stats, **columns)
    with pytest.raises(StageError, match=message):
        imported(tmp_path)


def test_a_shard_of_img2dataset_with_odd_columns_is_read(tmp_path: Path) -> None:
    own = {"url": pa.array(["http://a.example/1"], VIEWS), "taken": UNKNOWN_ZONE, "own": pa.array([ONE], pa.uuid())}
    shard(tmp_path / "source", b'{"count": NaN}', **own)
    ((row,),) = rows_of(imported(tmp_path))
    assert (row["reason"], row["url"]) == (None, "http://a.example/1")


def test_names_of_a_folders_table_that_lead_outside_are_never_opened(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.jpg").write_bytes(RED)
    (tmp_path / SECRET).write_bytes(picture("black"))
    names = ["a.jpg", f"../{SECRET}", str(tmp_path / SECRET), "C:\\a.jpg", "a.jpg\0.txt", "x" * 5000 + ".jpg"]
    table = {"file_name": names, "text": ["c"] * 6, "taken": pa.concat_arrays([UNKNOWN_ZONE] * 6)}
    (source / "metadata.parquet").write_bytes(parquet(table))
    ends = {row["reference"]: row["reason"] for rows in rows_of(imported(tmp_path)) for row in rows}
    missing = dict.fromkeys(["a.jpg\0.txt", "x" * 5000 + ".jpg"], "image_missing")
    outside = dict.fromkeys([f"../{SECRET}", str(tmp_path / SECRET), "C:/a.jpg"], "path_outside")
    assert ends == {"a.jpg": None, **outside, **missing}


def test_a_zip_is_no_source_and_is_never_passed_over(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with zipfile.ZipFile(tmp_path / "source/images.zip", "w") as packed:
        packed.writestr(f"../{SECRET}", RED)
    with pytest.raises(StageError, match=r"images.zip.*unpack"):
        imported(tmp_path)
    (tmp_path / "source/a.jpg").write_bytes(RED)
    (tmp_path / "source/a.txt").write_text("c")
    with pytest.raises(StageError, match=r"images.zip.*unpack"):
        imported(tmp_path)
    assert imported(tmp_path, form="folder").manifest.items.kept == 1, "but where the form says what is meant"
    (tmp_path / "talks.json").write_text("[]")
    recipe = CollectImagesRecipe(source=Source("talks"), images=Source("zips"))
    (tmp_path / "source/a.jpg").unlink()
    talk = {"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>"}]}
    (tmp_path / "talks.json").write_text(json.dumps([talk]))
    sources = {"talks": str(tmp_path / "talks.json"), "zips": str(tmp_path / "source/images.zip")}
    with pytest.raises(StageError, match=r"images.zip.*unpack"):
        make(collect_images.bind("pictures", recipe), tmp_path / "store", sources=sources)
