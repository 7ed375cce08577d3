"""The response of the toy web to each path: mostly pictures and films, and the faults of the real web.

A response is a pure function of the path, which holds the seed. Opens no socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stages.toy_world import draw
from stages.toy_world.addresses import Address, FilmAddress, address_of, film_address_of, room_address_of
from stages.toy_world.comparisons.room_drawing import room_jpeg
from stages.toy_world.comparisons.room_scene import room_scene
from stages.toy_world.films.film_drawing import film
from stages.toy_world.films.film_faults import FilmOddity, film_oddity
from stages.toy_world.films.film_files import film_bytes
from stages.toy_world.films.film_scene import film_scene
from stages.toy_world.oddities import Oddity, oddity, original_number
from stages.toy_world.random_streams import generator
from stages.toy_world.scene import Scene, scene

REDIRECT_STATUSES = (301, 302, 307, 308)
FORBIDDEN_URLS = (
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/hostname",
    "http://[::1]/admin",
    "http://10.0.0.1/router.jpg",
)
STALL_SECONDS = 60.0
SECONDS_PER_DRIPPED_BYTE = 0.25
ENDLESS_PIECE = bytes(1 << 20)
NUM_ENDLESS_PIECES = 4096
SIGN_IN_PAGE = b"<!doctype html><title>Sign in</title><p>This picture is for members.</p>\n"


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """One HTTP response and the pace at which it is sent."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "image/jpeg"),)
    body: bytes = b""
    delay_seconds: float = 0.0
    """Pause before the first byte."""
    seconds_per_byte: float = 0.0
    """Pause before each byte of the body."""
    num_bodies: int = 1
    """How many times the body is sent, end to end."""


FILM_HEADERS = (("Content-Type", "video/mp4"),)
NOT_FOUND = ScriptedResponse(status=404, headers=(("Content-Type", "text/plain"),), body=b"not found\n")
UNAVAILABLE = ScriptedResponse(
    status=503, headers=(("Content-Type", "text/plain"), ("Retry-After", "1")), body=b"try again later\n"
)


def response_to(path: str) -> ScriptedResponse:
    """The response to a path; 404 for one that is no address."""
    if (shown := film_address_of(path)) is not None:
        return _film_response(shown)
    if (room := room_address_of(path)) is not None:
        return ScriptedResponse(body=room_jpeg(room_scene(room.seed, room.room_set, room.number), room.view))
    address = address_of(path)
    if address is None:
        return NOT_FOUND
    match address.area:
        case "train":
            return TREATMENTS[oddity(address.seed, address.number)](address)
        case "circle":
            return _redirect(302, replace(address, area="train").url)
        case "moved" | "heldout":
            return _drawn(draw.jpeg, address)


def _film_response(address: FilmAddress) -> ScriptedResponse:
    if address.film_set == "heldout":
        return ScriptedResponse(headers=FILM_HEADERS, body=film(film_scene(address.seed, "heldout", address.number)))
    oddity = film_oddity(address.seed, address.number)
    match oddity:
        case FilmOddity.MISSING:
            return NOT_FOUND
        case FilmOddity.UNAVAILABLE:
            return UNAVAILABLE
        case FilmOddity.PAGE:
            return ScriptedResponse(headers=FILM_HEADERS, body=SIGN_IN_PAGE)
    delay_seconds = 0.0
    if oddity is FilmOddity.SLOW:
        delay_seconds = generator(address.seed, "film delay", address.number).uniform(0.3, 1.0)
    body = film_bytes(address.seed, address.number, oddity)
    return ScriptedResponse(headers=FILM_HEADERS, body=body, delay_seconds=delay_seconds)


def scene_at(address: Address) -> Scene:
    """The scene of the picture at an address, however the server treats it."""
    return scene(address.seed, "heldout" if address.area == "heldout" else "train", address.number)


def _drawn(encoded: Callable[[Scene], bytes], address: Address) -> ScriptedResponse:
    return ScriptedResponse(body=encoded(scene_at(address)))


def _redirect(status: int, target: str) -> ScriptedResponse:
    return ScriptedResponse(status=status, headers=(("Location", target),))


def _moved(address: Address) -> ScriptedResponse:
    status = REDIRECT_STATUSES[address.number % len(REDIRECT_STATUSES)]
    return _redirect(status, replace(address, area="moved").url)


def _trespassing(address: Address) -> ScriptedResponse:
    return _redirect(302, FORBIDDEN_URLS[address.number % len(FORBIDDEN_URLS)])


def _truncated(address: Address) -> ScriptedResponse:
    whole = draw.jpeg(scene_at(address))
    return ScriptedResponse(body=whole[: len(whole) // 2])


def _copy(address: Address) -> ScriptedResponse:
    return _drawn(draw.jpeg, replace(address, number=original_number(address.seed, address.number)))


def _slow(address: Address) -> ScriptedResponse:
    delay_seconds = generator(address.seed, "delay", address.number).uniform(0.3, 1.0)
    return replace(_drawn(draw.jpeg, address), delay_seconds=delay_seconds)


TREATMENTS: dict[Oddity, Callable[[Address], ScriptedResponse]] = {
    Oddity.PLAIN: lambda address: _drawn(draw.jpeg, address),
    Oddity.MISSING: lambda _: NOT_FOUND,
    Oddity.MOVED: _moved,
    Oddity.CIRCLING: lambda address: _redirect(302, replace(address, area="circle").url),
    Oddity.TRESPASSING: _trespassing,
    Oddity.TRUNCATED: _truncated,
    Oddity.PAGE: lambda _: ScriptedResponse(body=SIGN_IN_PAGE),
    Oddity.DOT: lambda _: ScriptedResponse(body=draw.blank_jpeg(1, 1)),
    Oddity.SLIVER: lambda _: ScriptedResponse(body=draw.blank_jpeg(6000, 20)),
    Oddity.ANIMATED: lambda address: _drawn(draw.animated_gif, address),
    Oddity.COPY: _copy,
    Oddity.CMYK: lambda address: _drawn(draw.cmyk_jpeg, address),
    Oddity.TURNED: lambda address: _drawn(draw.turned_jpeg, address),
    Oddity.TRANSPARENT: lambda address: _drawn(draw.alpha_png, address),
    Oddity.SLOW: _slow,
    Oddity.STALLED: lambda address: replace(_drawn(draw.jpeg, address), delay_seconds=STALL_SECONDS),
    Oddity.DRIPPING: lambda address: replace(_drawn(draw.jpeg, address), seconds_per_byte=SECONDS_PER_DRIPPED_BYTE),
    Oddity.ENDLESS: lambda _: ScriptedResponse(body=ENDLESS_PIECE, num_bodies=NUM_ENDLESS_PIECES),
    Oddity.BOMB: lambda _: ScriptedResponse(body=draw.bomb_png(12_000, 10_000)),
    Oddity.UNAVAILABLE: lambda _: UNAVAILABLE,
    Oddity.EMPTY: lambda _: ScriptedResponse(),
    Oddity.OPTED_OUT: lambda address: replace(
        _drawn(draw.jpeg, address), headers=(("Content-Type", "image/jpeg"), ("X-Robots-Tag", "noai"))
    ),
}
