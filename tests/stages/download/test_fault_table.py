"""Bad rows of a URL table, one for each kind that is known, through the whole stage: each ends in exactly its reason.

The server is hostile and real. What needs a name server or a certificate of its own is in `http/test_resolver.py`,
`test_fetching.py` and `test_address.py`; tars and tables that people have already, in `../importing/`.
"""

import datetime
import gzip
import hashlib
import io
import socket
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cluster.local import make
from stages.artifacts.kinds import SAMPLES_FILE, RawPairs
from stages.contract import Source, StageError
from stages.download.reasons import Reason
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.retry_pairs import RetryPairsRecipe, retry_pairs
from tests.stages.download.conftest import HostileWeb, Script, answer, encoded

PHOTO = encoded(Image.effect_noise((96, 64), 60).convert("RGB"), quality=90)
MAX_IMAGE_BYTES = 300_000
Said: TypeAlias = str | bytes | Script
"""A URL as it stands in the table, or what the server says or does."""


def moved(location: str) -> bytes:
    return answer(b"", f"Location: {location}", status="302 Found")


def drip(connection: socket.socket, web: HostileWeb) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not web.closing.wait(0.1):
        connection.sendall(b"x")


def drip_head(connection: socket.socket, web: HostileWeb) -> None:
    while not web.closing.wait(0.1):
        connection.sendall(b"H")


def flood(connection: socket.socket, web: HostileWeb) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not web.closing.is_set():
        connection.sendall(bytes(65_536))


def flood_chunks(connection: socket.socket, web: HostileWeb) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not web.closing.is_set():
        connection.sendall(b"1\r\nx\r\n" * 8192)


