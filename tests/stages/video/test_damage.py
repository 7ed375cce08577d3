"""Films with random damage: facts and frames, or a fault; never another error, a hang, a crash of this process."""

import time
from pathlib import Path

import numpy as np
import pytest

from stages.video.faults import VideoError
from stages.video.limits import VideoLimits
from stages.video.packets import close_packet_decoder, decode_packet_frames
from stages.video.reader import VideoReader
from tests.worlds.films import FORMS, constant_times, film_bytes

NUM_MUTANTS = 35
MAX_SECONDS = 20
"""Longest that the damaged films of one form are read, in seconds: a slow machine reads fewer of them."""


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some flipped, dropped, repeated, cut or overwritten; mostly where tables lie."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        edge = int(rng.integers(0, min(1500, len(changed))))
        at = (
            edge
            if rng.random() < 0.4
            else len(changed) - 1 - edge
            if rng.random() < 0.5
            else rng.integers(len(changed))
        )
        at, length = int(at), int(rng.integers(1, 40))
        match int(rng.integers(5)):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at : at + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
            case 2:
                changed[at : at + 4] = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0")[
                    int(rng.integers(4))
                ]
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length]
    return bytes(changed)


@pytest.mark.parametrize("name", ["h264", "hevc", "vp9", "mpeg4-avi", "h264-ts", "h264-flv"])
def test_random_damage_gives_facts_or_a_fault(tmp_path: Path, name: str) -> None:
    data = film_bytes(FORMS[name], constant_times(30))
    rng = np.random.default_rng(list(name.encode()))
    path = tmp_path / "film"
    limits = VideoLimits(deadline_seconds=5, max_memory_bytes=2**29, max_decoded_px=10**8)
    until = time.monotonic() + MAX_SECONDS
    num_read = num_opened = 0
    with VideoReader(limits) as reader:
        while num_read < NUM_MUTANTS and time.monotonic() < until:
            path.write_bytes(damaged(data, rng))
            num_read += 1
            try:
                facts = reader.open(path)
            except VideoError:
                continue
            num_opened += 1
            assert 0 < facts.duration_seconds <= limits.max_duration_seconds
            assert 0 < facts.native_fps <= 1000
            assert facts.width_px * facts.height_px > 0
            use(reader)
    close_packet_decoder()
    assert num_read >= 5
    assert num_opened >= 1


def use(reader: VideoReader) -> None:
    """Ask everything of an opened film."""
    times = reader.frame_times()
    assert times == sorted(times)
    for call in (
        lambda: reader.frames(times[:: max(1, len(times) // 4)][:8], 4000, 80),
        reader.scene_starts,
        lambda: packet_frames(reader, times),
    ):
        try:
            call()
        except VideoError:
            continue


def packet_frames(reader: VideoReader, times: list[float]) -> None:
    """Frames of a clip that is kept as packets."""
    packets = reader.packets(times[len(times) // 3], times[-1])
    assert list(packets.times) == sorted(packets.times)
    decode_packet_frames(packets.mp4, packets.pts[:3], 4000, 80)
