"""Finds the video that a table means by a path, among millions of files and members of tars.

    phase `videos`   videos_NN.parquet   every name of the videos of some files, by slots, with their places
    phase `names`    names_NN.parquet    the names of one slot, sorted by digest, in small row groups

A part of the last phase reads, for each of its names, one row group of one file: nothing grows with the source but the
list of files that its pin holds. A file is called by its path. A member of `a/train.tar` is called by its own name, by
`a/train.tar/NAME` and by `a/train/NAME`, which is what it would be called if the tar were unpacked beside itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import xxhash
from pydantic import Field

from stages.artifacts.phase_files import read_stretch
from stages.collecting.distinct import NameSlots, local_name
from stages.collecting.slots import read_slots, slot_of, slot_ranges, write_slots
from stages.contract import (
    Part,
    PartDraft,
    PartFacts,
    PartRecord,
    PartTask,
    PinnedFile,
    PinnedSource,
    StageContext,
    StageError,
)
from stages.cutting.film_names import is_video, seen_files
from stages.cutting.reasons import ClipReason
from stages.cutting.video_files import VideoPlace
from stages.formats.sample_table import ItemReason
from stages.importing.forms import is_tar
from stages.importing.picture_folder import plain_path
from stages.importing.tar_members import TarBrokenError, tar_members
from stages.origins.files import open_file
from stages.store.range_stream import buffered_ranges
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow.parquet as pq

VIDEO_PHASES: Final = ("videos", "names")
"""The phases of `index_videos`, in order."""
VIDEOS: Final = "videos"
"""Files of phase `videos`, by slots of names."""
FILES_PER_PART: Final = 10_000
"""Files of a folder that one part lists."""
ROWS_PER_GROUP: Final = 4096
"""Names that are read to find one."""
READ_BYTES: Final = 256 * 1024
"""Bytes that one request for a file of names asks for at least."""


class VideoFiles(PartTask):
    """The task of a part that lists videos: a tar, or some files of a folder."""

    tar: PinnedFile | None = None
    """A tar whose members are listed; None for files of a folder."""
    files: list[PinnedFile] = Field(default_factory=list)
    """Files of a folder that are videos themselves."""


class NumNames(PartFacts):
    """What such a part records."""

    num_names: int
    """Names that it listed."""


class NameFiles(PartFacts):
    """What a part of phase `names` records."""

    sizes_bytes: dict[str, int]
    """File to its length, by which it is read."""


@dataclass(frozen=True)
class VideoIndex:
    """Finds videos by the names that a table has for them. Pickles; holds a key for each slot."""

    store: Store
    place: str
    """Place of the source of videos."""
    prefix: str
    """Beginning of the names in the table that the source does not have."""
    keys: Mapping[int, tuple[str, int]]
    """Slot to key and length of its file of names."""
    _opened: dict[int, pq.ParquetFile] = field(default_factory=dict, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return VideoIndex, (self.store, self.place, self.prefix, self.keys)

    def find(self, name: str) -> VideoPlace | ItemReason:
        """The place of the video that is called `name`, or why there is none."""
        local = local_name(name, self.prefix)
        if isinstance(local, ItemReason):
            return local
        slot = slot_of(local)
        if slot not in self.keys:
            return ClipReason.VIDEO_MISSING
        rows = [row for row in self._rows(slot, _digest(local)) if row["name"] == local]
        if not rows:
            return ClipReason.VIDEO_MISSING
        return (
            VideoPlace(*(rows[0][one] for one in VideoPlace._fields))
            if len(rows) == 1
            else (ClipReason.VIDEO_AMBIGUOUS)
        )

    def _rows(self, slot: int, digest: int) -> Iterator[dict[str, Any]]:
        """The names with this digest: one row group is read, or two where it begins one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if slot not in self._opened:
            self._opened[slot] = self._open(slot)
        file = self._opened[slot]
        for number in range(file.num_row_groups):
            bounds = file.metadata.row_group(number).column(0).statistics
            if bounds.min <= digest <= bounds.max:
                rows = file.read_row_group(number, use_threads=False)
                yield from rows.filter(pc.equal(rows["digest"], pa.scalar(digest, pa.uint64()))).to_pylist()

    def _open(self, slot: int) -> pq.ParquetFile:
        import pyarrow as pa
        import pyarrow.parquet as pq

        key, size_bytes = self.keys[slot]
        stream = buffered_ranges(size_bytes, partial(read_stretch, self.store, key), READ_BYTES)
        return pq.ParquetFile(pa.PythonFile(cast("io.BufferedIOBase", stream), mode="r"), pre_buffer=False)


