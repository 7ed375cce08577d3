"""The faults of films: each ends in the reason that a reader of videos has for it."""

from pathlib import Path

import pytest

from stages.toy_world.films.film_faults import HARMLESS_FILMS, FilmOddity, film_oddity
from stages.toy_world.films.film_files import film_bytes, variable_times
from stages.toy_world.films.film_scene import film_scene
from stages.video.facts import VideoFacts
from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.reader import VideoReader

FAULTS = {
    FilmOddity.TRUNCATED: VideoFault.BROKEN_CONTAINER,
    FilmOddity.SOUND: VideoFault.NO_VIDEO,
    FilmOddity.PLAYLIST: VideoFault.PLAYLIST,
    FilmOddity.HOLLOW: VideoFault.NO_VIDEO,
    FilmOddity.SPOILT: VideoFault.NO_KEYFRAME,
    FilmOddity.EMPTY: VideoFault.UNKNOWN_FORMAT,
    FilmOddity.LONG: VideoFault.TOO_LONG,
    FilmOddity.RUSHED: VideoFault.ABSURD_TIMES,
}


def facts_of(oddity: FilmOddity, path: Path) -> VideoFacts:
    number = next(number for number in range(200) if film_oddity(7, number) is oddity)
    path.write_bytes(film_bytes(7, number, oddity))
    with VideoReader(VideoLimits()) as reader:
        return reader.open(path)


@pytest.mark.parametrize("oddity", FAULTS)
def test_a_broken_film_ends_in_its_reason(oddity: FilmOddity, tmp_path: Path) -> None:
    with pytest.raises(VideoError) as caught:
        facts_of(oddity, tmp_path / "film.mp4")
    assert caught.value.fault is FAULTS[oddity]


@pytest.mark.parametrize("oddity", sorted(HARMLESS_FILMS))
def test_a_harmless_one_is_read(oddity: FilmOddity, tmp_path: Path) -> None:
    facts = facts_of(oddity, tmp_path / "film.mp4")
    assert 4.0 <= facts.duration_seconds <= 4.5
    assert facts.is_variable_rate == (oddity is FilmOddity.VARIABLE)
    assert facts.rotation_degrees == (90 if oddity is FilmOddity.TURNED else 0)


def test_the_times_of_a_variable_rate_rise() -> None:
    times = variable_times(7, 3, film_scene(7, "train", 3))
    assert times == sorted(set(times))
