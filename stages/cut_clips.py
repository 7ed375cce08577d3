"""Cut videos into clips, with their captions.

Reads  a source  a table of web addresses or paths of videos (with start, end and caption, or a table of conversations),
                 a folder of videos with texts beside them, WebDataset tars, or Parquet with the bytes of videos
       videos    files and tars that the table's paths lead to, where they are not in the source itself
Makes  RawClips  parts: clips.tar of {key}.00000.jpg ... or {key}.mp4, with {key}.txt and {key}.json, and
                 samples.parquet, a row for each clip, and one for each row of the source that gave none

A video is probed and decoded in a process of its own, under limits on bytes, time, pixels and memory, and never opens
another file. A clip begins and ends where its row says, at scene boundaries, or where it would become too long; its
text is that of its row, of the file beside the video, or of the subtitles in its stretch of time. Stored as frames or
as packets, it gives the same pictures at the same times.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from neo_model.inputs.frame_sampling import FrameSampling
from stages.artifacts.kinds import RawClips
from stages.artifacts.records import total
from stages.contract import Part, PartDraft, PartRecord, PinnedSource, Source, StageContext, StageError, conduct, stage
from stages.cutting.clip_table import ClipWriter, reserved_columns
from stages.cutting.cut_video import CutRule, Cutter, Store
from stages.cutting.film_names import VideoForm, guess_video_form, is_video, table_part
from stages.cutting.folder_videos import FileSource, FolderVideos, folder_parts
from stages.cutting.listed import VideoList
from stages.cutting.parquet_videos import ParquetVideos, matched_columns
from stages.cutting.parts import CutTask, files_to_index, parquet_parts, tar_parts
from stages.cutting.reasons import ClipReason
from stages.cutting.stretches import CutAt, LengthRule
from stages.cutting.table_videos import ROW_COLUMNS, TableVideos, with_video_names
from stages.cutting.tar_videos import TarVideos
from stages.cutting.texts import CaptionsFrom
from stages.cutting.video_index import VIDEO_PHASES, VideoIndex, index_videos
from stages.download.engines.interface import FetchLimits
from stages.download.part_health import check_downloader, check_network
from stages.download.reasons import Reason
from stages.formats.clips import FrameFacts
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.importing.forms import is_tar
from stages.importing.parquet_pairs import open_parquet
from stages.importing.parts import FileIndex, IndexTask
from stages.importing.read_part import stretches
from stages.origins.files import hosts_of, open_file
from stages.origins.row_files import WantedRows
from stages.origins.row_parts import ROW_PHASES, PartRowReader, tabulate
from stages.origins.table_recipe import TableRecipe
from stages.video.limits import VideoLimits
from stages.video.reader import VideoReader

PHASE = "cut"
"""The phase whose parts hold clips."""
INDEX_PHASE = "index"
"""The phase that reads the layout of Parquet files and of very large tars."""


class CutClipsRecipe(TableRecipe):
    """Which videos are cut, where clips begin and end, and what is kept of them."""

    source: Source
    """The videos, or a table of them: files in a folder, tars, Parquet with their bytes, or one or many files of
    Parquet, CSV, TSV, JSONL, JSON or text that name them."""
    form: VideoForm | None = None
    """How the source holds its videos: a `table` of addresses or paths, `parquet` with their bytes, `webdataset` tars,
    or files of a `folder`; None guesses it from the names of the files."""
    videos: Source | None = None
    """The folder or tars that hold the videos which the table names by paths; None where it names none, or where they
    are in the source of the table."""
    path_prefix: str = ""
    """Beginning of the paths in the table that the source of videos does not have, such as `/data/videos/`."""
    captions: CaptionsFrom = "any"
    """Where captions come from: `text` takes the column `caption` of a row or the text beside a video, `subtitles` the
    words that are spoken in the stretch of the clip, `any` the first of the two that there is, `none` neither."""
    needs_caption: bool = False
    """Whether a clip without text is dropped. Videos of conversations have none."""
    cut_at: CutAt = "nothing"
    """Whether the stretch that a row asks for (from its `start` to its `end`, or the whole video) is one clip, or is
    cut where the scene changes (`scenes`)."""
    scene_threshold: float = Field(default=27.0, gt=0)
    """The difference of two frames from which on the scene counts as changed: of hue, saturation and brightness, on
    average, of 255."""
    min_clip_seconds: float = Field(default=0.0, ge=0)
    """Shortest clip, in seconds; shorter ones are dropped."""
    max_clip_seconds: float | None = Field(default=None, gt=0)
    """Longest clip, in seconds; None for any."""
    longer: Literal["cut", "drop"] = "cut"
    """Whether a longer stretch is cut into as few pieces of equal length as will do, each with the text of its row or
    its own subtitles, or dropped."""
    sampling: FrameSampling = FrameSampling(frames_per_second=1.0, max_frames=128)
    """Which frames of a clip are taken. One a second and at most 128, as the papers say of training; by which rule
    training frames are spread they do not say, so this is the rule of their evaluation. Frames are counted, not timed:
    in a video of variable rate they lie closer together where it has more frames in a second."""
    store: Store = "frames"
    """Whether JPEG files of these frames are kept, or `packets` of the video: remuxed, with nothing lost by compressing
    again, and decoded whenever they are read. Both give the same pictures."""
    check_packets: bool = True
    """Whether the frames of packets are decoded once before they are kept, so that no later step meets one that cannot
    be. False keeps packets unseen, without any decoding; a damaged one then stops the step that reads it."""
    max_frame_px: int = Field(default=360 * 640, ge=1)
    """Largest frame that is kept, width times height, in pixels; larger ones are made smaller."""
    jpeg_quality: int = Field(default=90, ge=1, le=100)
    """JPEG quality of the frames."""
    limits: VideoLimits = VideoLimits(max_file_bytes=2 * 2**30)
    """Limits under which one video is fetched and decoded."""
    allow_hosts: tuple[Annotated[str, Field(pattern=r"^\.?[0-9a-z_:-]+(\.[0-9a-z_-]+)*$")], ...] = ()
    """Hosts that may lie on a private network or on this machine, such as "videos.corp.example" or "127.0.0.1", and
    suffixes of such hosts (".corp.example"); all others must be on the public internet."""
    fetch_seconds: float = Field(default=600.0, gt=0)
    """Time for one try to fetch a video, from resolving the name to the last byte, redirects included, in seconds."""
    num_tries: int = Field(default=2, ge=1)
    """Tries for an address whose failure another try may mend, the first one included."""
    num_videos_per_part: int = Field(default=100, ge=1, le=10_000)
    """Rows of a table, files of a folder, or rows of Parquet at least, in one part, which is the unit of work that is
    repeated when a worker dies. A tar is one part."""
    max_tar_bytes: int = Field(default=4 * 2**30, ge=1)
    """Largest tar that is read as one part, in bytes. A larger one is indexed first and read in stretches of this size,
    unless the members of its samples lie apart."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the rows that may be lost for one reason before the step fails; 1 takes anything."""

    @property
    def may_cut_rows(self) -> bool:
        """Whether a row may become several clips."""
        return self.cut_at != "nothing" or (self.max_clip_seconds is not None and self.longer == "cut")

    @property
    def wanted(self) -> WantedRows:
        """What is wanted of a table."""
        return WantedRows(
            num_rows_per_part=self.num_videos_per_part,
            text=ROW_COLUMNS[1:],
            further=("video",),
            optional=ROW_COLUMNS[1:],
            naming=ROW_COLUMNS,
            mapping=self.columns,
            options=self.table_options,
            reserved=reserved_columns() - set(ROW_COLUMNS),
            change=with_video_names,
        )

    @property
    def fetch_limits(self) -> FetchLimits:
        """The fields by which videos are fetched."""
        return FetchLimits(
            deadline_seconds=self.fetch_seconds,
            num_tries=self.num_tries,
            max_body_bytes=self.limits.max_file_bytes,
            allow_hosts=self.allow_hosts,
        )

    @property
    def cut_rule(self) -> CutRule:
        """The fields that decide what becomes of a video."""
        length = LengthRule(
            min_clip_seconds=self.min_clip_seconds, max_clip_seconds=self.max_clip_seconds, longer=self.longer
        )
        return CutRule(
            cut_at=self.cut_at,
            length=length,
            scene_threshold=self.scene_threshold,
            captions=self.captions,
            needs_caption=self.needs_caption,
            sampling=self.sampling,
            store=self.store,
            check_packets=self.check_packets,
            max_frame_px=self.max_frame_px,
            jpeg_quality=self.jpeg_quality,
        )


