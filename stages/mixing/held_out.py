"""Keeps held-out samples out of what a model is trained on.

Owns the rule by which a sample counts as held out, and a source without such samples. A sample is recognised by its
marks: its sample id; the bytes and the URL of each of its pictures; the file, the URL and the frames of each of its
clips; its text, where it has neither. A sample with one mark in common with any held-out sample is not drawn. Text
beside a picture is no mark: a caption or a question of five words belongs to thousands of pictures. Neither is a frame
alone: black ones and titles belong to thousands of videos. Two different frames that follow each other are one.

    mark/<part>      marks.parquet, a row for each mark of the held-out samples of one part
    hold_out/<part>  held_out.parquet, a row for each sample of one part of a source that is not drawn, and why

Marks are digests of 16 bytes, searched in sorted arrays. Each process holds 60 bytes for each mark of all held-out
samples, and nothing that grows with the sources. A held-out clip of 128 frames has 130 marks: 10,000 such clips are
78 MB.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress, pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from stages.artifacts.kinds import HELD_OUT_FILE, MARKS_FILE
from stages.artifacts.phase_files import read_entry, read_file
from stages.artifacts.records import FileEntry, PartRecord
from stages.contract import ItemBalance, Part, PartDraft, PartFacts
from stages.formats.clip_reader import ClipReader
from stages.formats.clips import Clip
from stages.formats.pairs import PairReader
from stages.formats.sample_sources import SampleSource, SourcePart
from stages.formats.sample_table import SAMPLE_ID_BYTES, read_table, sample_id_type, write_table
from stages.formats.samples import Sample
from stages.origins.clean_text import trim
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

HELD_OUT = "held_out"
"""The reason of samples that are not drawn because a model is examined on them."""


class HeldOutFacts(PartFacts):
    """What a part of phase `hold_out` records of one part of a source."""

    source: str
    """Name of the source in the mixture."""
    part: str
    """Part of the source."""
    num_held_out: int
    """Samples of the part that are held out."""


MarkKind: TypeAlias = Literal["sample_id", "picture", "video", "frames", "url", "text"]
"""Kinds of marks; their names stand in `marks.parquet` and `held_out.parquet`."""


def marks_of(sample: Sample) -> Iterator[tuple[MarkKind, bytes]]:
    """The marks of a sample, surest first: kind, and 16 bytes.

    A text has two, a sample with P pictures 1 + 2 P, a clip of n stored frames up to n + 2.
    """
    yield "sample_id", sample.sample_id
    for picture in sample.pictures:
        yield "picture", picture.image.sha256[:SAMPLE_ID_BYTES]
        yield "url", _digest(plain_url(picture.url))
    for clip in sample.clips:
        yield "video", clip.video_sha256[:SAMPLE_ID_BYTES]
        yield "url", _digest(plain_url(clip.url))
        yield from (("frames", mark) for mark in _frame_marks(clip))
    if not sample.pictures and not sample.clips:
        yield "text", _digest(plain_text(sample.text))


def _frame_marks(clip: Clip) -> Iterator[bytes]:
    """A mark of each two different frames that follow each other; of packets, one for all frames."""
    stored = list(dict.fromkeys(frame.sha256 for frame in clip.frames))
    if clip.frames and clip.frames[0].pts is not None:
        yield stored[0][:SAMPLE_ID_BYTES]
    for first, second in pairwise(stored):
        yield hashlib.sha256(first + second).digest()[:SAMPLE_ID_BYTES]


def plain_url(url: str) -> str:
    """A URL without what does not change the picture: scheme, fragment, and letter case of the host.

    `HTTPS://Example.org/A.jpg#top` gives `example.org/A.jpg`.
    """
    address = trim(url).partition("#")[0]
    host, slash, path = (address.partition("://")[2] or address).partition("/")
    return f"{host.lower()}{slash}{path}"


def plain_text(text: str) -> str:
    """A text without what readers ignore: letter case, amount of white space, compatibility characters.

    `The  CAT` gives `the cat`.
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:SAMPLE_ID_BYTES]


def mark_part(part: Part, draft: PartDraft, held_out: Mapping[str, SampleSource]) -> None:
    """List the marks of the samples of one part of a held-out artifact, in `marks.parquet`."""
    import pyarrow as pa

    task = SourcePart.of(part)
    name, samples = task.source, held_out[task.source].samples(task.part)
    marked = [(mark, sample.sample_id) for sample in samples for mark in marks_of(sample)]
    table = pa.table(
        {
            "mark": pa.array([mark for (_, mark), _ in marked], sample_id_type()),
            "kind": pa.array([kind for (kind, _), _ in marked], pa.string()).dictionary_encode(),
            "name": pa.array([name] * len(marked), pa.string()).dictionary_encode(),
            "sample_id": pa.array([sample_id for _, sample_id in marked], sample_id_type()),
        }
    )
    write_table(table, draft.path(MARKS_FILE))