def index_videos(ctx: StageContext, pinned: PinnedSource, prefix: str) -> VideoIndex:
    """List the videos of a source and sort their names, in two phases."""
    listed = ctx.spread(partial(list_videos, place=pinned.place), over=parts_of_videos(pinned), phase=VIDEO_PHASES[0])
    ranges = slot_ranges(sum(NumNames.of(record).num_names for record in listed))
    over = [Part(name=f"names_{number:05d}", task=NameSlots(slots=one).dump()) for number, one in enumerate(ranges)]
    sorted_ = ctx.spread(partial(sort_names, store=ctx.store, listed=listed), over=over, phase=VIDEO_PHASES[1])
    keys = {
        int(entry.name.removeprefix("names_").removesuffix(".parquet")): (entry.key, entry.size_bytes)
        for record in sorted_
        for entry in record.files
    }
    return VideoIndex(ctx.store, pinned.place, prefix, keys)


def parts_of_videos(pinned: PinnedSource) -> list[Part]:
    """The parts that list the videos of a source. Raises `StageError` where there is none, or a tar is compressed."""
    files = seen_files(pinned.files)
    tars = plain_tars(files)
    videos = [file for file in files if is_video(file.path)]
    if not tars and not videos:
        raise StageError(f"source {pinned.name!r} has {len(pinned.files):,} files, and no video or tar among them")
    tasks = [VideoFiles(tar=tar) for tar in tars]
    tasks += [
        VideoFiles(files=videos[first : first + FILES_PER_PART]) for first in range(0, len(videos), FILES_PER_PART)
    ]
    return [Part(name=f"videos_{number:05d}", task=task.dump()) for number, task in enumerate(tasks)]


def plain_tars(files: Iterable[PinnedFile]) -> list[PinnedFile]:
    """The tars among some files. Raises `StageError` where one is compressed."""
    tars = [file for file in files if is_tar(file.path)]
    if packed := [file.path for file in tars if not file.path.lower().endswith(".tar")]:
        raise StageError(
            f"{packed[0]} is compressed, so that its videos cannot be read one by one, and videos do not become "
            "smaller by it; unpack it"
        )
    return tars


def list_videos(part: Part, draft: PartDraft, place: str) -> None:
    """List the videos of one part. A tar that breaks off gives those before the break."""
    import pyarrow as pa

    task = VideoFiles.of(part)
    named = [(plain_path(file.path), VideoPlace.of(file)) for file in task.files]
    if task.tar is not None:
        named += _of_tar(place, task.tar, draft)
    table = pa.Table.from_pylist([{"name": name, **where._asdict()} for name, where in named], _schema())
    write_slots(table, draft, VIDEOS)
    draft.fact(**NumNames(num_names=len(named)).dump())


def sort_names(part: Part, draft: PartDraft, store: Store, listed: Sequence[PartRecord]) -> None:
    """Sort the names of some slots. A name with the same place twice is one; with two places it stays twice."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for slot in NameSlots.of(part).slots:
        tables = list(read_slots(store, listed, [slot], VIDEOS))
        if not tables:
            continue
        rows = pa.concat_tables(tables).group_by(["name", *VideoPlace._fields]).aggregate([])
        digests = pa.array([_digest(name) for name in rows["name"].to_pylist()], pa.uint64())
        order = [("digest", "ascending"), ("name", "ascending"), ("path", "ascending"), ("offset", "ascending")]
        ordered = rows.add_column(0, "digest", digests).sort_by(order)
        pq.write_table(
            ordered, draft.path(f"names_{slot:02d}.parquet"), compression="zstd", row_group_size=ROWS_PER_GROUP
        )


def _of_tar(place: str, tar: PinnedFile, draft: PartDraft) -> list[tuple[str, VideoPlace]]:
    named: list[tuple[str, VideoPlace]] = []
    with open_file(place, tar) as opened:
        try:
            for member in tar_members(opened):
                if member.is_file and is_video(member.name):
                    where = VideoPlace(tar.path, tar.size_bytes, tar.etag, "", member.offset, member.size_bytes)
                    name = plain_path(member.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
                    name = name.removeprefix("./")
                    named += [(full, where) for full in sorted({name, f"{tar.path}/{name}", f"{tar.path[:-4]}/{name}"})]
        except TarBrokenError as error:
            draft.fact(broken={"path": tar.path, "reason": error.reason.value, "offset": error.offset})
    return named


def _digest(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))


def _schema() -> Any:
    import pyarrow as pa

    texts = [(one, pa.string()) for one in ("name", "path", "etag", "sha256")]
    numbers = [(one, pa.int64()) for one in ("file_bytes", "offset", "size_bytes")]
    kinds = dict([*texts, *numbers])
    return pa.schema([(one, kinds[one]) for one in ("name", *VideoPlace._fields)])
