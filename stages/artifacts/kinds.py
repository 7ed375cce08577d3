"""The kinds of artifact, and which files each holds.

A kind says what may be bound to what. Stages that make a kind own how its files are written; the readers of a kind
that several stages share live beside it (`stages/formats/pairs.py`, `stages/formats/rows.py`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stages.artifacts.artifact import Artifact
from stages.artifacts.records import FileEntry
from stages.store.store import StoreError

MODEL_PREFIX = "model/"


class RawPairs(Artifact):
    """Downloaded image-text pairs. Parts: `pairs.tar` ({key}.jpg|.txt|.json) and `samples.parquet`, a row for each
    URL that entered, with its verdict."""


class KeptPairs(Artifact):
    """Verdicts over RawPairs: `verdicts.parquet`, a row for each sample read. The bytes stay in RawPairs."""


class TextDocuments(Artifact):
    """Plain text: `documents.parquet`."""


class Conversations(Artifact):
    """Chat records, with or without images of KeptPairs: `conversations.parquet`."""


class Draw(Artifact):
    """The samples that a training stage is to see: `draw.parquet`, a row for each drawing with its `place` in the
    order of the whole."""


class Rows(Artifact):
    """Packed sequences: parts of phase `write` hold `rows.tar`, `index.parquet` and, with a verdict for each drawing,
    `samples.parquet`; that of phase `plan` leads from samples to rows."""


class ModelFolder(Artifact):
    """Holds a model as files under `model/` in its last part."""

    @property
    def model_files(self) -> tuple[FileEntry, ...]:
        """The model's files, named as in its folder, from the last part that has any."""
        for part in reversed(self.parts):
            found = tuple(entry for entry in part.files if entry.name.startswith(MODEL_PREFIX))
            if found:
                return found
        raise StoreError(f"{self!r} holds no file under {MODEL_PREFIX}")

    def place(self, folder: Path) -> Path:
        """Put the model's files into `folder` under their own names and return it."""
        for entry in self.model_files:
            target = folder / entry.name.removeprefix(MODEL_PREFIX)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.local_path(entry), target)
        return folder


class BaseLlm(ModelFolder):
    """A plain Qwen3 checkpoint folder, as a model hub serves it: config, safetensors, tokenizer."""


class PreBuffer(ModelFolder):
    """Patch embedding, pre-Buffer layers and new query-key weights, with the digest of the language model they were
    trained against: `prebuffer.safetensors`, `prebuffer.json`."""


class Checkpoint(ModelFolder):
    """A whole NEO in the layout and key names of the released checkpoints."""


class ExportedCheckpoint(ModelFolder):
    """A Checkpoint made ready to leave the system: released layout, model card, lineage."""


class Evaluation(Artifact):
    """Answers to held-out questions: `metrics.json`, `answers.parquet`, `contact_sheet.png`."""


DOCUMENTS_FILE = "documents.parquet"


CONVERSATIONS_FILE = "conversations.parquet"
