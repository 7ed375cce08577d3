"""The bytes of each film as the toy web serves it, with the faults of real films. Opens no socket."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from stages.toy_world.films.film_drawing import dark_film, film, still_film, turned_film
from stages.toy_world.films.film_faults import FilmOddity, original_film
from stages.toy_world.films.film_scene import DURATION_SECONDS, FilmScene, film_scene
from stages.toy_world.random_streams import generator
from stages.video.encoding import encode_sound

SIX_HOURS_SECONDS = 21_600.0
HURRY_SECONDS = 1 / 90_000
"""Time between the frames of a film that is over at once: the shortest that its clock can tell."""
PLAYLIST: Final = (
    b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\nfile:///etc/hostname\n"
    b"#EXTINF:10.0,\nhttp://169.254.169.254/latest/meta-data/\n#EXT-X-ENDLIST\n"
)


def film_bytes(seed: int, number: int, oddity: FilmOddity) -> bytes:
    """The file of training film `number` with an oddity that is one of its bytes, not of the server's answer."""
    scene = film_scene(seed, "train", number)
    match oddity:
        case FilmOddity.VARIABLE:
            return film(scene, variable_times(seed, number, scene))
        case FilmOddity.COPY:
            return film(film_scene(seed, "train", original_film(seed, number)))
        case _:
            return MADE.get(oddity, film)(scene)


def variable_times(seed: int, number: int, scene: FilmScene) -> list[float]:
    """Times of the frames of a film of variable rate: each lies anywhere between those of its neighbours."""
    rng = generator(seed, "film times", number)
    period = 1 / scene.frames_per_second
    return [0.0, *(seconds + rng.uniform(-0.45, 0.45) * period for seconds in scene.times_seconds()[1:])]


def _truncated(scene: FilmScene) -> bytes:
    whole = film(scene)
    return whole[: len(whole) // 2]


def _hollow(scene: FilmScene) -> bytes:
    """The file up to its frames, and an index of none: the header `ftyp` and an empty `moov`."""
    whole = film(scene)
    return whole[: struct.unpack(">I", whole[:4])[0]] + struct.pack(">I4s", 8, b"moov")


def _spoilt(scene: FilmScene) -> bytes:
    """The payload of the box `mdat` is overwritten with zeros."""
    whole = film(scene)
    name = whole.index(b"mdat")
    [size_bytes] = struct.unpack(">I", whole[name - 4 : name])
    end = name - 4 + size_bytes
    return whole[: name + 4] + bytes(end - name - 4) + whole[end:]


def _long(scene: FilmScene) -> bytes:
    times = scene.times_seconds()
    return film(scene, [*times[:-1], times[-2] + SIX_HOURS_SECONDS])


def _rushed(scene: FilmScene) -> bytes:
    return film(scene, [number * HURRY_SECONDS for number in range(len(scene.times_seconds()))])


MADE: Final[Mapping[FilmOddity, Callable[[FilmScene], bytes]]] = {
    FilmOddity.TURNED: turned_film,
    FilmOddity.STILL: lambda scene: still_film(scene, scene.times_seconds()),
    FilmOddity.DARK: lambda scene: dark_film(scene.times_seconds()),
    FilmOddity.TRUNCATED: _truncated,
    FilmOddity.SOUND: lambda _: encode_sound(DURATION_SECONDS),
    FilmOddity.PLAYLIST: lambda _: PLAYLIST,
    FilmOddity.HOLLOW: _hollow,
    FilmOddity.SPOILT: _spoilt,
    FilmOddity.EMPTY: lambda _: b"",
    FilmOddity.LONG: _long,
    FilmOddity.RUSHED: _rushed,
}
