"""What a source lists: videos, the clips that are wanted of each, and where the file of a video is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from stages.cutting.subtitles import Cue
from stages.formats.sample_table import ItemReason
from stages.origins.sample_id import Fields

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedClip:
    """A stretch of a video that a source asks for, before the video is known."""

    fields: Fields
    """What identifies the row: its video, times and caption as the source spells them."""
    ordinal: int = 0
    """How many rows before it have the same fields."""
    start_seconds: float | None = None
    """Where it begins; None for the first frame."""
    end_seconds: float | None = None
    """Where it ends; None for the end of the video."""
    caption: str | None = None
    """The cleaned text of the whole stretch; None where the source has none."""
    reason: ItemReason | None = None
    """Why there is no such clip, where that is known without the video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVideo:
    """A video that a source lists."""

    reference: str
    """Its name in the source: conversations find it by this."""
    url: str
    """Its web address, or `source:path`."""
    wanted: Sequence[WantedClip]
    """The clips that are wanted of it; at least one."""
    carried: pa.Table
    """Columns of the user's own, a row for each wanted clip."""
    cues: Sequence[Cue] = ()
    """Its subtitles."""


class VideoFile(NamedTuple):
    """The file of a video on this machine, for as long as its work lasts."""

    path: Path
    sha256: bytes | None
    """Digest of the file where it is known; None where it must be computed."""


VideoOutcome: TypeAlias = VideoFile | ItemReason
"""The file of a video, or why there is none."""


class VideoList(Protocol):
    """The videos of one part."""

    @property
    def carried_schema(self) -> pa.Schema:
        """The columns that are carried along, which the carried rows of every video have."""

    def videos(self) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        """Each video with its file, in order. A file is removed when the next video is asked for."""
