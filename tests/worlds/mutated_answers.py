"""Answers of web servers and mutations of them: any number, the same for the same number.

A mutation changes status lines, headers, lengths, chunks, codings and redirects, or single bytes, and how the bytes
come: at once, in pieces, drop by drop, cut off, followed by silence or by the end of the connection.
"""

import gzip
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from PIL import Image

from tests.stages.download.conftest import encoded

CAP_BYTES = 100_000
"""Largest body that the tests allow."""
NUMBERS = (b"0", b"-1", b"+7", b"1e3", b"0x10", b"7 7", b"7, 7", b"7,8", b"", b"9" * 400, b"00000000007", b"\xb2")
STATUSES = (100, 101, 103, 199, 200, 201, 204, 205, 206, 226, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403)
STATUSES += (404, 407, 408, 410, 418, 425, 429, 451, 500, 502, 503, 504, 599, 600, 999)
STATUS_LINES = (
    b"HTTP/1.1 %d",
    b"HTTP/1.0 %d OK",
    b"HTTP/2 %d",
    b"HTTP/9.9  %d X",
    b"http/1.1 %d x",
    b"HTTP/1.1 %d0 OK",
)
STATUS_LINES += (
    b"HTTP/1.1\t%d\tOK",
    b"ICY %d OK",
    b"HTTP/1.1 OK %d",
    b"%d",
    b"\x00HTTP/1.1 %d OK",
    b"HTTP/1.1 %d \xff",
)
LOCATIONS = (
    b"/photo",
    b"photo",
    b"//fuzz.invalid/photo",
    b"",
    b" ",
    b"#",
    b"?",
    b"/gone",
    b"http://127.0.0.1/",
    b"http://[::1]/",
)
LOCATIONS += (b"file:///etc/passwd", b"javascript:x", b"http://user:word@fuzz.invalid/photo", b"http://fuzz.invalid:0/")
LOCATIONS += (
    b"http://fuzz.invalid:99999/",
    b"http://169.254.169.254/",
    b"http://0x7f000001/",
    b"http://[fuzz",
    b"/" + b"a" * 9000,
)
LOCATIONS += (
    b"https://fuzz.invalid/photo",
    b"http://xn--a.invalid/",
    b"\xff\xfe",
    b"/photo\x00",
    b"http:photo",
    b"../../photo",
    b"/self",
)
HEADERS = (
    b"Connection: close",
    b"Connection: keep-alive",
    b"Content-Type: text/html",
    b"Server : x",
    b": y",
    b"no colon",
    b" folded",
)
HEADERS += (
    b"X: " + b"y" * 5000,
    b"\x01\x02: z",
    b"X-Robots-Tag: noai",
    b"tdm-reservation: 1",
    b"Content-Usage: train-ai=n",
)
HEADERS += (
    b"X-Robots-Tag: \xff",
    b"Content-Usage: =;,=",
    b"Retry-After: 99999999999",
    b"Retry-After: -1",
    b"Upgrade: h2c",
)
CODINGS = (
    b"gzip",
    b"x-gzip",
    b"deflate",
    b"br",
    b"zstd",
    b"identity",
    b"gzip, gzip",
    b"gzip,deflate",
    b",",
    b"GZIP",
    b"none",
    b"\xff",
)
TRANSFERS = (
    b"chunked",
    b"CHUNKED",
    b"gzip, chunked",
    b"chunked, chunked",
    b"identity",
    b"",
    b"chunked\x00",
    b" chunked ",
)


class Ending(Enum):
    """What follows the last byte."""

    CLOSE = auto()
    """The end of the connection."""
    RESET = auto()
    """A connection that breaks."""
    KEEP = auto()
    """The next request is waited for."""
    SILENCE = auto()
    """Nothing, for ever."""
    DRIP = auto()
    """A byte now and then, for ever."""
    FLOOD = auto()
    """The same 64 KiB, for ever."""


@dataclass(frozen=True)
class Answer:
    """What a server does with one request."""

    data: bytes
    """The bytes of the answer."""
    num_pieces: int
    """Writes in which they are sent."""
    ending: Ending


@cache
def photo() -> bytes:
    """The picture that is sent."""
    return encoded(Image.effect_noise((64, 48), 60).convert("RGB"), quality=80)


