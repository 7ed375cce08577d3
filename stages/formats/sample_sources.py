"""The kept samples of artifacts of every kind, behind one interface: pairs, clips, texts and conversations.

Tables are read a part at a time. Pictures stay in their RawPairs and frames in their RawClips: a sample records where
each lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias, get_args

from stages.artifacts.artifact import Artifact
from stages.artifacts.carried import CARRIED_SPELLINGS
from stages.artifacts.kinds import (
    CONVERSATIONS_FILE,
    DOCUMENTS_FILE,
    SAMPLES_FILE,
    VERDICTS_FILE,
    Conversations,
    Draw,
    KeptClips,
    KeptPairs,
    KeptTexts,
    RawClips,
    RawPairs,
    TextDocuments,
)
from stages.contract import PartTask
from stages.formats.clip_reader import ClipReader, clips_of
from stages.formats.clips import Clip
from stages.formats.judged.texts import TextReader
from stages.formats.pairs import NoPairs, PairReader, pictures_of
from stages.formats.sample_table import Verdict, read_table
from stages.formats.samples import CaptionedClip, CaptionedPicture, Chat, PlainText, Sample

if TYPE_CHECKING:
    import pyarrow as pa

SourceArtifact: TypeAlias = KeptPairs | RawClips | KeptClips | TextDocuments | KeptTexts | Conversations
"""Kinds that a mixture may be drawn from."""
SampleArtifact: TypeAlias = SourceArtifact | RawPairs
"""Kinds that hold samples: the sources, and pairs that no filter judged, such as those that a model is examined on."""


class SampleSource(Protocol):
    """The kept samples of one artifact."""

    @property
    def num_kept(self) -> dict[str, int]:
        """Kept samples of each part, in order of the parts."""

    @property
    def pictures(self) -> PairReader | None:
        """Reads the pictures of the samples; None where there are none."""

    @property
    def clips(self) -> ClipReader | None:
        """Reads the clips of the samples; None where there are none."""

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table, with `sample_id` and `position`, the row in the whole table."""

    def samples(self, part: str) -> Iterator[Sample]:
        """The samples of the rows of `table(part)`."""


@dataclass(frozen=True)
class PairSource:
    """Pictures with captions."""

    artifact: KeptPairs | RawPairs
    """Artifact that holds the pairs."""
    clips: None = None
    """Pairs have no clips."""

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
class ClipSource:
    """Clips with captions."""

    artifact: KeptClips | RawClips
    """Artifact that holds the clips."""
    pictures: None = None
    """Clips have frames, which are no pictures of pairs."""

    @property
    def num_kept(self) -> dict[str, int]:
        """Kept clips of each part."""
        return _num_kept(self.artifact, SAMPLES_FILE if isinstance(self.artifact, RawClips) else VERDICTS_FILE)

    @cached_property
    def clips(self) -> ClipReader:
        """Reads the clips."""
        return ClipReader(self.artifact)

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table, without the columns of frames, which are long."""
        return self.clips.read_table(part, ["sample_id", "url", "reference", "caption", "sha256", *CARRIED_SPELLINGS])

    def samples(self, part: str) -> Iterator[Sample]:
        """A captioned clip for each kept row."""
        return map(CaptionedClip.of, self.clips.clips_of(part))


@dataclass(frozen=True)
class TextSource:
    """Plain texts."""

    artifact: TextDocuments | KeptTexts
    """Artifact that holds the texts, or the verdicts on them."""
    pictures: None = None
    """Texts have no pictures."""
    clips: None = None
    """Texts have no clips."""

    @property
    def num_kept(self) -> dict[str, int]:
        """Kept documents of each part."""
        return _num_kept(self.artifact, VERDICTS_FILE if isinstance(self.artifact, KeptTexts) else DOCUMENTS_FILE)

    @cached_property
    def reader(self) -> TextReader:
        """Reads the texts."""
        return TextReader(self.artifact)

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table."""
        return self.reader.read_table(part)

    def samples(self, part: str) -> Iterator[Sample]:
        """A plain text for each kept row."""
        return (PlainText.of(sample_id, text) for sample_id, text in self.reader.texts_of(part))


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
    def pictures(self) -> PairReader | None:
        """Reads the pictures that the conversations are about; None where they were read without any."""
        return pictures_of(self.artifact) if "pictures" in self.artifact.head.inputs else None

    def table(self, part: str) -> pa.Table:
        """The kept rows of a part's table."""
        return _kept_rows(self.artifact, part, CONVERSATIONS_FILE)

    @cached_property
    def clips(self) -> ClipReader | None:
        """Reads the clips that the conversations are about; None where they were read without any."""
        return clips_of(self.artifact)

    def samples(self, part: str) -> Iterator[Sample]:
        """A chat for each kept row. Raises `KeyError` where one of its pictures or clips is not kept."""
        pictures = self.pictures or NoPairs()
        table = self.table(part)
        columns = ["sample_id", "messages", "image_ids", "clip_ids", "video_style"]
        # Conversations that an earlier version read have no columns for clips.
        for row in table.select([name for name in columns if name in table.column_names]).to_pylist():
            images = [pictures.pair(image_id) for image_id in row["image_ids"]]
            clips = [self._clip(clip_id) for clip_id in row.get("clip_ids") or ()]
            yield Chat.of(row["sample_id"], row["messages"], images, clips, row.get("video_style"))

    def _clip(self, sample_id: bytes) -> Clip:
        if self.clips is None:
            raise KeyError(f"{self.artifact!r} was read without clips; there is none called {sample_id.hex()}")
        return self.clips.clip(sample_id)


class SourcePart(PartTask):
    """The task of a part that works on the samples of one part of a source."""

    source: str
    """Name of the source in the mixture."""
    part: str
    """Part of the source."""
    first: int = 0
    """Kept samples of the source in the parts before this one; used by phase `draw` alone."""


def open_source(artifact: SampleArtifact) -> SampleSource:
    """The samples of an artifact, by its kind."""
    if isinstance(artifact, KeptPairs | RawPairs):
        return PairSource(artifact)
    if isinstance(artifact, KeptClips | RawClips):
        return ClipSource(artifact)
    if isinstance(artifact, TextDocuments | KeptTexts):
        return TextSource(artifact)
    return ConversationSource(artifact)


def drawn_sources(draw: Draw) -> dict[str, SampleSource]:
    """The sources of a draw by their names in the mixture. Opens each once: manifests may list many thousand parts."""
    kinds: dict[str, type[SourceArtifact]] = {kind.kind: kind for kind in get_args(SourceArtifact)}
    opened = {name: draw.input(name, Artifact) for name, _ in draw.inputs("sources.")}
    return {
        name.removeprefix("sources."): open_source(artifact.as_kind(kinds[artifact.head.kind]))
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
