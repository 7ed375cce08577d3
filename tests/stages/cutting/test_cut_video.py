"""Films of every kind through the stage: the right frames of good ones, and one reason for each bad one."""

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts.kinds import CLIPS_FILE, RawClips
from stages.formats.clip_reader import ClipReader
from stages.video.limits import VideoLimits
from tests.stages.video.test_bad_files import DAMAGED, PLAYLISTS, fast_start
from tests.worlds.cut_world import cut, ends_of, rows_of
from tests.worlds.films import FORMS, constant_times, film_bytes, number_in, uneven_times, write_film


def numbers_of(raw: RawClips) -> dict[str, list[int | None]]:
    """The numbers that the frames of each video's one clip carry."""
    reader = ClipReader(raw)
    return {clip.reference: [number_in(jpeg) for jpeg in reader.frames.images_of(clip.frames)] for clip in reader}


@pytest.fixture(scope="module")
def bad_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every bad film beside a good one, and playlists that name a secret one."""
    folder = tmp_path_factory.mktemp("bad") / "films"
    folder.mkdir()
    secret = write_film(folder.parent / "secret.mp4")
    os.utime(secret, (0, 0))
    good = film_bytes()
    (folder / "good.mp4").write_bytes(good)
    for name, (_, damaged) in DAMAGED.items():
        (folder / f"{name.replace(' ', '_')}.mp4").write_bytes(damaged(good))
    for name, text in PLAYLISTS.items():
        spelled = text.format(secret=secret, url="http://127.0.0.1:9")
        (folder / f"playlist_{name.replace(' ', '_')}.mp4").write_text(spelled)
    return folder


def test_each_bad_film_ends_in_its_reason(tmp_path: Path, bad_films: Path) -> None:
    expected = {f"{name.replace(' ', '_')}.mp4": [fault.value] for name, (fault, _) in DAMAGED.items()}
    expected |= {f"playlist_{name.replace(' ', '_')}.mp4": ["playlist"] for name in PLAYLISTS}
    expected |= {"good.mp4": ["kept"]}
    assert ends_of(cut(tmp_path, bad_films)) == expected
    assert ends_of(cut(tmp_path, bad_films, root="packets", store="packets", check_packets=False)) == expected
    assert (bad_films.parent / "secret.mp4").stat().st_atime == 0


@pytest.mark.parametrize("store", ["frames", "packets"])
def test_every_codec_and_container_gives_the_frames_at_its_times(tmp_path: Path, store: str) -> None:
    (tmp_path / "films").mkdir()
    for name, form in FORMS.items():
        write_film(tmp_path / f"films/{name}{form.suffix}", form)
    raw = cut(tmp_path, tmp_path / "films", store=store, sampling={"num_frames": 4})
    lost = {name: ends for name, ends in ends_of(raw).items() if ends != ["kept"]}
    assert {tuple(ends) for ends in lost.values()} <= ({("not_in_mp4",)} if store == "packets" else set())
    numbers = numbers_of(raw)
    assert len(numbers) >= len(FORMS) - 4
    assert set(map(tuple, numbers.values())) == {(10, 20, 30, 40)}


@pytest.mark.parametrize("store", ["frames", "packets"])
def test_frames_of_a_variable_rate_are_counted_as_they_are_shown(tmp_path: Path, store: str) -> None:
    (tmp_path / "films").mkdir()
    times = uneven_times(60)
    write_film(tmp_path / "films/uneven.mp4", times=times)
    raw = cut(tmp_path, tmp_path / "films", store=store, sampling={"num_frames": 5}, max_clip_seconds=3.0)
    rows = rows_of(raw)
    assert len(rows) == 3
    reader = ClipReader(raw)
    for row, clip in zip(rows, sorted(reader, key=lambda one: one.start_seconds), strict=True):
        shown = [number for number, at in enumerate(times) if row["start_seconds"] <= at < row["end_seconds"]]
        taken = [shown[len(shown) * place // 6] for place in range(1, 6)]
        assert [number_in(jpeg) for jpeg in reader.frames.images_of(clip.frames)] == taken
        assert [row["start_seconds"] + at for at in row["frame_times"]] == pytest.approx([times[one] for one in taken])
        assert row["num_native_frames"] == len(shown)


@pytest.mark.parametrize("store", ["frames", "packets"])
def test_a_stretch_in_which_no_frame_begins_has_the_one_that_is_seen(tmp_path: Path, store: str) -> None:
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films/slides.mp4", times=[0.0, 10.0, 11.0])
    raw = cut(tmp_path, tmp_path / "films", store=store, max_clip_seconds=3.0, sampling={"num_frames": 2})
    rows = rows_of(raw)
    reader = ClipReader(raw)
    clips = sorted(reader, key=lambda clip: clip.start_seconds)
    assert [row["frame_times"][0] for row in rows[:3]] == [0.0, 0.0, 0.0]
    numbers = [[number_in(jpeg) for jpeg in reader.frames.images_of(clip.frames)] for clip in clips]
    assert numbers == [[0], [0], [0], [1, 2]]


def test_pieces_of_slides_are_cut_at_scenes_as_they_are_cut_without(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    write_film(folder / "slides.mp4", times=[0.0, 10.0, 11.0])
    (folder / "clips.csv").write_text("video,start,end\nslides.mp4,2,4\n")
    (row,) = rows_of(cut(tmp_path, folder, cut_at="scenes"))
    assert (row["verdict"], row["frame_times"]) == ("kept", [0.0])


def test_no_time_in_a_clip_is_negative_where_its_start_is_rounded(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    write_film(folder / "film.mp4", times=[number / 30 for number in range(90)])
    (folder / "clips.csv").write_text("video,start,end\nfilm.mp4,0.066667,2\n")  # frame 2 is at 0.0666666...
    (row,) = rows_of(cut(tmp_path, folder, sampling={"num_frames": 100}))
    assert row["frame_times"][0] == 0.0
    assert row["frame_times"][1] == pytest.approx(1 / 30, abs=1e-5)


def test_a_file_that_is_cut_short_loses_the_clip_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    data = fast_start(film_bytes(times=constant_times(150)))
    # 6 seconds, of which the last two lie in the last fifth of the file: half of that is there, whatever the encoder.
    (tmp_path / "films/cut.mp4").write_bytes(data[: int(len(data) * 0.9)])
    raw = cut(tmp_path, tmp_path / "films", max_clip_seconds=2.0)
    assert ends_of(raw) == {"cut.mp4": ["kept", "kept", "file_cut_short"]}


LIMITS = {
    "too_many_bytes": {"max_file_bytes": 1000},
    "too_many_pixels": {"max_frame_px": 96 * 64 - 1},
    "too_long": {"max_duration_seconds": 1.9},
    "too_much_decoding": {"max_decoded_px": 96 * 64 * 4},
}


@pytest.mark.parametrize("reason", list(LIMITS))
def test_limits_end_in_their_reasons(tmp_path: Path, reason: str) -> None:
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films/good.mp4")
    limits: dict[str, Any] = LIMITS[reason]
    raw = cut(tmp_path, tmp_path / "films", limits=VideoLimits(**limits))
    assert ends_of(raw) == {"good.mp4": [reason]}


def test_the_tar_of_a_part_without_clips_is_empty(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films/bad.mp4").write_bytes(b"nothing")
    raw = cut(tmp_path, tmp_path / "films")
    with tarfile.open(fileobj=io.BytesIO(raw.read(raw.parts[0].file(CLIPS_FILE)))) as tar:
        assert tar.getnames() == []
