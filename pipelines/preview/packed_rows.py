"""Packed rows as the model gets them: decoded tokens, what is supervised, pictures after resizing, positions.

The positions, picture grids and patches come from the functions that training uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from neo_model.config import PATCH_PX
from neo_model.inputs.conversation import special_ids
from neo_model.inputs.positions import check_images, image_spans, thw_positions
from pipelines.exits import BadCommandError
from pipelines.preview.items import Preview, PreviewItem, PreviewPicture, PreviewSpan, PreviewStrip, SpanRole
from pipelines.preview.thumbnails import AS_GOT_PX, FRAME_PX, as_the_model_gets_it, frames_in_words, shown_frames
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.kinds import BaseLlm, Checkpoint, Rows
from stages.formats.packed_rows.rows import Row, RowReader
from stages.formats.tokenizer import tokenizer_of
from stages.surfaces.first_few import first_few

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_PICTURES: Final = 4
"""Pictures of a document that are shown large; those of a document with more are shown as a strip."""
PLACES_SHOWN: Final = 3
"""Pictures whose places are told one by one in a document with many, besides its last one."""
MAX_LABEL_CHARS: Final = 40
"""Longest line before a picture that is shown under it."""
MAX_SIZES: Final = 4
"""Sizes of pictures that are told of a strip."""


def preview_of_rows(rows: Rows, *, skip: int, num_items: int) -> Preview:
    """The first `num_items` documents of the rows from number `skip` on. Each row is one range read.

    Raises `BadCommandError` if there is no such row.
    """
    reader = RowReader(rows)
    if not 0 <= skip < reader.num_rows:
        raise BadCommandError(f"{rows!r} has the rows 0 to {reader.num_rows - 1}", then=f"neo show {rows.short}")
    tokenizer = tokenizer_of(model_of_rows(rows))
    items: list[PreviewItem] = []
    number = skip
    while number < reader.num_rows and len(items) < num_items:
        laid_out = LaidOutRow.of(reader.read(number), tokenizer)
        documents = laid_out.documents(reader.row_tokens)
        items += (item for item, _ in zip(documents, range(num_items - len(items)), strict=False))
        number += 1
    facts = (
        ("rows", f"{reader.num_rows:,} of at most {reader.row_tokens:,} tokens"),
        ("kept", f"{rows.head.items.kept:,} of {rows.head.items.total:,} drawn samples"),
        ("supervised", "marked: the loss asks for these tokens and for no others"),
    )
    return Preview(title=f"{rows!r}: {len(items)} documents from row {skip} on", facts=facts, items=tuple(items))


def model_of_rows(rows: Rows) -> Any:
    """The model whose tokenizer the rows were packed with: `llm`, a language model or a checkpoint."""
    record = rows.head.inputs["llm"]
    artifact = open_artifact(rows.store, record.stage, record.fingerprint, Artifact)
    kinds: dict[str, type[BaseLlm | Checkpoint]] = {BaseLlm.kind: BaseLlm, Checkpoint.kind: Checkpoint}
    return artifact.as_kind(kinds[artifact.head.kind])


@dataclass(frozen=True)
class LaidOutRow:
    """A packed row with the positions of its L tokens and the places of its P pictures."""

    row: Row
    positions: NDArray[np.int64]
    """[L, 3] (T, H, W)."""
    pictures: NDArray[np.int64]
    """[P, 2] first and last context token of each picture, the last excluded."""
    tokenizer: Tokenizer

    @classmethod
    def of(cls, row: Row, tokenizer: Tokenizer) -> LaidOutRow:
        """The layout of a row, by the functions that training uses."""
        pictures = image_spans(np.asarray(row.token_ids, np.int64), special_ids(tokenizer).image_context)
        grids = np.asarray(row.image_grids, np.int64)
        check_images(pictures, [(int(grid_h), int(grid_w)) for grid_h, grid_w in grids])
        offsets = np.asarray(row.document_offsets, np.int64)
        return cls(row, thw_positions(len(row.token_ids), offsets, pictures, grids), pictures, tokenizer)

    def documents(self, row_tokens: int) -> Iterator[PreviewItem]:
        """The documents of the row, in order."""
        row, num_tokens = self.row, len(self.row.token_ids)
        for number, sample_id in enumerate(row.sample_ids):
            start, end = map(int, row.document_offsets[number : number + 2])
            inside = [at for at, (first, _) in enumerate(self.pictures) if start <= first < end]
            is_many = len(inside) > MAX_PICTURES
            last = self.positions[start:end, 0].max()
            yield PreviewItem(
                heading=f"row {row.number}, document {number + 1} of {len(row.sample_ids)}: {row.sources[number]}",
                fields=(
                    ("sample", sample_id.hex()),
                    ("tokens", f"{end - start:,}: {start:,} to {end - 1:,} of {num_tokens:,} ({row_tokens:,} fit)"),
                    ("supervised", f"{int(row.supervised[start:end].sum()):,} tokens"),
                    ("positions", f"T 0 to {last}" + ("" if not inside else "; H and W inside its pictures")),
                ),
                spans=tuple(self._spans(start, end)),
                pictures=() if is_many else tuple(self._picture(at) for at in inside),
                strips=(self._strip(start, inside),) if is_many else (),
            )

    def _picture(self, at: int, longest_px: int = AS_GOT_PX) -> PreviewPicture:
        grid_h, grid_w = map(int, self.row.image_grids[at])
        return as_the_model_gets_it(self.row.images[at], (grid_h, grid_w), longest_px)

    def _strip(self, start: int, inside: list[int]) -> PreviewStrip:
        """The pictures of a document that has many, such as the frames of a clip, each under the words before it."""
        frames = []
        for place in shown_frames(len(inside)):
            shown = self._picture(inside[place], FRAME_PX)
            before = start if place == 0 else int(self.pictures[inside[place - 1], 1])
            words = self._words_before(before, int(self.pictures[inside[place], 0]))
            about = words or f"picture {place + 1}"
            frames.append(PreviewPicture(about=about if shown.jpeg is not None else shown.about, jpeg=shown.jpeg))
        grids = {tuple(map(int, self.row.image_grids[at])) for at in inside}
        sizes = first_few([f"{w * PATCH_PX} x {h * PATCH_PX} px" for h, w in sorted(grids)], MAX_SIZES)
        about = f"{frames_in_words(len(inside)).replace('frame', 'picture')}, {sizes}"
        return PreviewStrip(about=about, frames=tuple(frames))

    def _words_before(self, start: int, first: int) -> str:
        """The line of text right before a picture, such as `[00:02.67]`; '' where there is none or it is long."""
        ids = self.row.token_ids[start:first].tolist()
        text = self.tokenizer.decode(ids, skip_special_tokens=True).rstrip().rpartition("\n")[2]
        words = text.strip().removesuffix(":")
        return words if len(words) <= MAX_LABEL_CHARS else ""

    def _spans(self, start: int, end: int) -> Iterator[PreviewSpan]:
        """Runs of tokens that are alike supervised, and the pictures between them; of many pictures the first ones."""
        at = start
        inside = [span for span in self.pictures.tolist() if start <= span[0] < end]
        left_out = range(PLACES_SHOWN, len(inside) - 1) if len(inside) > MAX_PICTURES else range(0)
        for number, (first, stop) in enumerate(inside):
            if number in left_out:
                if number == left_out[-1]:
                    yield PreviewSpan(role=SpanRole.PICTURE, text=self._places(inside, left_out))
                    at = stop
                continue
            yield from self._texts(at, first)
            yield PreviewSpan(role=SpanRole.PICTURE, text=self._place(number + 1, first, stop))
            at = stop
        yield from self._texts(at, end)

    def _places(self, inside: list[list[int]], left_out: range) -> str:
        """Where pictures stand that are told together, with the text between them."""
        first, stop = inside[left_out[0]][0], inside[left_out[-1]][1]
        t = self.positions[first:stop, 0]
        which = f"pictures {left_out[0] + 1} to {left_out[-1] + 1}"
        return f"{which} with the text between them: {stop - first:,} tokens, T {t.min()} to {t.max()}"

    def _texts(self, start: int, end: int) -> Iterator[PreviewSpan]:
        supervised = self.row.supervised[start:end]
        changes = np.flatnonzero(supervised[1:] != supervised[:-1]) + 1 if end > start else np.zeros(0, np.int64)
        edges = [0, *changes.tolist(), end - start] if end > start else []
        for first, stop in pairwise(edges):
            ids = self.row.token_ids[start + first : start + stop].tolist()
            role = SpanRole.SUPERVISED if supervised[first] else SpanRole.GIVEN
            yield PreviewSpan(role=role, text=self.tokenizer.decode(ids, skip_special_tokens=False))

    def _place(self, number: int, first: int, stop: int) -> str:
        """Where a picture stands, such as `picture 1: 12 tokens, T 3, H 0 to 2, W 0 to 3`."""
        t, h, w = self.positions[first:stop].T
        return f"picture {number}: {stop - first} tokens, T {t[0]}, H 0 to {h.max()}, W 0 to {w.max()}"
