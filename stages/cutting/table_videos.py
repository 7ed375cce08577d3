"""Videos that a table names: by web addresses, or by paths in a source of videos.

A row asks for a stretch of a video (`start`, `end`, `caption`), or for the whole of it. Rows of one part with the same
video are cut from one copy of it, so a table whose rows of a video stand together gets each video once or twice. A
record of a conversation is a row like any other: its turns are left out, and the second row with the same video, times
and caption is a repeated row. A row with a list of videos is a row for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stages.conversations.videos.clock_times import seconds_of
from stages.cutting.listed import ListedVideo, VideoFile, VideoOutcome, WantedClip
from stages.cutting.reasons import ClipReason
from stages.cutting.texts import cleaned
from stages.cutting.video_files import opened_video
from stages.cutting.video_index import VideoIndex
from stages.download.address import parse_address
from stages.download.engines.interface import FetchFailure, FetchLimits, FetchTask
from stages.download.file_fetching import fetch_files
from stages.download.reasons import Reason, RowError
from stages.formats.sample_table import ItemReason, text_column
from stages.origins.routes import Routes
from stages.origins.row_parts import PartRows
from stages.origins.sample_id import Fields
from stages.origins.tables.row_batches import MALFORMED
from stages.origins.web_address import WebAddress

if TYPE_CHECKING:
    import pyarrow as pa

ROW_COLUMNS: Final = ("video", "start", "end", "caption")
"""Columns of a row, from which its sample id is hashed."""
TURN_COLUMNS: Final = frozenset({"messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat"})
"""Columns that hold the turns of a conversation, which are not carried along with clips."""
WEB_STARTS: Final = ("http://", "https://")
MAX_REMARKS: Final = 5
"""Remarks about unexplained failures that are kept of one part."""


def with_video_names(table: pa.Table) -> pa.Table:
    """The rows of a table with the names of their videos as text, and without the turns of conversations."""
    import pyarrow as pa

    from stages.origins.tables.batches import plain_values

    kept = table.select([name for name in table.column_names if name not in TURN_COLUMNS])
    if "video" not in kept.column_names:
        return kept.append_column("video", pa.nulls(kept.num_rows, pa.string()))
    at = kept.column_names.index("video")
    names = [names_in(value) for value in plain_values(kept.column(at), kept.schema.field(at))]
    rows = [row for row, found in enumerate(names) for _ in found]
    column = pa.array([name for found in names for name in found], pa.string())
    return kept.take(pa.array(rows, pa.int64())).set_column(at, "video", column)


def names_in(value: Any) -> list[str | None]:
    """The videos that a value names; [None] where it names none, so that the row is not lost."""
    if isinstance(value, list):
        return [name for one in value for name in names_in(one)] or [None]
    if isinstance(value, Mapping):
        return names_in(next((value[one] for one in ("path", "url", "video") if value.get(one)), None))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    return [value if isinstance(value, str) and _is_utf8(value) and value.strip() else None]


def is_web_address(name: str) -> bool:
    """Whether a video is asked for on the web: its name has a scheme, whichever it is."""
    return name.lower().startswith(WEB_STARTS) or "://" in name[:32]


@dataclass
class TableVideos:
    """The videos of some rows of a table; a `VideoList`."""

    rows: PartRows
    source: str
    """Name of the source, which begins the URL of a video that is no web address."""
    index: VideoIndex | None
    """Finds videos by paths; None where there is no source of videos."""
    limits: FetchLimits
    routes: Routes
    scratch: Path
    hosts: list[str] = field(default_factory=list)
    """Host of each video that was asked for on the web, once it has ended."""
    outcomes: list[object] = field(default_factory=list)
    """How each of them ended."""
    remarks: list[str] = field(default_factory=list)
    """Words about the first few unexplained failures."""

    @property
    def carried_schema(self) -> pa.Schema:
        """The columns of the table but those of a row."""
        import pyarrow as pa

        return pa.schema([one for one in self.rows.table.schema if one.name not in ROW_COLUMNS])

    def videos(self) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        """Each video of the rows once, in the order of its first row; those of the web are fetched meanwhile."""
        listed = self._listed()
        addresses = [_address_of(video) for video in listed]
        asked = [address for address in addresses if isinstance(address, WebAddress)]
        task = FetchTask(urls=[one.url for one in asked], routes=self.routes, limits=self.limits, scratch=self.scratch)
        with closing(fetch_files(task)) as fetched:
            for video, address in zip(listed, addresses, strict=True):
                if isinstance(address, WebAddress):
                    yield video, self._taken(next(fetched), address)
                elif address is None:
                    yield from self._from_index(video)
                else:
                    yield video, address

    def _taken(self, fetched: Path | FetchFailure, address: WebAddress) -> VideoOutcome:
        self.hosts.append(address.host)
        if isinstance(fetched, Path):
            self.outcomes.append(fetched)
            return VideoFile(fetched, None)
        self.outcomes.append(fetched.reason)
        if fetched.remark and len(self.remarks) < MAX_REMARKS:
            self.remarks.append(fetched.remark)
        return fetched.reason

    def _from_index(self, video: ListedVideo) -> Iterator[tuple[ListedVideo, VideoOutcome]]:
        where = ClipReason.VIDEO_MISSING if self.index is None else self.index.find(video.reference)
        if self.index is None or isinstance(where, ItemReason):
            yield video, where if isinstance(where, ItemReason) else ClipReason.VIDEO_MISSING
            return
        with opened_video(self.index.place, where, self.scratch, self.limits.max_body_bytes) as outcome:
            yield video, outcome

    def _listed(self) -> list[ListedVideo]:
        """The videos of the rows, each with all its rows."""
        table = self.rows.table
        wanted = list(self._wanted())
        carried = table.select(self.carried_schema.names)
        by_name: dict[str | None, list[int]] = {}
        for row, name in enumerate(table["video"].to_pylist()):
            by_name.setdefault(name, []).append(row)
        return [
            ListedVideo(
                reference=name or "",
                url=name if name is not None and is_web_address(name) else f"{self.source}:{name or ''}",
                wanted=[wanted[row] for row in rows],
                carried=carried.take(rows),
            )
            for name, rows in by_name.items()
        ]

    def _wanted(self) -> Iterator[WantedClip]:
        table = self.rows.table
        nothing = [None] * table.num_rows
        columns = {
            name: text_column(table, name, "table of videos") if name in table.column_names else nothing
            for name in ROW_COLUMNS
        }
        errors = table[MALFORMED].to_pylist()
        for row, fields in enumerate(zip(*(columns[name] for name in ROW_COLUMNS), strict=True)):
            reason = None if errors[row] is None else Reason.MALFORMED_ROW
            yield wanted_clip(fields, self.rows.ordinals.get(row, 0), reason)


def wanted_clip(fields: Fields, ordinal: int, reason: ItemReason | None = None) -> WantedClip:
    """What a row with these video, start, end and caption asks for; a repeated row asks for nothing."""
    video, start, end, caption = fields
    if reason is None and video is None:
        reason = ClipReason.NAMES_NO_VIDEO
    if reason is None and ordinal:
        reason = Reason.REPEATED_ROW
    text = cleaned(caption)
    times: list[float | None] = [None, None]
    try:
        times = [seconds_of((one or b"").decode()) for one in (start, end)]
    except ValueError:
        reason = reason or ClipReason.BAD_TIMES
    if isinstance(text, ItemReason):
        text, reason = None, reason or text
    return WantedClip(
        fields=fields,
        ordinal=ordinal,
        start_seconds=times[0],
        end_seconds=times[1],
        caption=text or None,
        reason=reason,
    )


def _address_of(video: ListedVideo) -> WebAddress | ItemReason | None:
    """The address of a video; why it is not asked for; None where it is a path. Nothing is got that no row wants."""
    if all(one.reason is not None for one in video.wanted):
        return ClipReason.VIDEO_MISSING
    if not is_web_address(video.reference):
        return None
    try:
        return parse_address(video.reference)
    except RowError as error:
        return error.reason


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
