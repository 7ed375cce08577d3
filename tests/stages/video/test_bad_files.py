"""Files that are no films, or are damaged, or name other files: each ends in its fault, and nothing else is opened."""

import http.server
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.reader import VideoReader
from tests.worlds.films import (
    FORMS,
    Form,
    boxes,
    constant_times,
    film_bytes,
    number_in,
    patched,
    sound_bytes,
    write_film,
)

TABLES = b"moov/trak/mdia/minf/stbl/"
UINT_MAX = b"\xff\xff\xff\xff"


def fault_of(reader: VideoReader, path: Path) -> VideoFault:
    """Why the file cannot be opened."""
    with pytest.raises(VideoError) as caught:
        reader.open(path)
    return caught.value.fault


@pytest.fixture(scope="module")
def mp4() -> bytes:
    """An intact film of 50 frames, with its tables at the end."""
    return film_bytes()


def box(data: bytes, name: bytes) -> int:
    """First byte of the box of that name."""
    return data.index(name) - 4


def without_sizes(data: bytes) -> bytes:
    """No frame has any bytes."""
    return patched(data, TABLES + b"stsz", 8, bytes(4))


def noisy(data: bytes) -> bytes:
    """Noise in the place of packets."""
    start, end = box(data, b"mdat") + 8, box(data, b"moov")
    noise = np.random.default_rng(0).integers(0, 256, end - start, dtype=np.uint8)
    return data[:start] + noise.tobytes() + data[end:]


DAMAGED = {
    "empty": (VideoFault.UNKNOWN_FORMAT, lambda mp4: b""),
    "text": (VideoFault.UNKNOWN_FORMAT, lambda mp4: b"just words, and many of them\n" * 200),
    "JPEG": (VideoFault.UNKNOWN_FORMAT, lambda mp4: b"\xff\xd8\xff\xe0" + bytes(5000)),
    "GIF": (VideoFault.UNKNOWN_FORMAT, lambda mp4: b"GIF89a" + bytes(5000)),
    "sound alone": (VideoFault.NO_VIDEO, lambda mp4: sound_bytes()),
    "no moov": (VideoFault.BROKEN_CONTAINER, lambda mp4: mp4[: box(mp4, b"moov")]),
    "half a moov": (VideoFault.BROKEN_CONTAINER, lambda mp4: mp4[: box(mp4, b"moov") + 600]),
    "an empty moov": (VideoFault.NO_VIDEO, lambda mp4: mp4[: box(mp4, b"moov") + 8] + bytes(1000)),
    "zero frames": (VideoFault.NO_FRAMES, without_sizes),
    "frames beyond the file": (VideoFault.NO_FRAMES, lambda mp4: patched(mp4, TABLES + b"stco", 8, b"\x7f" * 4)),
    "all frames at one time": (VideoFault.ABSURD_TIMES, lambda mp4: patched(mp4, TABLES + b"stts", 12, bytes(4))),
    "a second of 1e9 units": (
        VideoFault.ABSURD_TIMES,
        lambda mp4: patched(mp4, b"moov/trak/mdia/mdhd", 12, struct.pack(">I", 10**9)),
    ),
    "a second of no units": (VideoFault.TOO_LONG, lambda mp4: patched(mp4, b"moov/trak/mdia/mdhd", 12, bytes(4))),
    "negative units": (VideoFault.TOO_LONG, lambda mp4: patched(mp4, b"moov/trak/mdia/mdhd", 12, UINT_MAX)),
    "frames of an age": (VideoFault.TOO_LONG, lambda mp4: patched(mp4, TABLES + b"stts", 12, b"\x7f\xff\xff\xff")),
    "an edit list of nothing": (VideoFault.NO_FRAMES, lambda mp4: patched(mp4, b"moov/trak/edts/elst", 8, bytes(4))),
    "a negative edit list": (VideoFault.NO_FRAMES, lambda mp4: patched(mp4, b"moov/trak/edts/elst", 12, b"\x80\0\0\0")),
    "noise for frames": (VideoFault.NO_KEYFRAME, noisy),
    "ten hours": (VideoFault.TOO_LONG, lambda mp4: film_bytes(times=[60 * minute for minute in range(601)])),
    "two recordings joined": (VideoFault.ABSURD_TIMES, lambda mp4: 2 * film_bytes(FORMS["h264-ts"])),
    "AVI of 1e9 frames a second": (VideoFault.ABSURD_TIMES, lambda mp4: avi_of_rate(1, 10**9)),
    "AVI of 1e-9 frames a second": (VideoFault.TOO_LONG, lambda mp4: avi_of_rate(10**9, 1)),
    "a codec that is not read": (
        VideoFault.UNKNOWN_CODEC,
        lambda mp4: film_bytes(Form("rawvideo", "avi", suffix=".avi"), constant_times(3)),
    ),
}  # fmt: skip


