"""Phase `sketch`: what pairs are compared by, and what is against each by itself.

    sketch.parquet   a row for each pair that the source kept: `sample_id`, `own_reason`, `num_pixels`, and digests of
                     64 bits, null where it is not compared by that: `url`, `picture`, `caption`, `hash`; `caption_00`
                     to `caption_15` where captions are compared by likeness; with benchmarks, `benchmark` and
                     `benchmark_by`

Pairs of an earlier source that `dedup_pairs` made were sketched then: the rows of its kept pairs are copied, and no
picture is decoded twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, PartFacts
from stages.duplicates.benchmark_search import MarkFiles, in_benchmarks, marked_columns
from stages.duplicates.criteria import DuplicateReason
from stages.duplicates.measures.digests import bytes_digest, text_digest, url_digest
from stages.duplicates.measures.minhash import NUM_BANDS, band_columns
from stages.duplicates.measures.picture_hashes import (
    UnhashedPictureError,
    UnreadablePictureError,
    picture_hash,
    tells_apart,
)
from stages.duplicates.parts_of_rows import JUDGED, SketchTask
from stages.formats.pairs import PairReader, StoredImage
from stages.formats.read_ahead import FileRange
from stages.formats.sample_table import Verdict, read_table, sample_id_type, write_table

if TYPE_CHECKING:
    import pyarrow as pa

SKETCH_PHASE: Final = "sketch"
SKETCH_FILE: Final = "sketch.parquet"
JUDGE_PHASE: Final = "judge"
STAGE_NAME: Final = "dedup_pairs"
"""The stage whose artifacts hold sketches of pairs."""
CAPTION_RUN_WORDS: Final = 3
"""Words of the runs by which captions are alike."""
CAPTION_BANDS: Final = tuple(f"caption_{band:02d}" for band in range(NUM_BANDS))
"""Columns of the keys by which captions are compared by likeness."""
_READ: Final = ("sample_id", "url", "caption", "sha256", "image_offset", "image_size_bytes", "width_px", "height_px")


class SketchFacts(PartFacts):
    """What a part of phase `sketch` records."""

    num_hashed: int
    """Pictures whose perceptual hash tells them apart."""
    num_unhashed: int
    """Pictures that it does not tell apart, as they are of one colour or change in one direction alone, and those that
    are too large to be decoded for it."""
    num_copied: int
    """Rows that were copied from an earlier sketch."""


@dataclass(frozen=True, kw_only=True)
class Sketcher:
    """Sketches the parts of all sources. Pickles."""

    sources: Mapping[str, KeptPairs | RawPairs]
    """The earlier sources by name, and under `JUDGED` the one that is judged."""
    hashes_pictures: bool
    """Whether pictures are decoded, and compared by their perceptual hashes."""
    caption_likeness: float | None
    """Likeness by which captions are compared; None compares none by it."""
    marks: MarkFiles | None
    """Marks of benchmarks that no pair that is judged may have; None without benchmarks."""

    def sketch_part(self, part: Part, draft: PartDraft) -> None:
        """Sketch one part of a source."""
        task = SketchTask.of(part)
        source = self.sources[task.source]
        needed = {"min_caption_likeness": self.caption_likeness}
        table = None if task.source == JUDGED else sketched_before(source, task.part, STAGE_NAME, needed)
        if table is not None and self.hashes_pictures and source.head.recipe.get("max_near_bits") is None:
            table = None
        num_copied = 0 if table is None else table.num_rows
        if table is None:
            table = self._sketched(source, task, draft)
        write_table(table, draft.path(SKETCH_FILE))
        num_readable = num_hashed = 0
        if self.hashes_pictures:
            num_unreadable = table["own_reason"].to_pylist().count(DuplicateReason.PICTURE_UNREADABLE.value)
            num_readable, num_hashed = table.num_rows - num_unreadable, table.num_rows - table["hash"].null_count
        facts = SketchFacts(num_hashed=num_hashed, num_unhashed=num_readable - num_hashed, num_copied=num_copied)
        draft.fact(**facts.dump())

    def _sketched(self, source: KeptPairs | RawPairs, task: SketchTask, draft: PartDraft) -> pa.Table:
        import pyarrow as pa

        reader = PairReader(source)
        table = reader.read_table(task.part, _READ)
        captions = table["caption"].to_pylist()
        hashes: list[int | None] = [None] * table.num_rows
        reasons: list[DuplicateReason | None] = [None] * table.num_rows
        if self.hashes_pictures:
            hashes, reasons = _hashes(reader, _images(table, task.part), draft)
        sides = [table[name].cast(pa.int64()).to_numpy() for name in ("width_px", "height_px")]
        digests = {
            "url": pa.array([url_digest(url) for url in table["url"].to_pylist()], pa.uint64()),
            "picture": pa.array([bytes_digest(sha256) for sha256 in table["sha256"].to_pylist()], pa.uint64()),
            "caption": pa.array([text_digest(caption) for caption in captions], pa.uint64()),
            "hash": pa.array(hashes, pa.uint64()),
        }
        known: dict[str, pa.Array] = {}
        if self.marks is not None and task.source == JUDGED:
            benchmarks, kinds = in_benchmarks(self.marks, digests, captions)
            reasons = [
                reason or (None if name is None else DuplicateReason.IN_BENCHMARK)
                for reason, name in zip(reasons, benchmarks, strict=True)
            ]
            known = marked_columns(benchmarks, kinds)
        if self.caption_likeness is not None:
            digests |= band_columns(captions, self.caption_likeness, CAPTION_BANDS, run_words=CAPTION_RUN_WORDS)
        return pa.table(
            {
                "sample_id": table["sample_id"].cast(sample_id_type()),
                "own_reason": pa.array([reason and reason.value for reason in reasons], pa.string()),
                "num_pixels": pa.array(sides[0] * sides[1], pa.int64()),
                **digests,
                **known,
            }
        )


def sketched_before(source: Artifact, part: str, stage_name: str, needed: Mapping[str, object]) -> pa.Table | None:
    """The sketch of the rows that an artifact of this stage kept in a part; None where another stage made it.

    None as well where its recipe had other values of the fields of `needed`, but for those that are not needed, None.
    """
    import pyarrow.compute as pc

    asked = {name: value for name, value in needed.items() if value is not None}
    if source.stage != stage_name or any(source.head.recipe.get(name) != value for name, value in asked.items()):
        return None
    table = read_table(source.read(source.part(f"sketch_{part}", SKETCH_PHASE).file(SKETCH_FILE)))
    verdicts = read_table(source.read(source.part(part, JUDGE_PHASE).file(VERDICTS_FILE)), ["verdict"])
    return table.filter(pc.equal(verdicts["verdict"], Verdict.KEPT.value))


def _images(table: pa.Table, part: str) -> list[StoredImage]:
    rows = table.select(["sample_id", "sha256", "image_offset", "image_size_bytes"]).to_pylist()
    return [
        StoredImage(row["sample_id"], row["sha256"], row["image_offset"], row["image_size_bytes"], part) for row in rows
    ]


def _hashes(
    reader: PairReader, images: Sequence[StoredImage], draft: PartDraft
) -> tuple[list[int | None], list[DuplicateReason | None]]:
    """The perceptual hash of each picture, and what is against it. Pictures are read some 16 MiB at a time."""
    by_range: dict[FileRange, StoredImage] = {image.range: image for image in images}
    different = [by_range[one] for one in sorted(by_range)]
    hashes: dict[FileRange, int | None] = {}
    unreadable: set[FileRange] = set()
    for image, picture in zip(different, reader.images.together(different, ahead=True), strict=True):
        one = image.range
        try:
            value = picture_hash(picture)
            hashes[one] = value if tells_apart(value) else None
        except UnhashedPictureError:
            hashes[one] = None
        except UnreadablePictureError:
            hashes[one] = None
            unreadable.add(one)
        draft.progress(len(hashes))
    ranges = [image.range for image in images]
    reasons = [DuplicateReason.PICTURE_UNREADABLE if one in unreadable else None for one in ranges]
    return [hashes[one] for one in ranges], reasons
