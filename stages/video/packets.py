"""Frames of a clip that is kept as packets: decoded when they are needed, in processes that this one keeps for it.

There is one process for each set of limits: clips of one recipe have the same.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from stages.video.child import VideoChild
from stages.video.faults import VideoError, VideoFault
from stages.video.limits import VideoLimits
from stages.video.reader import FRAMES_PER_CALL

_OF_THE_MOMENT: Final = frozenset((
    VideoFault.CRASHED, VideoFault.DEADLINE, VideoFault.TOO_MUCH_MEMORY, VideoFault.UNREADABLE_FILE,
))  # fmt: skip
"""Faults that a new process may not meet; the last is that of a process in which no packets are open."""
MAX_DECODERS: Final = 4
"""Processes that are kept at one time; of more, the one that was not asked for longest ends."""
NO_LIMITS_OF_THEIR_OWN: Final = VideoLimits()
"""Limits of packets about which nobody recorded any."""
_lock: Final = threading.Lock()
_children: Final[dict[VideoLimits, VideoChild]] = {}
"""The processes by their limits; the one that was asked last stands last."""


def decode_packet_frames(
    mp4: bytes, pts: Sequence[int], max_px: int, quality: int, limits: VideoLimits = NO_LIMITS_OF_THEIR_OWN
) -> list[bytes]:
    """The frames of an MP4 that `VideoReader.packets` made, shown at `pts` in its time base, as JPEGs in their order.

    They are the very bytes that `VideoReader.frames` gives of the whole video, with the same `max_px` (width times
    height at most) and `quality`. `limits` are those under which the packets were cut. Raises `VideoError`; a fault
    that may lie in the moment, such as a process that was killed because the machine ran out of memory, is believed the
    second time.
    """
    with _lock:
        child = _child_of(limits)
        try:
            return _decoded(child, mp4, pts, max_px, quality)
        except VideoError as error:
            if error.fault not in _OF_THE_MOMENT:
                raise
            child.kill()
            return _decoded(child, mp4, pts, max_px, quality)


def _child_of(limits: VideoLimits) -> VideoChild:
    child = _children.pop(limits, None) or VideoChild(limits)
    _children[limits] = child
    while len(_children) > MAX_DECODERS:
        _children.pop(next(iter(_children))).kill()
    return child


def _decoded(child: VideoChild, mp4: bytes, pts: Sequence[int], max_px: int, quality: int) -> list[bytes]:
    jpegs: dict[int, bytes] = {}
    wanted = sorted(set(pts))
    child.ask("open_bytes", {}, [mp4])
    for first in range(0, len(wanted), FRAMES_PER_CALL):
        asked = wanted[first : first + FRAMES_PER_CALL]
        answer = child.ask("jpegs_at", {"pts": asked, "max_px": max_px, "quality": quality})
        jpegs.update(zip(asked, answer.blobs, strict=True))
    return [jpegs[at] for at in pts]


def close_packet_decoder() -> None:
    """End the processes that decode packets, if there are any. They start again when they are needed."""
    with _lock:
        while _children:
            _children.popitem()[1].kill()
