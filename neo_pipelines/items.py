"""Samples and packed rows as people look at them: text, and pictures decoded when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from tokenizers import Tokenizer

    from stages.formats.packed_rows.rows import Row


def _decoded(data: bytes | memoryview) -> Image:
    """A picture from its encoded bytes."""
    from PIL import Image

    return Image.open(io.BytesIO(data))


@dataclass(frozen=True)
class SampleItem:
    """One kept sample of pairs, clips, texts or conversations."""

    sample_id: str
    """Sample id, 32 hex digits: what `neo where` takes."""
    part: str
    """Part of the artifact that lists it."""
    text: str
    """Its caption or its document; the messages of a conversation, a line each."""
    num_images: int
    """Pictures of the sample, and frames of its clips."""
    read_images: Callable[[], list[bytes]] = field(repr=False, compare=False)
    """Reads the encoded pictures, each checked against the digest that was committed."""

    def pictures(self) -> list[Image]:
        """Its pictures and frames, in the order in which the text refers to them. Each call reads them again."""
        return list(map(_decoded, self.read_images()))


@dataclass(frozen=True)
class DocumentItem:
    """One document of a packed row."""

    sample_id: str
    """Sample id of what it was made of, 32 hex digits."""
    source: str
    """Name of its source in the mixture."""
    text: str
    """Its tokens as text, special tokens spelled out, each picture as `<img></img>`."""
    supervised: str
    """The tokens of it that the loss asks for, as text."""
    num_tokens: int
    """Its tokens, those of pictures among them."""
    encoded: tuple[memoryview, ...] = field(repr=False, compare=False)
    """Its encoded pictures."""
    grids: tuple[tuple[int, int], ...] = ()
    """Height and width of each picture as the model gets it, in patches of 16 px."""

    def pictures(self) -> list[Image]:
        """Its pictures, as they are stored; the model gets them resized to `grids`."""
        return list(map(_decoded, self.encoded))


@dataclass(frozen=True)
class RowItem:
    """One packed row: documents laid end to end."""

    number: int
    """Number of the row, counted from 0."""
    documents: tuple[DocumentItem, ...]
    """Its documents, in order."""

    @property
    def num_tokens(self) -> int:
        """Tokens of all its documents."""
        return sum(document.num_tokens for document in self.documents)

    def pictures(self) -> list[Image]:
        """The pictures of all its documents."""
        return [picture for document in self.documents for picture in document.pictures()]

    @classmethod
    def of(cls, row: Row, tokenizer: Tokenizer, image_context_id: int) -> RowItem:
        """The documents of a row, told by the tokenizer that it was packed with."""
        import numpy as np

        from neo_model.inputs.positions import image_spans

        starts = image_spans(np.asarray(row.token_ids, np.int64), image_context_id)[:, 0].tolist()
        offsets = row.document_offsets.tolist()
        documents = []
        for number, (start, end) in enumerate(pairwise(offsets)):
            inside = [at for at, first in enumerate(starts) if start <= first < end]
            tokens = [
                (token, asked)
                for token, asked in zip(row.token_ids[start:end].tolist(), row.supervised[start:end], strict=True)
                if token != image_context_id
            ]
            documents.append(
                DocumentItem(
                    sample_id=row.sample_ids[number].hex(),
                    source=row.sources[number],
                    text=_text([token for token, _ in tokens], tokenizer),
                    supervised=_text([token for token, asked in tokens if asked], tokenizer),
                    num_tokens=end - start,
                    encoded=tuple(row.images[at] for at in inside),
                    grids=tuple((int(row.image_grids[at][0]), int(row.image_grids[at][1])) for at in inside),
                )
            )
        return cls(row.number, tuple(documents))


def _text(token_ids: Sequence[int], tokenizer: Tokenizer) -> str:
    text: str = tokenizer.decode(list(token_ids), skip_special_tokens=False)
    return text
