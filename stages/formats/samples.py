"""Reads kept samples of three kinds (captioned pictures, plain texts, conversations) behind one interface.

Turns the rows of sample tables into samples that can be tokenised. Tables are read a part at a time. Pictures stay in
their RawPairs: a sample records where each lies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from neo_model.inputs.conversation import EncodedDocument, encode_caption, encode_conversation, encode_text
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import (
    CONVERSATIONS_FILE,
    DOCUMENTS_FILE,
    SAMPLES_FILE,
    VERDICTS_FILE,
    Conversations,
    Draw,
    KeptPairs,
    RawPairs,
    TextDocuments,
)
from stages.contract import PartTask
from stages.formats.pairs import Pair, PairReader, pictures_of
from stages.formats.sample_table import Verdict, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from tokenizers import Tokenizer

SourceArtifact: TypeAlias = KeptPairs | TextDocuments | Conversations
"""Kinds that a mixture may be drawn from."""
SampleArtifact: TypeAlias = SourceArtifact | RawPairs
"""Kinds that hold samples: the sources, and pairs that no filter judged, such as those that a model is examined on."""


@dataclass(slots=True)
class Sample(ABC):
    """One kept sample. Not frozen: a draw makes one for each sample of its sources, and freezing doubles the cost."""

    sample_id: bytes
    """Sample id, 16 bytes."""
    texts: tuple[str, ...]
    """Text of the sample: its caption, its document, or the contents of its messages in order."""
    pictures: tuple[Pair, ...]
    """Pictures in the order in which the text refers to them."""

    @property
    def text(self) -> str:
        """All text, the messages of a conversation a line each."""
        return "\n".join(self.texts)

    @property
    def num_text_bytes(self) -> int:
        """Length of all text in UTF-8, in bytes."""
        return sum(len(text.encode()) for text in self.texts)

    @abstractmethod
    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """Token ids and supervision; `image_token_counts` holds the tokens of each picture.

        Raises `ConversationError` where text and pictures do not match.
        """


@dataclass(slots=True)
class CaptionedPicture(Sample):
    """A picture and its caption."""

    @classmethod
    def of(cls, pair: Pair) -> CaptionedPicture:
        """The sample of a kept pair."""
        return cls(pair.sample_id, (pair.caption,), (pair,))

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """The picture, then its caption, of which all tokens are supervised."""
        return encode_caption(tokenizer, self.text, image_token_counts)


@dataclass(slots=True)
class PlainText(Sample):
    """Text alone: the only kind of sample that packing may cut into pieces."""

    @classmethod
    def of(cls, sample_id: bytes, text: str) -> PlainText:
        """The sample of a document."""
        return cls(sample_id, (text,), ())

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """The text, of which all tokens but the first are supervised."""
        assert not image_token_counts
        return encode_text(tokenizer, self.text)


@dataclass(slots=True)
class Chat(Sample):
    """Turns of a conversation, with placeholders for its pictures."""

    roles: tuple[str, ...]
    """Who speaks in each message: system, user or assistant."""

    @classmethod
    def of(cls, sample_id: bytes, messages: Sequence[Mapping[str, str]], pictures: Sequence[Pair]) -> Chat:
        """The sample of a conversation; a message has `role` and `content`."""
        contents, roles = (tuple(message[name] for message in messages) for name in ("content", "role"))
        return cls(sample_id, contents, tuple(pictures), roles)

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """The conversation in the template of the model, of which the assistant's turns are supervised."""
        messages = [{"role": role, "content": text} for role, text in zip(self.roles, self.texts, strict=True)]
        return encode_conversation(tokenizer, messages, image_token_counts)