def cut_videos(part: Part, draft: PartDraft, videos: VideoList, recipe: CutClipsRecipe) -> None:
    """Cut the videos of one part, one after the other, by one decoder."""
    number = int(part.name)
    schema = videos.carried_schema
    with (
        VideoReader(recipe.limits) as reader,
        ClipWriter(draft, recipe.source.name, number, schema) as writer,
    ):
        cutter = Cutter(reader, writer, recipe.cut_rule)
        for num_videos, (video, outcome) in enumerate(videos.videos(), start=1):
            cutter.cut(video, outcome)
            draft.progress(num_videos)
    limits = VideoLimits.model_validate(recipe.limits.model_dump())  # all of them count as given, and are recorded
    writer.close(FrameFacts(max_frame_px=recipe.max_frame_px, jpeg_quality=recipe.jpeg_quality, limits=limits))


def cut_rows(
    part: Part,
    draft: PartDraft,
    *,
    reader: PartRowReader,
    place: str,
    index: VideoIndex | None,
    recipe: CutClipsRecipe,
) -> None:
    """Cut the videos that some rows of a table name; the source of the table lies at `place`."""
    with hosts_of(place) as routes:
        videos = TableVideos(
            rows=reader.read(part),
            source=recipe.source.name if recipe.videos is None else recipe.videos.name,
            index=index,
            limits=recipe.fetch_limits,
            routes=routes,
            scratch=draft.scratch,
        )
        cut_videos(part, draft, videos, recipe)
    check_network(videos.hosts, videos.outcomes)
    check_downloader(videos.outcomes, videos.remarks)
    draft.annotate(num_asked=len(videos.hosts), unexplained=videos.remarks)


