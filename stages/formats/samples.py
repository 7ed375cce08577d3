"""What a mixture is drawn from: the kept samples of three kinds of artifact, behind one face.

Owns the way from a sample table to samples that can be tokenised. Tables are read a part at a time; pictures stay
where they were downloaded, and a sample says where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

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
from stages.formats.pairs import Pair, PairReader, pictures_of
from stages.formats.sample_table import Verdict, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from tokenizers import Tokenizer

SourceArtifact: TypeAlias = KeptPairs | TextDocuments | Conversations
"""What may be drawn from."""
SampleArtifact: TypeAlias = SourceArtifact | RawPairs
"""What holds samples: also pictures that nobody judged, such as those a model is examined on."""


class Sample(Protocol):
    """One kept sample."""

    @property
    def sample_id(self) -> bytes: ...

    @property
    def pictures(self) -> tuple[Pair, ...]:
        """In the order of their places in the text."""

    @property
    def text(self) -> str:
        """All that is said; the messages of a conversation a line each."""

    @property
    def num_text_bytes(self) -> int:
        """Length of the text in UTF-8."""

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """Token ids and supervision, a picture being so many tokens. Raises `ConversationError`."""


@dataclass(frozen=True, slots=True)
class CaptionedPicture:
    """A picture and what was written beside it."""

    pair: Pair

    @property
    def sample_id(self) -> bytes:
        return self.pair.sample_id

    @property
    def pictures(self) -> tuple[Pair, ...]:
        return (self.pair,)

    @property
    def text(self) -> str:
        return self.pair.caption

    @property
    def num_text_bytes(self) -> int:
        return len(self.pair.caption.encode())

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        return encode_caption(tokenizer, self.pair.caption, image_token_counts)


@dataclass(frozen=True, slots=True)
class PlainText:
    """Text alone; the one kind of sample that may be cut."""

    sample_id: bytes
    text: str

    @property
    def pictures(self) -> tuple[Pair, ...]:
        return ()

    @property
    def num_text_bytes(self) -> int:
        return len(self.text.encode())

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        assert not image_token_counts
        return encode_text(tokenizer, self.text)


@dataclass(frozen=True, slots=True)
class Chat:
    """Turns of a conversation, with places for its pictures."""

    sample_id: bytes
    messages: tuple[Mapping[str, Any], ...]
    pictures: tuple[Pair, ...]

    @property
    def text(self) -> str:
        return "\n".join(message["content"] for message in self.messages)

    @property
    def num_text_bytes(self) -> int:
        return sum(len(message["content"].encode()) for message in self.messages)

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        return encode_conversation(tokenizer, self.messages, image_token_counts)


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

    @property
    def num_kept(self) -> dict[str, int]:
        return _num_kept(self.artifact, SAMPLES_FILE if isinstance(self.artifact, RawPairs) else VERDICTS_FILE)

    @cached_property
    def pictures(self) -> PairReader:
        return PairReader(self.artifact)

    def table(self, part: str) -> pa.Table:
        return self.pictures.read_table(part)

    def samples(self, part: str) -> Iterator[Sample]:
        return map(CaptionedPicture, self.pictures.pairs_of(part))


@dataclass(frozen=True)
class TextSource:
    """Plain texts."""

    artifact: TextDocuments
    pictures: None = None

    @property
    def num_kept(self) -> dict[str, int]:
        return _num_kept(self.artifact, DOCUMENTS_FILE)

    def table(self, part: str) -> pa.Table:
        return _kept_rows(self.artifact, part, DOCUMENTS_FILE)

    def samples(self, part: str) -> Iterator[Sample]:
        rows = self.table(part).select(["sample_id", "text"]).to_pylist()
        return (PlainText(row["sample_id"], row["text"]) for row in rows)


@dataclass(frozen=True)
class ConversationSource:
    """Conversations, about pictures or not."""

    artifact: Conversations

    @property
    def num_kept(self) -> dict[str, int]:
        return _num_kept(self.artifact, CONVERSATIONS_FILE)

    @cached_property
    def pictures(self) -> PairReader:
        return pictures_of(self.artifact)

    def table(self, part: str) -> pa.Table:
        return _kept_rows(self.artifact, part, CONVERSATIONS_FILE)

    def samples(self, part: str) -> Iterator[Sample]:
        pictures = self.pictures
        for row in self.table(part).select(["sample_id", "messages", "image_ids"]).to_pylist():
            found = tuple(pictures.pair(image_id) for image_id in row["image_ids"])
            yield Chat(row["sample_id"], tuple(row["messages"]), found)


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
        name.removeprefix("sources."): open_source(kinds[found.manifest.kind](found.store, found.manifest))
        for name, found in opened.items()
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