@cache
def _bodies() -> tuple[bytes, ...]:
    """Bodies and their codings: pictures, packed ones, bombs, pages."""
    packed = gzip.compress(photo(), mtime=0)
    bomb = gzip.compress(bytes(20_000_000), mtime=0)
    raw = zlib.compressobj(wbits=-15)
    return (
        *(photo(),) * 4,
        packed,
        zlib.compress(photo()),
        raw.compress(photo()) + raw.flush(),
        packed + packed,
        packed[:-6],
        bomb,
        gzip.compress(bomb, mtime=0),
        b"",
        b"<!doctype html>",
        photo()[:700],
        bytes(CAP_BYTES + 1),
    )


def mutated_answer(number: int) -> Answer:
    """Mutation `number`."""
    draw = random.Random(number)
    status = draw.choice(STATUSES) if draw.random() < 0.3 else 200
    line = draw.choice(STATUS_LINES) % status if draw.random() < 0.15 else b"HTTP/1.1 %d OK" % status
    body = draw.choice(_bodies())
    headers = [draw.choice(HEADERS) for _ in range(draw.choice((0, 0, 1, 2, 3)))]
    if 300 <= status < 400 or draw.random() < 0.05:
        headers += [b"Location: " + draw.choice(LOCATIONS)] * draw.choice((1, 1, 1, 2, 0))
    if body[:2] == b"\x1f\x8b" or draw.random() < 0.2:
        headers.append(b"Content-Encoding: " + draw.choice(CODINGS))
    if draw.random() < 0.3:
        headers.append(b"Transfer-Encoding: " + (draw.choice(TRANSFERS) if draw.random() < 0.3 else b"chunked"))
        body = _in_chunks(draw, body)
    if draw.random() < 0.8:
        length = (
            draw.choice(NUMBERS) if draw.random() < 0.2 else b"%d" % max(0, len(body) + draw.choice((0,) * 9 + (-5, 5)))
        )
        headers.append(b"Content-Length: " + length)
    draw.shuffle(headers)
    end = draw.choice((b"\r\n",) * 12 + (b"\n", b"\r", b"\r\r\n"))
    before = draw.choice(
        (b"",) * 12 + (b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * draw.choice((1, 3, 9000)), b"\n" * 300_000)
    )
    data = bytearray(before + end.join([line, *headers, b"", b""]) + body)
    for _ in range(draw.choice((0, 0, 0, 0, 0, 0, 1, 2, 5))):
        _change(draw, data)
    endings = [Ending.CLOSE] * 18 + [Ending.KEEP] * 6 + [Ending.RESET] * 2 + [Ending.SILENCE, Ending.DRIP, Ending.FLOOD]
    return Answer(bytes(data), draw.choice((1, 1, 1, 2, 7)), draw.choice(endings))


def _in_chunks(draw: random.Random, body: bytes) -> bytes:
    """A chunked body, whole or with a fault."""
    size = draw.choice((700, 1, 4096, len(body) or 1))
    pieces = [body[start : start + size] for start in range(0, len(body), size)][:20_000]
    form = draw.choice(
        (b"%x",) * 8 + (b"%X", b"%x;a=b", b"0%x", b"0x%x", b"-%x", b" %x ", b"%xg", b"fffffffffffffff%x")
    )
    line_end = draw.choice((b"\r\n",) * 8 + (b"\n", b"", b"x\r\n"))
    end = draw.choice(
        (b"0\r\n\r\n",) * 8
        + (b"", b"0\r\n", b"00000\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"1\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n")
    )
    return b"".join(form % len(piece) + line_end + piece + line_end for piece in pieces) + end


def _change(draw: random.Random, data: bytearray) -> None:
    """Change, remove, repeat or insert bytes, in the head more often than behind it."""
    place = draw.randrange(min(len(data), 300) if draw.random() < 0.8 else len(data)) if data else 0
    changes: tuple[Callable[[], object], ...] = (
        lambda: data.__setitem__(slice(place, place + 1), draw.randbytes(1)),
        lambda: data.__delitem__(slice(place, place + draw.randint(1, 30))),
        lambda: data.__setitem__(slice(place, place), bytes(data[place : place + 60]) * draw.randint(1, 5)),
        lambda: data.__setitem__(
            slice(place, place), draw.choice((b"\r\n", b"\n", b"\x00", b":", b" ", b"\r\n\r\n", b"\xff"))
        ),
        lambda: data.__delitem__(slice(place, None)),
    )
    draw.choice(changes)()