def cut_files(part: Part, draft: PartDraft, *, place: str, index: VideoIndex | None, recipe: CutClipsRecipe) -> None:
    """Cut the videos of some files of the source, which lies at `place`."""
    task = CutTask.of(part)
    source, max_file_bytes = recipe.source.name, recipe.limits.max_file_bytes
    videos: VideoList
    if task.rows is not None:
        videos = ParquetVideos(
            task=task.rows,
            place=place,
            source=source,
            columns=recipe.columns,
            index=index,
            reserved=reserved_columns(),
            max_file_bytes=max_file_bytes,
            scratch=draft.scratch,
        )
    else:
        files = FileSource(
            place=place,
            source=source,
            captions=recipe.captions,
            columns=recipe.columns,
            max_file_bytes=max_file_bytes,
            scratch=draft.scratch,
        )
        if task.folder is not None:
            videos = FolderVideos(task.folder, files)
        else:
            assert task.tar is not None
            videos = TarVideos(task.tar, files)
    cut_videos(part, draft, videos, recipe)


def index_part(part: Part, draft: PartDraft, place: str, recipe: CutClipsRecipe) -> None:
    """Find the row groups of a Parquet file, whose columns are checked, or the stretches of a large tar."""
    file = IndexTask.of(part).file
    with open_file(place, file) as opened:
        if not file.path.lower().endswith(".parquet"):
            draft.fact(**FileIndex(starts=stretches(opened, recipe.max_tar_bytes)).dump())
            return
        table = open_parquet(opened, file.path)
        matched_columns(table.schema_arrow, recipe.columns, file.path)
        groups = range(table.metadata.num_row_groups)
        draft.fact(**FileIndex(group_rows=[table.metadata.row_group(number).num_rows for number in groups]).dump())


def file_parts(ctx: StageContext, pinned: PinnedSource, form: VideoForm, recipe: CutClipsRecipe) -> list[Part]:
    """The parts of a source that is no table of names, some of its files indexed first."""
    if form == "folder":
        parts = folder_parts(pinned.files, recipe.num_videos_per_part)
        if not parts:
            raise StageError(f"source {pinned.name!r} has {len(pinned.files):,} files, and no video among them")
        return parts
    files = files_to_index(form, pinned.files, recipe.max_tar_bytes)
    over = [Part(name=f"file_{number:05d}", task=IndexTask(file=file).dump()) for number, file in enumerate(files)]
    indexes: dict[str, FileIndex] = {}
    if over:
        work = partial(index_part, place=pinned.place, recipe=recipe)
        records = ctx.spread(work, over=over, phase=INDEX_PHASE)
        indexes = {file.path: FileIndex.of(record) for file, record in zip(files, records, strict=True)}
    if form == "webdataset":
        return tar_parts(pinned.files, indexes)
    return parquet_parts(pinned.files, indexes, recipe.num_videos_per_part)


def check_cut(records: Iterable[PartRecord], source: str, max_share_lost: float) -> None:
    """Raise `StageError` where no row names a video, or too many are lost; repeated rows and rows without one are not.

    Of a table of conversations most rows may be about pictures, or about the video of an earlier row.
    """
    records = list(records)
    balance = total(record.items for record in records)
    if balance.total and balance.dropped.get(ClipReason.NAMES_NO_VIDEO, 0) == balance.total:
        raise StageError(
            f"no row of source {source!r} names a video; where a column of another name does, say "
            "columns={'video': '...'}"
        )
    check_losses(records, max_share_lost, items="rows", no_loss={Reason.REPEATED_ROW, ClipReason.NAMES_NO_VIDEO})


@stage(number=1, recipe=CutClipsRecipe, makes=RawClips, phases=(*VIDEO_PHASES, INDEX_PHASE, *ROW_PHASES, PHASE))
def cut_clips(recipe: CutClipsRecipe, *, ctx: StageContext) -> None:
    """List the videos, find those that a table names by paths, then cut each."""
    pinned = ctx.pinned(recipe.source)
    form = recipe.form or guess_video_form(pinned)
    others = pinned if recipe.videos is None else ctx.pinned(recipe.videos)
    holds_videos = recipe.videos is not None or (
        form == "table" and any(is_video(file.path) or is_tar(file.path) for file in pinned.files)
    )
    index = index_videos(ctx, others, recipe.path_prefix) if holds_videos else None
    if form == "table":
        rows = tabulate(ctx, table_part(pinned), recipe.wanted)
        work = partial(cut_rows, reader=rows.reader, place=pinned.place, index=index, recipe=recipe)
        # What a part gives is checked against its rows where each row gives one row, and cannot be otherwise.
        changed = {"num_items": None} if recipe.may_cut_rows else {}
        records = ctx.spread(work, over=[part.model_copy(update=changed) for part in rows.parts], phase=PHASE)
    else:
        parts = file_parts(ctx, pinned, form, recipe)
        records = ctx.spread(
            partial(cut_files, place=pinned.place, index=index, recipe=recipe), over=parts, phase=PHASE
        )
    check_cut(records, pinned.name, recipe.max_share_lost)
