"""Phase `sketch`: what pairs are compared by, and what is against each by itself.

    sketch.parquet   a row for each pair that the source kept: `sample_id`, `own_reason`, `num_pixels`, and digests of
                     64 bits: `url`, `picture`, `caption`, `hash`; null where it is not compared by that

Pairs of an earlier source that `dedup_pairs` made were sketched then: the rows of its kept pairs are copied, and no
picture is decoded twice.

Two different URLs or captions have one digest with a chance of 1 to 18 quintillion: among 390 million, one wrong
duplicate is to be expected in 240 runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import xxhash

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, PartFacts
from stages.duplicates.criteria import DuplicateReason
from stages.duplicates.parts_of_rows import JUDGED, SketchTask
from stages.duplicates.picture_hashes import UnhashedPictureError, UnreadablePictureError, picture_hash, tells_apart
from stages.formats.pairs import PairReader, StoredImage
from stages.formats.read_ahead import FileRange, joined, read_ahead
from stages.formats.sample_table import Verdict, read_table, sample_id_type, write_table
from stages.mixing.held_out import plain_text, plain_url

if TYPE_CHECKING:
    import pyarrow as pa

SKETCH_PHASE: Final = "sketch"
SKETCH_FILE: Final = "sketch.parquet"
STAGE_NAME: Final = "dedup_pairs"
"""The stage whose artifacts hold sketches."""
DIGEST_BYTES: Final = 8
DIGESTS: Final = ("url", "picture", "caption", "hash")
"""Columns of digests."""


class SketchFacts(PartFacts):
    """What a part of phase `sketch` records."""

    num_hashed: int
    """Pictures whose perceptual hash tells them apart."""
    num_unhashed: int
    """Pictures that it does not tell apart, as they are of one colour or change in one direction alone, and those that
    are too large to be decoded for it."""
    num_copied: int
    """Rows that were copied from an earlier sketch."""


@dataclass(frozen=True)
class Sketcher:
    """Sketches the parts of all sources. Pickles."""

    sources: Mapping[str, KeptPairs | RawPairs]
    """The earlier sources by name, and under `JUDGED` the one that is judged."""
    hashes_pictures: bool
    """Whether pictures are decoded, and compared by their perceptual hashes."""

    def sketch_part(self, part: Part, draft: PartDraft) -> None:
        """Sketch one part of a source."""
        task = SketchTask.of(part)
        table = None if task.source == JUDGED else self._sketched_before(self.sources[task.source], task.part)
        num_copied = 0 if table is None else table.num_rows
        if table is None:
            table = self._sketched(self.sources[task.source], task.part, draft)
        write_table(table, draft.path(SKETCH_FILE))
        num_readable = table["own_reason"].null_count if self.hashes_pictures else 0
        num_hashed = table.num_rows - table["hash"].null_count
        facts = SketchFacts(num_hashed=num_hashed, num_unhashed=num_readable - num_hashed, num_copied=num_copied)
        draft.fact(**facts.dump())

    def _sketched_before(self, source: Artifact, part: str) -> pa.Table | None:
        """The sketch of the pairs that an artifact of `dedup_pairs` kept in a part; None if it lacks what is needed."""
        import pyarrow.compute as pc

        if source.stage != STAGE_NAME:
            return None
        if self.hashes_pictures and source.head.recipe.get("max_near_bits") is None:
            return None
        sketched = source.part(f"sketch_{part}", SKETCH_PHASE)
        table = read_table(source.read(sketched.file(SKETCH_FILE)))
        verdicts = read_table(source.read(source.part(part, "judge").file(VERDICTS_FILE)), ["verdict"])
        return table.filter(pc.equal(verdicts["verdict"], Verdict.KEPT.value))

    def _sketched(self, source: KeptPairs | RawPairs, part: str, draft: PartDraft) -> pa.Table:
        import pyarrow as pa

        reader = PairReader(source)
        table = reader.read_table(part, [*_READ, "width_px", "height_px"])
        values: list[int | None] = [None] * table.num_rows
        reasons: list[DuplicateReason | None] = [None] * table.num_rows
        if self.hashes_pictures:
            values, reasons = _hashes(reader, _images(table, part), draft)
        digests = {
            "url": [_digest(plain_url(url)) for url in table["url"].to_pylist()],
            "picture": [int.from_bytes(sha256[:DIGEST_BYTES], "little") for sha256 in table["sha256"].to_pylist()],
            "caption": [_digest(plain_text(caption)) for caption in table["caption"].to_pylist()],
            "hash": values,
        }
        sides = [table[name].cast(pa.int64()).to_numpy() for name in ("width_px", "height_px")]
        return pa.table(
            {
                "sample_id": table["sample_id"].cast(sample_id_type()),
                "own_reason": pa.array([reason and reason.value for reason in reasons], pa.string()),
                "num_pixels": pa.array(sides[0] * sides[1], pa.int64()),
                **{name: pa.array(digests[name], pa.uint64()) for name in DIGESTS},
            }
        )


_READ: Final = ["sample_id", "url", "caption", "sha256", "image_offset", "image_size_bytes"]


def _digest(text: str) -> int | None:
    """A digest of a text; None for an empty one, which pairs have in common without being alike."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) if text else None


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
    hashes: dict[FileRange, int | None] = {}
    unreadable: set[FileRange] = set()

    def read(together: Sequence[FileRange]) -> tuple[Sequence[FileRange], bytes]:
        length = together[-1].offset + together[-1].size_bytes - together[0].offset
        return together, reader.images.read(together[0].file, together[0].offset, length)

    for together, data in read_ahead(reader.raw.store, read, joined(sorted(by_range))):
        for one in together:
            start = one.offset - together[0].offset
            picture = reader.images.checked(by_range[one], data[start : start + one.size_bytes])
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
