"""Every codec and container: the frame of each time, and the same pictures from packets."""

import os
from pathlib import Path
from typing import Any

import pytest

from stages.video import packets as packets_module
from stages.video.child import VideoChild
from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.packets import decode_packet_frames
from stages.video.reader import VideoReader
from stages.video.wire import WireMessage
from tests.worlds.films import FORMS, constant_times, film_bytes, number_in, uneven_times, write_film

NOT_IN_MP4 = {"vp8", "prores", "flv1", "h264-avi"}
COUNTED = {"mpeg4", "mpeg2video", "mjpeg", "flv", "prores_ks"}


def times_of(name: str) -> list[float]:
    """Uneven times where the container can say them."""
    form = FORMS[name]
    return constant_times(50) if form.codec in COUNTED or form.container == "avi" else uneven_times(50)


@pytest.fixture(scope="module", params=list(FORMS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A form, and a film of it."""
    name = request.param
    return name, write_film(tmp_path_factory.mktemp(name) / f"film{FORMS[name].suffix}", FORMS[name], times_of(name))


def test_each_time_gives_its_frame(reader: VideoReader, case: tuple[str, Path]) -> None:
    name, path = case
    facts = reader.open(path)
    assert facts.num_frames == 50
    assert reader.frame_times() == pytest.approx(times_of(name), abs=1e-3)
    frames = reader.frames([time + 0.001 for time in times_of(name)], 10**6, 90)
    assert [number_in(frame.jpeg) for frame in frames] == list(range(50))
    frames = reader.frames([time + 0.001 for time in reversed(times_of(name))], 10**6, 90)
    assert [number_in(frame.jpeg) for frame in frames] == list(reversed(range(50)))


def test_packets_give_the_same_jpegs(reader: VideoReader, case: tuple[str, Path]) -> None:
    name, path = case
    reader.open(path)
    starts = times_of(name)
    if name in NOT_IN_MP4:
        with pytest.raises(VideoError) as caught:
            reader.packets(starts[20], starts[35])
        assert caught.value.fault is VideoFault.NOT_IN_MP4
        return
    for first, last in ((0, 5), (20, 35), (23, 25), (40, 50)):
        start, end = starts[first], [*starts, 99][last]
        times = reader.frame_times(start, end)
        packets = reader.packets(start, end)
        assert packets == reader.packets(start, end)
        jpegs = decode_packet_frames(packets.mp4, [packets.pts_at(time) for time in times], 3000, 80)
        assert jpegs == [frame.jpeg for frame in reader.frames(times, 3000, 80)]
        assert len(jpegs) == last - first


def test_writing_a_film_of_av1_leaves_this_process_its_priority() -> None:
    """Else all later tests of this process, and what they start, would starve the rest of the machine."""
    before = os.sched_getscheduler(0)
    film_bytes(FORMS["av1"], constant_times(5))
    assert os.sched_getscheduler(0) == before == os.SCHED_OTHER


@pytest.mark.parametrize("name", ["h264", "h264-open-gop", "hevc", "vp8", "vp9", "av1", "mpeg4-b-avi", "mpeg2-ts"])
def test_what_else_is_asked_changes_no_picture(reader: VideoReader, tmp_path: Path, name: str) -> None:
    reader.open(write_film(tmp_path / f"film{FORMS[name].suffix}", FORMS[name], times_of(name)))
    times = reader.frame_times()
    together = reader.frames(times, 10**6, 90)
    order = [(17 * number) % 50 for number in range(50)]
    assert [reader.frames([times[number]], 10**6, 90)[0] for number in order] == [together[n] for n in order]
    apart = [number for number in range(50) if number % 7 in (0, 3)]
    assert reader.frames([times[number] for number in apart], 10**6, 90) == [together[n] for n in apart]


def test_frames_that_nobody_needs_are_not_decoded(reader: VideoReader, tmp_path: Path) -> None:
    reader.open(write_film(tmp_path / "film.mp4", FORMS["h264"], constant_times(120)))  # of three frames, two are B
    before = reader.num_decoded_frames
    frames = reader.frames([0.04, 0.08, 4.0], 10**6, 90)
    assert [number_in(frame.jpeg) for frame in frames] == [1, 2, 100]
    assert reader.num_decoded_frames - before <= 12


@pytest.mark.parametrize("num_deaths", [1, 2])
def test_packets_are_undecodable_where_a_second_process_dies_too(
    monkeypatch: pytest.MonkeyPatch, num_deaths: int
) -> None:
    ask, calls = VideoChild.ask, []

    def dying(child: VideoChild, call: str, *rest: Any) -> WireMessage:
        calls.append(call)
        if call == "jpegs_at" and calls.count(call) <= num_deaths:
            child.kill()
        return ask(child, call, *rest)

    monkeypatch.setattr(VideoChild, "ask", dying)
    if num_deaths == 1:
        (jpeg,) = packets_module.decode_packet_frames(film_bytes(), [0], 10**6, 80)
        assert number_in(jpeg) == 0
    else:
        with pytest.raises(VideoError):
            packets_module.decode_packet_frames(film_bytes(), [0], 10**6, 80)
    packets_module.close_packet_decoder()


def test_packets_are_decoded_under_the_limits_that_they_were_cut_under(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets_module, "MAX_DECODERS", 1)
    with pytest.raises(VideoError) as caught:
        decode_packet_frames(film_bytes(), [0], 10**6, 80, VideoLimits(max_frame_px=10))
    assert caught.value.fault is VideoFault.TOO_MANY_PIXELS
    (jpeg,) = decode_packet_frames(film_bytes(), [0], 10**6, 80)
    assert number_in(jpeg) == 0
    assert list(packets_module._children) == [VideoLimits()], "no more processes than are to be kept"
    packets_module.close_packet_decoder()
    assert not packets_module._children