def avi_of_rate(scale: int, rate: int) -> bytes:
    """An AVI that says to show `rate` frames in `scale` seconds."""
    data = bytearray(film_bytes(FORMS["mpeg4-avi"]))
    struct.pack_into("<II", data, data.index(b"vids") + 20, scale, rate)
    return bytes(data)


@pytest.mark.parametrize("name", list(DAMAGED))
def test_damage_ends_in_its_fault(reader: VideoReader, tmp_path: Path, mp4: bytes, name: str) -> None:
    fault, damaged = DAMAGED[name]
    path = tmp_path / "film.mp4"
    path.write_bytes(damaged(mp4))
    assert fault_of(reader, path) is fault
    path.write_bytes(mp4)
    assert reader.open(path).num_frames == 50  # the next file is read by the same process


MISLEADING = {
    "no duration": lambda mp4: patched(patched(mp4, b"moov/trak/mdia/mdhd", 16, bytes(4)), b"moov/mvhd", 16, bytes(4)),
    "a duration of an age": lambda mp4: patched(
        patched(mp4, b"moov/trak/mdia/mdhd", 16, b"\x7f" * 4), b"moov/mvhd", 16, b"\x7f" * 4
    ),
    "AVI of 0/0": lambda mp4: avi_of_rate(0, 0),
    "AVI of rate 0": lambda mp4: avi_of_rate(1, 0),
    "AVI of scale 0": lambda mp4: avi_of_rate(0, 1),
    "no list of keyframes": lambda mp4: patched(mp4, TABLES + b"stss", 4, bytes(4)),
}


@pytest.mark.parametrize("name", list(MISLEADING))
def test_headers_are_not_believed(reader: VideoReader, tmp_path: Path, mp4: bytes, name: str) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(MISLEADING[name](mp4))
    facts = reader.open(path)
    assert (facts.num_frames, facts.duration_seconds, facts.native_fps) == (50, 2.0, 25.0)
    assert [number_in(frame.jpeg) for frame in reader.frames([0, 1.0, 1.96], 10**6, 90)] == [0, 25, 49]


def fast_start(data: bytes) -> bytes:
    """The MP4 with its tables before its packets, as most are that come from the web."""
    start, tables = box(data, b"mdat"), box(data, b"moov")
    moved = bytearray(data[:start] + data[tables:] + data[start:tables])
    for begin, end in boxes(bytes(moved), TABLES + b"stco"):
        offsets = np.frombuffer(bytes(moved[begin + 8 : end]), ">u4") + (len(data) - tables)
        moved[begin + 8 : end] = offsets.astype(">u4").tobytes()
    return bytes(moved)


@pytest.mark.parametrize("name", ["mp4", "h264-mkv", "vp9", "h264-ts", "h264-flv", "mpeg4-avi"])
@pytest.mark.parametrize("share", [0.72, 0.9])
def test_a_file_that_is_cut_short_gives_the_frames_up_to_there(
    reader: VideoReader, tmp_path: Path, mp4: bytes, name: str, share: float
) -> None:
    data = fast_start(mp4) if name == "mp4" else film_bytes(FORMS[name])
    path = tmp_path / "film"
    path.write_bytes(data[: int(len(data) * share)])
    facts = reader.open(path)
    assert 10 <= facts.num_frames < 50
    assert facts.is_cut_short or name not in {"mp4", "mpeg4-avi"}
    frames = reader.frames(reader.frame_times(), 10**6, 90)
    assert [number_in(frame.jpeg) for frame in frames] == [round(25 * frame.time_seconds) for frame in frames]