def vanish(connection: socket.socket, _: HostileWeb) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def blank_png(width_px: int, height_px: int) -> bytes:
    """A PNG of one grey, which has few bytes however large it is."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    lines = b"".join(packer.compress(bytes(width_px + 1)) for _ in range(height_px)) + packer.flush()
    head = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def with_zip(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.txt", "hidden")
    return data + packed.getvalue()


def with_scans(num_scans: int) -> bytes:
    """A progressive JPEG whose last scan stands there `num_scans` times."""
    data = encoded(Image.effect_noise((48, 48), 60).convert("L"), progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * num_scans + b"\xff\xd9"


BOMB = gzip.compress(bytes(20_000_000))
ANIMATION = encoded(Image.new("L", (64, 64)), "GIF", save_all=True, append_images=[Image.new("L", (64, 64), 255)])
ANIMATED_WEBP = encoded(
    Image.new("RGB", (64, 64)), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64), 9)]
)
ADDRESSES = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1")
ADDRESSES += ("[::1]", "[fe80::1]", "[fc00::1]", "[::ffff:10.0.0.1]", "[2002:a00:1::]", "[64:ff9b::a00:1]", "localhost")
ADDRESSES += ("167772161", "0xa.0.0.1", "012.0.0.1", "10.1")
FAULTS: dict[str, tuple[Said, Reason | None]] = {
    **{f"a private address: {host}": (f"http://{host}/", Reason.URL_FORBIDDEN_ADDRESS) for host in ADDRESSES},
    **{
        f"a redirect to {where}": (moved(where), Reason.REDIRECT_FORBIDDEN)
        for where in ("http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "http://localhost/",
                      "file:///etc/passwd", "ftp://a/", "javascript:x", "http://user:secret@example.org/")
    },
    "a redirect to itself": (moved(""), Reason.REDIRECT_LOOP),
    "a redirect in a circle": (moved("?"), Reason.REDIRECT_LOOP),
    **{
        f"the scheme of {url}": (url, Reason.URL_SCHEME)
        for url in ("file:///etc/passwd", "ftp://a/b", "data:image/png;base64,AA", "gopher://a", "jar:http://a!/b",
                    "example.org/a.jpg", "javascript:alert(1)", "")
    },
    **{
        f"a malformed URL: {url[:40]!r}": (url, Reason.URL_MALFORMED)
        for url in ("http://user:secret@example.org/", "http://example.org/\x01a", "http://example.org/a\r\nHost: b",
                    "http://example.org/" + "a" * 8192, "http://exa mple.org/", "http://[::1/")
    },
    "an endless body": (flood, Reason.TOO_LARGE),
    "chunks without end": (flood_chunks, Reason.TOO_LARGE),
    "a body that drips": (drip, Reason.TIMEOUT),
    "a head that drips": (drip_head, Reason.TIMEOUT),
    "a connection that breaks": (vanish, Reason.CONNECT_ERROR),
    "more announced than sent": (answer(PHOTO, length=len(PHOTO) + 1), Reason.CUT_SHORT),
    "less announced than sent": (answer(PHOTO, length=len(PHOTO) - 200), Reason.TRUNCATED),
    "more announced than allowed": (answer(b"", length=MAX_IMAGE_BYTES + 1), Reason.TOO_LARGE),
    "a gzip bomb": (answer(BOMB, "Content-Encoding: gzip"), Reason.TOO_LARGE),
    "a gzip bomb in gzip": (answer(gzip.compress(BOMB), "Content-Encoding: gzip, gzip"), Reason.TOO_LARGE),
    "brotli that nobody asked for": (answer(b"\x8b\x07\x80a", "Content-Encoding: br"), Reason.BAD_ENCODING),
    "no HTTP at all": (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.BAD_RESPONSE),
    **{
        f"the status {status}": (answer(b"", status=f"{status} X"), reason)
        for status, reason in {
            404: Reason.NOT_FOUND, 410: Reason.NOT_FOUND, 401: Reason.REFUSED, 403: Reason.REFUSED, 451: Reason.REFUSED,
            429: Reason.RATE_LIMITED, 500: Reason.SERVER_ERROR, 503: Reason.SERVER_ERROR, 304: Reason.HTTP_STATUS,
        }.items()
    },
    "a page as a picture": (answer(b"<!doctype html><p>Sign in", "Content-Type: image/jpeg"), Reason.NOT_IMAGE),
    "an empty success": (answer(b"", "Content-Type: image/jpeg"), Reason.EMPTY_BODY),
    **{
        f"the opt-out {word}": (answer(PHOTO, f"X-Robots-Tag: {word}"), Reason.OPT_OUT)
        for word in ("noai", "noimageai", "noindex", "otherbot: all, neo-pipelines: noai")
    },
    "data mining reserved": (answer(PHOTO, "tdm-reservation: 1"), Reason.TDM_RESERVED),
    "training refused": (answer(PHOTO, "Content-Usage: train-ai=n"), Reason.TRAINING_REFUSED),
    "a PNG of 30,000 x 30,000 px": (answer(blank_png(30_000, 30_000)[:200_000]), Reason.TOO_MANY_PIXELS),
    "a PNG of 12,000 x 10,000 px": (answer(blank_png(12_000, 10_000)), Reason.TOO_MANY_PIXELS),
    "a side of 70,000 px": (answer(blank_png(70_000, 1)), Reason.SIDE_TOO_LONG),
    "a strip of 20,000 x 1 px": (answer(blank_png(20_000, 1)), None),
    "one pixel": (answer(blank_png(1, 1)), None),
    "half a JPEG": (answer(PHOTO[: len(PHOTO) // 2]), Reason.TRUNCATED),
    "half a PNG": (answer(encoded(Image.effect_noise((64, 64), 60), "PNG")[:-900]), Reason.TRUNCATED),
    "an animated GIF": (answer(ANIMATION), Reason.ANIMATED),
    "an animated WebP": (answer(ANIMATED_WEBP), Reason.ANIMATED),
    "a JPEG in CMYK": (answer(encoded(Image.new("CMYK", (40, 40)))), None),
    "a PNG of 16 bits": (answer(encoded(Image.new("I;16", (40, 40)), "PNG")), None),
    "a JPEG that is a ZIP as well": (answer(with_zip(PHOTO)), None),
    "a JPEG named as text": (answer(PHOTO, "Content-Type: text/plain"), None),
    "600 scans": (answer(with_scans(600)), Reason.UNDECODABLE),
    **{
        f"a format that is never decoded: {data[:12]!r}": (answer(data), reason)
        for data, reason in {
            b"<?xml version='1.0'?>\n<svg xmlns=''></svg>": Reason.UNSUPPORTED_FORMAT,
            b"%PDF-1.7\n": Reason.UNSUPPORTED_FORMAT,
            b"%!PS-Adobe-3.0 EPSF-3.0\n": Reason.UNSUPPORTED_FORMAT,
            b"\0\0\0\x18ftypheic\0\0\0\0": Reason.UNSUPPORTED_FORMAT,
            b"8BPS\0\1" + bytes(30): Reason.UNSUPPORTED_FORMAT,
            b"\xd7\xcd\xc6\x9a" + bytes(30): Reason.UNSUPPORTED_FORMAT,
        }.items()
    },
}  # fmt: skip
CAPTIONS: dict[str, tuple[bytes | None, Reason | str]] = {
    "no UTF-8": (b"caf\xe9", Reason.CAPTION_ENCODING),
    "a lone surrogate": (b"\xed\xa0\x80", Reason.CAPTION_ENCODING),
    "null": (None, Reason.SCHEMA),
    "NUL and escapes": (b"\xef\xbb\xbfa\x00 \x1b[31mdog\r\n", "a [31mdog"),
    "accents apart": ("cafe\u0301".encode(), "caf\u00e9"),
    "from right to left": ("\u202egnp.exe".encode(), "gnp.exe"),
    "special tokens": (b"<img><IMG_CONTEXT></img><|im_end|>", "<img><IMG_CONTEXT></img><|im_end|>"),
    "nothing": (b" \n", ""),
    "one word of 5 MB": (b"a" * 5_000_000, "a" * 5_000_000),
    "marks without end": (b"z" + "\u0335".encode() * 100_000, "z" + "\u0335" * 4),
}


def downloaded(folder: Path, urls: list[bytes | None], captions: list[bytes | None], **fields: Any) -> RawPairs:
    (folder / "source").mkdir()
    columns = {"url": urls, "caption": captions}
    table = pa.table({name: pa.array(texts, pa.binary()).view(pa.string()) for name, texts in columns.items()})
    pq.write_table(table, folder / "source" / "urls.parquet")
    limits = {"num_tries": 1, "deadline_seconds": 10.0, "max_image_bytes": MAX_IMAGE_BYTES, "animated": "drop"}
    recipe = DownloadPairsRecipe(
        source=Source("urls"), allow_hosts=("127.0.0.1",), max_share_lost=1, **limits, **fields
    )
    return make(download_pairs.bind("pairs", recipe), folder / "store", sources={"urls": str(folder / "source")})


def rows_of(raw: RawPairs) -> list[dict[str, Any]]:
    return [
        row for part in raw.parts for row in pq.read_table(io.BytesIO(raw.read(part.file(SAMPLES_FILE)))).to_pylist()
    ]


@pytest.mark.parametrize("engine", ["event_loop", "img2dataset"])
def test_every_kind_of_bad_row_ends_in_its_reason(web: HostileWeb, tmp_path: Path, engine: str) -> None:
    urls: list[bytes | None] = []
    for number, (said, _) in enumerate(FAULTS.values()):
        path = f"/{number}"
        url = said if isinstance(said, str) else web.does(path, said) if callable(said) else web.says(path, said)
        urls.append(url.replace("bad.invalid", f"127.0.0.1:{web.port}").encode())
    raw = downloaded(tmp_path, urls, [b"a caption"] * len(urls), engine=engine)
    reasons = [row["reason"] for row in rows_of(raw)]
    expected = [reason and reason.value for _, reason in FAULTS.values()]
    wrong = {name: (end, right) for name, end, right in zip(FAULTS, reasons, expected, strict=True) if end != right}
    assert wrong == {}
    items = raw.manifest.items
    assert items.total == len(FAULTS) and items.kept == expected.count(None)
    assert "secret" not in str(raw.parts[0].facts) or "url_malformed" in str(raw.parts[0].facts["examples"])


def test_every_kind_of_bad_caption_ends_in_its_reason_or_clean(web: HostileWeb, tmp_path: Path) -> None:
    url = web.says("/photo", answer(PHOTO)).replace("bad.invalid", f"127.0.0.1:{web.port}").encode()
    raw = downloaded(tmp_path, [url] * len(CAPTIONS), [caption for caption, _ in CAPTIONS.values()])
    rows = rows_of(raw)
    ends = [row["caption"] if row["reason"] is None else Reason(row["reason"]) for row in rows]
    assert dict(zip(CAPTIONS, ends, strict=True)) == {name: end for name, (_, end) in CAPTIONS.items()}
    assert web.asked["/photo"] == 1
    assert [pair.caption for pair in PairReader(raw)] == [end for end in ends if not isinstance(end, Reason)]


@pytest.mark.parametrize("captions", [[["a", "b"]], [{"en": "a"}], [b"\xff"]])
def test_captions_that_are_no_text_are_refused_before_anything_is_asked(
    web: HostileWeb, tmp_path: Path, captions: list[Any]
) -> None:
    web.says("/photo", answer(PHOTO))
    (tmp_path / "source").mkdir()
    table = pa.table({"url": [f"http://127.0.0.1:{web.port}/photo"], "caption": captions})
    pq.write_table(table, tmp_path / "source" / "urls.parquet")
    step = download_pairs.bind("pairs", DownloadPairsRecipe(source=Source("urls"), allow_hosts=("127.0.0.1",)))
    with pytest.raises(StageError, match="caption"):
        make(step, tmp_path / "store", sources={"urls": str(tmp_path / "source")})
    assert not web.asked


PNG = encoded(Image.effect_noise((64, 48), 60).convert("RGB"), "PNG")
ZEROS = "0" * 32
HASHES: dict[str, tuple[bytes, bytes | None, Reason | None]] = {
    "md5": (PHOTO, hashlib.md5(PHOTO).hexdigest().encode(), None),
    "sha1": (PHOTO, hashlib.sha1(PHOTO).hexdigest().encode(), None),
    "sha256 in capitals, with blanks": (PHOTO, f" {hashlib.sha256(PHOTO).hexdigest().upper()} ".encode(), None),
    "sha512": (PHOTO, hashlib.sha512(PHOTO).hexdigest().encode(), None),
    "of what was sent, which is re-encoded": (PNG, hashlib.sha256(PNG).hexdigest().encode(), None),
    "another md5": (PHOTO, ZEROS.encode(), Reason.HASH_MISMATCH),
    "of a page in the picture's place": (b"<html>gone", hashlib.md5(PHOTO).hexdigest().encode(), Reason.HASH_MISMATCH),
    "31 digits": (PHOTO, ZEROS[1:].encode(), Reason.HASH_UNREADABLE),
    "letters that are no digits": (PHOTO, b"g" * 32, Reason.HASH_UNREADABLE),
    "base64": (PHOTO, b"d41d8cd98f00b204e9800998ecf8427e=="[:24], Reason.HASH_UNREADABLE),
    "bytes that are no text": (PHOTO, b"\xff" * 32, Reason.HASH_UNREADABLE),
    "empty": (PHOTO, b"", Reason.HASH_UNREADABLE),
    "null": (PHOTO, None, Reason.HASH_UNREADABLE),
}


def verified(folder: Path, web: HostileWeb) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields and sources of a download that verifies the hashes above; the last two rows share their URL."""
    urls = [web.says(f"/{number}", answer(body)) for number, (body, _, _) in enumerate(HASHES.values())]
    urls = [url.replace("bad.invalid", f"127.0.0.1:{web.port}") for url in [*urls, urls[0], urls[0]]]
    digests = [digest for _, digest, _ in HASHES.values()]
    digests += [hashlib.sha256(PHOTO).hexdigest().encode(), ZEROS.encode()]
    hashes = pa.array(digests, pa.binary()).view(pa.string())
    captions = [str(number) for number in range(len(urls))]
    pq.write_table(pa.table({"url": urls, "caption": captions, "md5": hashes}), folder / "urls.parquet")
    fetch = {"source": Source("urls"), "allow_hosts": ("127.0.0.1",), "num_tries": 1, "verify_hash": "md5"}
    return {**fetch, "max_share_lost": 1}, {"urls": str(folder / "urls.parquet")}


