"""Reads texts: the kept documents of TextDocuments, or those that verdicts on them keep."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from stages.artifacts.kinds import DOCUMENTS_FILE, KeptTexts, TextDocuments
from stages.formats.judged.kept_tables import KeptTables


class TextReader(KeptTables):
    """The kept documents of an artifact, in table order. A pickled reader is small: cached tables are left out."""

    raw_kind, kept_kind, raw_file = TextDocuments, KeptTexts, DOCUMENTS_FILE

    def __init__(self, texts: TextDocuments | KeptTexts) -> None:
        super().__init__(texts)
        self.texts = texts

    def __reduce__(self) -> tuple[Any, ...]:
        return TextReader, (self.texts,)

    def texts_of(self, part: str) -> Iterator[tuple[bytes, str]]:
        """Sample id and text of each kept document of one part, in table order."""
        rows = self.read_table(part, ["sample_id", "text"])
        return zip(rows["sample_id"].to_pylist(), rows["text"].to_pylist(), strict=True)

    @cached_property
    def raw(self) -> TextDocuments:
        """The artifact that the documents were read into."""
        return self.texts.as_kind(TextDocuments) if self.judged is None else self.judged.raw