def test_a_damaged_stretch_does_not_cost_the_rest(reader: VideoReader, tmp_path: Path, mp4: bytes) -> None:
    data = bytearray(film_bytes(FORMS["h264-no-b"], constant_times(150)))
    middle = box(bytes(data), b"mdat") + 8
    sizes = next(np.frombuffer(data[s + 12 : e], ">u4") for s, e in boxes(bytes(data), TABLES + b"stsz"))
    begin, end = (middle + int(sizes[:number].sum()) for number in (48, 100))
    data[begin:end] = bytes(end - begin)
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    reader.open(path)
    assert [number_in(frame.jpeg) for frame in reader.frames([0.4, 1.96, 5.8], 10**6, 90)] == [10, 47, 145]
    with pytest.raises(VideoError) as caught:
        reader.frames([3.2], 10**6, 90)
    assert caught.value.fault is VideoFault.UNDECODABLE


@pytest.fixture
def visits() -> Iterator[tuple[str, list[str]]]:
    """Address of a server on loopback, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXTINF:2,\n{url}/part.ts\n#EXT-X-ENDLIST\n",
    "HLS, a blank line first": "\n#EXTM3U\n#EXTINF:2,\n{url}/part.ts\n",
    "DASH": '<?xml version="1.0"?><MPD type="static"><Period><BaseURL>{url}/</BaseURL></Period></MPD>',
    "concat": "ffconcat version 1.0\nfile {secret}\n",
    "concat without a head": "file '{secret}'\nfile '{url}/a.mp4'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("kind", list(PLAYLISTS))
@pytest.mark.parametrize("name", ["film.mp4", "film.m3u8", "film.ffconcat", "%03d.png", "http:film.mp4"])
def test_playlists_are_refused_unread(
    reader: VideoReader, tmp_path: Path, visits: tuple[str, list[str]], kind: str, name: str
) -> None:
    secret = write_film(tmp_path / "secret.mp4")
    os.utime(secret, (0, 0))
    url, asked = visits
    path = tmp_path / name
    path.write_text(PLAYLISTS[kind].format(secret=secret, url=url))
    assert fault_of(reader, path) is VideoFault.PLAYLIST
    assert asked == []
    assert secret.stat().st_atime == 0


def with_reference(data: bytes, path: bytes) -> bytes:
    """The MP4 whose packets lie in another file: an alias in `dref`, as QuickTime writes it."""
    alias = bytes(8 + 10) + bytes([0]) + bytes(27 + 12) + bytes([0]) + bytes(63 + 16)
    alias = alias[4:] + struct.pack(">HH", 0, 0) + bytes(16)
    alias += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + b"\xff\xff\0\0"
    entry = struct.pack(">I4s", 8 + len(alias), b"alis") + alias
    replaced = struct.pack(">II", 0, 1) + entry
    ((start, end),) = boxes(data, b"moov/trak/mdia/minf/dinf/dref")
    changed = bytearray(data[:start] + replaced + data[end:])
    for depth in range(1, 7):
        name = b"/".join(b"moov/trak/mdia/minf/dinf/dref".split(b"/")[:depth])
        ((begin, _),) = boxes(data, name)
        (size,) = struct.unpack_from(">I", data, begin - 8)
        struct.pack_into(">I", changed, begin - 8, size + len(replaced) - (end - start))
    return bytes(changed)


def test_a_data_reference_to_another_file_is_not_followed(reader: VideoReader, tmp_path: Path, mp4: bytes) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(mp4)
    start, end = box(mp4, b"mdat") + 8, box(mp4, b"moov")
    path = tmp_path / "film.mp4"
    path.write_bytes(with_reference(mp4[:start] + bytes(end - start) + mp4[end:], os.fsencode(secret)))
    with av.open(path, options={"enable_drefs": "1", "use_absolute_path": "1"}) as followed:
        assert len(list(followed.decode(video=0))) == 50  # so that is what the file asks for
    os.utime(secret, (0, 0))
    assert fault_of(reader, path) is VideoFault.NO_FRAMES
    assert secret.stat().st_atime == 0


def test_what_is_no_plain_file_is_refused_at_once(reader: VideoReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", tmp_path, tmp_path / "missing.mp4", Path("/dev/zero"), Path("/dev/tty")):
        assert fault_of(reader, path) is VideoFault.UNREADABLE_FILE


def test_a_name_of_any_bytes_is_opened(reader: VideoReader, tmp_path: Path) -> None:
    for name in (b"\xff\xfe.mp4", b"a:b%d?*.mp4", "\u00fc \n.mp4".encode(), b"-i.mp4"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        assert reader.open(write_film(path, times=constant_times(3))).num_frames == 3


def test_limits_of_one_file(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4")
    for limits, fault in (
        (VideoLimits(max_file_bytes=1000), VideoFault.TOO_MANY_BYTES),
        (VideoLimits(max_frame_px=96 * 64 - 1), VideoFault.TOO_MANY_PIXELS),
        (VideoLimits(max_duration_seconds=1.9), VideoFault.TOO_LONG),
    ):
        with VideoReader(limits) as reader:
            assert fault_of(reader, path) is fault


def test_a_frame_of_16k_is_not_decoded(reader: VideoReader, tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 15360, 8640, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(15360, 8640, "yuvj420p")))
        container.mux(stream.encode(None))
    before = reader.num_decoded_frames
    assert fault_of(reader, path) is VideoFault.TOO_MANY_PIXELS
    assert reader.num_decoded_frames == before


def test_keyframes_that_are_far_apart_end_in_a_fault(tmp_path: Path) -> None:
    form = Form(options={"preset": "ultrafast", "x264-params": "keyint=infinite:scenecut=0"})
    path = tmp_path / "film.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options=form.options)
        stream.width, stream.height, stream.gop_size = 96, 64, 10**6
        for _ in range(1000):
            container.mux(stream.encode(av.VideoFrame(96, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with VideoReader(VideoLimits(max_decoded_px=96 * 64 * 500)) as reader:
        assert reader.open(path).num_keyframes == 1
        assert reader.frames([1.0], 10**6, 80)
        for _ in range(2):
            with pytest.raises(VideoError) as caught:
                reader.frames([39.0], 10**6, 80)
            assert caught.value.fault is VideoFault.TOO_MUCH_DECODING
            assert reader.frames([19.0], 10**6, 80)
        with pytest.raises(VideoError) as caught:
            reader.scene_starts()
        assert caught.value.fault is VideoFault.TOO_MUCH_DECODING


def test_cover_pictures_are_no_video(reader: VideoReader, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    for has_film in (False, True):
        with av.open(path, "w") as container:
            film = container.add_stream("libx264", rate=25) if has_film else None
            if film is not None:
                film.width, film.height = 96, 64
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            container.mux(cover.encode(av.VideoFrame(640, 480, "yuvj420p")))
            container.mux(cover.encode(None))
            if film is not None:
                for _ in range(10):
                    container.mux(film.encode(av.VideoFrame(96, 64, "yuv420p")))
                container.mux(film.encode(None))
        if has_film:
            facts = reader.open(path)
            assert (facts.width_px, facts.num_frames, facts.num_video_streams) == (96, 10, 1)
        else:
            assert fault_of(reader, path) is VideoFault.NO_VIDEO


@pytest.mark.parametrize("default", [0, 1])
def test_of_two_video_streams_the_default_one_is_read(reader: VideoReader, tmp_path: Path, default: int) -> None:
    path = tmp_path / "film.mkv"
    with av.open(path, "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.width, stream.height = 96 + 32 * number, 64
            stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
        for number, stream in enumerate(streams):
            for _ in range(10):
                container.mux(stream.encode(av.VideoFrame(96 + 32 * number, 64, "yuv420p")))
            container.mux(stream.encode(None))
    facts = reader.open(path)
    assert (facts.num_video_streams, facts.width_px, facts.num_frames) == (2, 96 + 32 * default, 10)