def test_every_hash_of_a_table_is_that_of_the_bytes_sent_or_ends_in_its_reason(web: HostileWeb, tmp_path: Path) -> None:
    fields, sources = verified(tmp_path, web)
    step = download_pairs.bind("pairs", DownloadPairsRecipe(**fields))
    raw = make(step, tmp_path / "store", sources=sources)
    (part,) = raw.parts
    reasons = read_table(raw.read(part.file(SAMPLES_FILE)), ["reason"])["reason"].to_pylist()
    expected = [*(reason for _, _, reason in HASHES.values()), None, Reason.HASH_MISMATCH]
    wrong = {name: (end, right) for name, end, right in zip([*HASHES, "a", "b"], reasons, expected, strict=True)
             if end != right}  # fmt: skip
    assert wrong == {}
    never = [number for number, end in enumerate(expected) if end is Reason.HASH_UNREADABLE]
    assert [web.asked[f"/{number}"] for number in never] == [0] * len(never)
    assert web.asked["/0"] == 1, "rows of one URL share its bytes, whatever they expect of them"

    web.says("/6", answer(PHOTO))
    again = retry_pairs.bind("again", RetryPairsRecipe(**fields, reasons=("hash_mismatch",)), step)
    retried = make(again, tmp_path / "store", sources=sources)
    assert retried.head.items.failed == {Reason.HASH_MISMATCH: 2, Reason.HASH_UNREADABLE: len(never)}
    assert retried.head.items.kept == raw.head.items.kept + 1
    other = retry_pairs.bind("again", RetryPairsRecipe(**{**fields, "verify_hash": None}), step)
    with pytest.raises(StageError, match="downloaded with verify_hash = 'md5', and the retry has None; name the same"):
        make(other, tmp_path / "store", sources=sources)