class Source(Protocol):
    """The kept samples of one artifact."""

    @property
    def num_kept(self) -> dict[str, int]:
        """Kept samples of each part, in order of the parts."""

    @property
    def pictures(self) -> PairReader | None:
        """Reads the pictures of the samples; None where there are none."""

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table, with `sample_id` and `position`, the row in the whole table."""

    def samples(self, part: str) -> Iterator[Sample]:
        """The samples of the rows of `table(part)`."""


@dataclass(frozen=True)
class PairSource:
    """Pictures with captions."""

    artifact: KeptPairs | RawPairs
    """Artifact that holds the pairs."""

    @property
    def num_kept(self) -> dict[str, int]:
        """Kept pairs of each part."""
        return _num_kept(self.artifact, SAMPLES_FILE if isinstance(self.artifact, RawPairs) else VERDICTS_FILE)

    @cached_property
    def pictures(self) -> PairReader:
        """Reads the pictures."""
        return PairReader(self.artifact)

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table."""
        return self.pictures.read_table(part)

    def samples(self, part: str) -> Iterator[Sample]:
        """A captioned picture for each kept row."""
        return map(CaptionedPicture.of, self.pictures.pairs_of(part))


@dataclass(frozen=True)
class TextSource:
    """Plain texts."""

    artifact: TextDocuments
    """Artifact that holds the texts."""
    pictures: None = None
    """Texts have no pictures."""

    @property
    def num_kept(self) -> dict[str, int]:
        """Kept documents of each part."""
        return _num_kept(self.artifact, DOCUMENTS_FILE)

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table."""
        return _kept_rows(self.artifact, part, DOCUMENTS_FILE)

    def samples(self, part: str) -> Iterator[Sample]:
        """A plain text for each kept row."""
        rows = self.table(part).select(["sample_id", "text"]).to_pylist()
        return (PlainText.of(row["sample_id"], row["text"]) for row in rows)


@dataclass(frozen=True)
class ConversationSource:
    """Conversations, with or without pictures."""

    artifact: Conversations
    """Artifact that holds the conversations."""

    @property
    def num_kept(self) -> dict[str, int]:
        """Kept conversations of each part."""
        return _num_kept(self.artifact, CONVERSATIONS_FILE)

    @cached_property
    def pictures(self) -> PairReader:
        """Reads the pictures that the conversations are about."""
        return pictures_of(self.artifact)

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table."""
        return _kept_rows(self.artifact, part, CONVERSATIONS_FILE)

    def samples(self, part: str) -> Iterator[Sample]:
        """A chat for each kept row. Raises `KeyError` where one of its pictures is not kept."""
        pictures = self.pictures
        for row in self.table(part).select(["sample_id", "messages", "image_ids"]).to_pylist():
            yield Chat.of(row["sample_id"], row["messages"], [pictures.pair(image_id) for image_id in row["image_ids"]])


class SourcePart(PartTask):
    """The task of a part that works on the samples of one part of a source."""

    source: str
    """Name of the source in the mixture."""
    part: str
    """Part of the source."""
    first: int = 0
    """Kept samples of the source in the parts before this one; used by phase `draw` alone."""


def open_source(artifact: SampleArtifact) -> Source:
    """The samples of an artifact, by its kind."""
    if isinstance(artifact, KeptPairs | RawPairs):
        return PairSource(artifact)
    if isinstance(artifact, TextDocuments):
        return TextSource(artifact)
    return ConversationSource(artifact)


def drawn_sources(draw: Draw) -> dict[str, Source]:
    """The sources of a draw by their names in the mixture. Opens each once: manifests may list many thousand parts."""
    kinds: dict[str, type[SourceArtifact]] = {kind.kind: kind for kind in (KeptPairs, TextDocuments, Conversations)}
    opened = {name: draw.input(name, Artifact) for name, _ in draw.inputs("sources.")}
    return {
        name.removeprefix("sources."): open_source(kinds[artifact.manifest.kind](artifact.store, artifact.manifest))
        for name, artifact in opened.items()
    }


def _num_kept(artifact: SampleArtifact, file_name: str) -> dict[str, int]:
    """Kept samples of each part that has a sample table of this name: earlier phases have other files."""
    with_table = (record for record in artifact.parts if any(entry.name == file_name for entry in record.files))
    return {record.part: record.items.kept for record in with_table}


def _kept_rows(artifact: SourceArtifact, part: str, file_name: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_table(artifact.read(artifact.part(part).file(file_name)))
    table = table.append_column("position", pa.array(range(table.num_rows), pa.int32()))
    return table.filter(pc.equal(table["verdict"], Verdict.KEPT.value))