@dataclass(frozen=True)
class Marks:
    """The marks of all held-out samples, sorted."""

    digests: NDArray[np.bytes_]
    """[M] marks of 16 bytes, rising."""
    table: pa.Table
    """[M] columns `kind` of each mark, `name` of the held-out artifact, and `sample_id` in it."""

    def find(self, samples: Iterable[Sample]) -> dict[int, dict[str, Any]]:
        """Number of each held-out sample among `samples` to the row of `table` of the surest mark in common."""
        import numpy as np

        wanted = [(number, kind, mark) for number, sample in enumerate(samples) for kind, mark in marks_of(sample)]
        digests = np.array([mark for *_, mark in wanted], self.digests.dtype)
        indexes = np.searchsorted(self.digests, digests)
        is_hit = self.digests[np.minimum(indexes, len(self.digests) - 1)] == digests
        held_out: dict[int, dict[str, Any]] = {}
        for hit in np.flatnonzero(is_hit).tolist():
            number = wanted[hit][0]
            held_out[number] = held_out.get(number) or self.table.slice(int(indexes[hit]), 1).to_pylist()[0]
        return held_out


@lru_cache(maxsize=1)
def load_marks(store_url: str, entries: tuple[FileEntry, ...]) -> Marks:
    """The marks in these files. The last result is cached: a worker loads them once for all its parts."""
    import numpy as np
    import pyarrow as pa

    store = Store(store_url)
    tables = [read_table(read_entry(store, entry)) for entry in entries]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    digests = np.frombuffer(table["mark"].chunk(0).buffers()[1], f"S{SAMPLE_ID_BYTES}")
    order = np.argsort(digests, kind="stable")
    return Marks(digests[order], table.drop_columns("mark").take(pa.array(order)))


def hold_out_part(
    part: Part, draft: PartDraft, sources: Mapping[str, SampleSource], store: Store, marks: tuple[FileEntry, ...]
) -> None:
    """List the held-out samples of one part of a source, in `held_out.parquet`."""
    import pyarrow as pa

    task = SourcePart.of(part)
    source = sources[task.source]
    hits = load_marks(store.url, marks).find(source.samples(task.part))
    table = source.table(task.part).select(["sample_id", "position"])
    rows = [{**table.slice(number, 1).to_pylist()[0], **_known(mark)} for number, mark in hits.items()]
    kinds = {"sample_id": sample_id_type(), "position": pa.int32(), "by": pa.string()}
    kinds |= {"held_out_in": pa.string(), "held_out_sample_id": sample_id_type()}
    write_table(pa.Table.from_pylist(rows, pa.schema(kinds)), draft.path(HELD_OUT_FILE))
    draft.count(ItemBalance(kept=table.num_rows - len(rows), dropped={HELD_OUT: len(rows)} if rows else {}))
    draft.fact(**HeldOutFacts(source=task.source, part=task.part, num_held_out=len(rows)).dump())


def _known(mark: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that say which mark a sample has in common with which held-out sample."""
    return {"by": mark["kind"], "held_out_in": mark["name"], "held_out_sample_id": mark["sample_id"]}


@dataclass(frozen=True)
class Trainable:
    """A source without its held-out samples."""

    source: SampleSource
    """The source with all its kept samples."""
    store: Store
    """Store that holds the lists of held-out samples."""
    held_out: Mapping[str, PartRecord]
    """Part to its record of phase `hold_out`, for parts with held-out samples."""

    @classmethod
    def of(cls, name: str, source: SampleSource, store: Store, records: Sequence[PartRecord]) -> Trainable:
        """The source called `name` without the samples that the `records` of phase `hold_out` list."""
        facts = {HeldOutFacts.of(record): record for record in records}
        mine = {one.part: record for one, record in facts.items() if one.source == name and one.num_held_out}
        return cls(source, store, mine)

    @property
    def num_kept(self) -> dict[str, int]:
        """Samples of each part that may be drawn."""
        return {part: number - self.num_held_out(part) for part, number in self.source.num_kept.items()}

    @property
    def pictures(self) -> PairReader | None:
        """Reads the pictures of the samples; None where there are none."""
        return self.source.pictures

    @property
    def clips(self) -> ClipReader | None:
        """Reads the clips of the samples; None where there are none."""
        return self.source.clips

    def num_held_out(self, part: str) -> int:
        """Held-out samples of a part."""
        return HeldOutFacts.of(self.held_out[part]).num_held_out if part in self.held_out else 0

    def table(self, part: str) -> pa.Table:
        """The rows of a part's table that may be drawn."""
        table = self.source.table(part)
        return table.filter(self._is_trainable(part, table)) if part in self.held_out else table

    def samples(self, part: str) -> Iterator[Sample]:
        """The samples of a part that may be drawn."""
        samples = self.source.samples(part)
        if part not in self.held_out:
            return samples
        return compress(samples, self._is_trainable(part, self.source.table(part)).to_pylist())

    def _is_trainable(self, part: str, table: pa.Table) -> pa.ChunkedArray:
        """Whether each row of a part's table may be drawn, as a column of bool."""
        import pyarrow.compute as pc

        held_out = read_file(self.store, self.held_out[part], HELD_OUT_FILE)
        return pc.invert(pc.is_in(table["position"], value_set=read_table(held_out)["position"].combine_chunks()))