def test_hashes_that_a_table_does_not_have_are_refused_before_anything_is_asked(
    web: HostileWeb, tmp_path: Path
) -> None:
    fields, sources = verified(tmp_path, web)
    wrong = DownloadPairsRecipe(**{**fields, "verify_hash": "sha256"})
    with pytest.raises(StageError, match="'sha256', which urls.parquet does not have; it has 'url', 'caption', 'md5'"):
        make(download_pairs.bind("pairs", wrong), tmp_path / "store", sources=sources)
    assert not web.asked


UNKNOWN_ZONE = pa.array([datetime.datetime(2020, 1, 2)], pa.timestamp("us", "Mars/Olympus"))
FAR_DAY = pa.array([1_515_000_000_000_000], pa.timestamp("ms"))
UUIDS = pa.array([b"\xff" * 16], pa.uuid())
COLUMNS: dict[str, tuple[dict[str, Any], tuple[Reason | None, str | None]]] = {
    "large text": ({"caption": pa.array(["c"], pa.large_string())}, (None, "c")),
    "a view of text": ({"caption": pa.array(["c"], pa.string_view())}, (None, "c")),
    "a dictionary": ({"caption": pa.array(["c"]).dictionary_encode()}, (None, "c")),
    "binary text": ({"caption": [b"c"]}, (None, "c")),
    "binary that is no text": ({"caption": [b"\xff"]}, (Reason.CAPTION_ENCODING, None)),
    "JSON": ({"caption": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["[1]"]))}, (None, "[1]")),
    "a day": ({"caption": [datetime.date(2020, 1, 2)]}, (None, "2020-01-02")),
    "a time in an unknown zone": ({"caption": UNKNOWN_ZONE}, (None, "2020-01-02 00:00:00.000000")),
    "a day of the year 50,000": ({"caption": FAR_DAY}, (Reason.SCHEMA, None)),
    "a number": ({"caption": [1.5]}, (None, "1.5")),
    "no number": ({"caption": [float("nan")]}, (None, "nan")),
    "nothing but null": ({"caption": pa.nulls(1)}, (Reason.SCHEMA, None)),
    "a day as URL": ({"url": [datetime.date(2020, 1, 2)]}, (Reason.URL_SCHEME, "c")),
    "carried: a time in an unknown zone": ({"own": UNKNOWN_ZONE}, (None, "c")),
    "carried: a day of the year 50,000": ({"own": FAR_DAY}, (None, "c")),
    "carried: a UUID": ({"own": UUIDS}, (None, "c")),
    "carried: a UUID in a struct": ({"own": pa.StructArray.from_arrays([UUIDS], ["u"])}, (None, "c")),
    "carried: views in a list": ({"own": pa.array([["a"]], pa.list_(pa.string_view()))}, (None, "c")),
    "carried: a list of structs": ({"own": [[{"a": 1}]]}, (None, "c")),
    "carried: infinity": ({"own": [float("inf")]}, (None, "c")),
}  # fmt: skip


def test_every_odd_column_of_a_table_is_read_or_ends_in_its_reason(web: HostileWeb, tmp_path: Path) -> None:
    url = web.says("/photo", answer(PHOTO)).replace("bad.invalid", f"127.0.0.1:{web.port}")
    recipe = DownloadPairsRecipe(source=Source("urls"), allow_hosts=("127.0.0.1",), max_share_lost=1)
    ends = {}
    for number, (name, (columns, _)) in enumerate(COLUMNS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        pq.write_table(pa.table({"url": [url], "caption": ["c"], **columns}), folder / "urls.parquet")
        raw = make(download_pairs.bind("pairs", recipe), folder / "store", sources={"urls": str(folder)})
        (part,) = raw.parts
        ((row),) = read_table(raw.read(part.file(SAMPLES_FILE)), ["reason", "caption"]).to_pylist()
        ends[name] = (row["reason"], row["caption"])
    assert ends == {name: end for name, (_, end) in COLUMNS.items()}


@pytest.mark.parametrize("name", ["url", "caption"])
@pytest.mark.parametrize(
    ("column", "kind"),
    [([["x"]], "list<"), ([{"a": "x"}], "struct<"), (UUIDS, "extension<arrow.uuid>"),
     (pa.array([b"x" * 4], pa.binary(4)), r"fixed_size_binary\[4\]")],
)  # fmt: skip
def test_a_column_that_cannot_be_text_is_refused_before_anything_is_asked(
    tmp_path: Path, name: str, column: Any, kind: str
) -> None:
    table = {"url": ["http://a.example/1"], "caption": ["c"], name: column}
    pq.write_table(pa.table(table), tmp_path / "urls.parquet")
    step = download_pairs.bind("pairs", DownloadPairsRecipe(source=Source("urls")))
    with pytest.raises(StageError, match=f"'{name}' of urls.parquet is {kind}.*must be text; write it as text, or"):
        make(step, tmp_path / "store", sources={"urls": str(tmp_path / "urls.parquet")})
