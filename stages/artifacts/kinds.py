"""The kinds of artifact, and the names of the files and phases that each holds.

A kind says what may be bound to what. Below each kind stand the names under which its parts record files, and the
phases that other modules ask for. The bytes inside a file are owned by the modules that write it; readers that several
stages share are in `stages/formats/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stages.artifacts.artifact import Artifact, TabledArtifact
from stages.artifacts.records import STEPS_PHASE, FileEntry
from stages.store.errors import StoreError


class RawPairs(TabledArtifact):
    """Downloaded image-text pairs. Each part: `pairs.tar` and a sample table with a row for each URL that entered."""


PAIRS_FILE = "pairs.tar"
"""The downloaded pairs of a part of RawPairs, as WebDataset samples {key}.jpg|.txt|.json."""
SAMPLES_FILE = "samples.parquet"
"""The sample table of a part, in RawPairs and in phase `write` of Rows: a row with a verdict for each item that entered
(a URL there, a drawing here)."""


class KeptPairs(TabledArtifact):
    """Verdicts over RawPairs, or over what earlier verdicts kept of them: a row for each sample read. The image bytes
    stay in RawPairs."""


VERDICTS_FILE = "verdicts.parquet"
"""The verdict on each row that is kept in the judged artifact, in a part of KeptPairs, KeptClips or KeptTexts."""
COLUMNS_FILE = "columns.parquet"
"""Columns beside the verdicts of a part, row by row: what stands in place of columns of the judged rows, or joins
them, such as captions and scores."""


class RawClips(TabledArtifact):
    """Clips cut from videos. Each part: `clips.tar` and a sample table with a row for each clip, and one for each video
    that gave none."""


CLIPS_FILE = "clips.tar"
"""The clips of a part of RawClips, as WebDataset samples: {key}.00000.jpg ... or {key}.mp4, {key}.txt, {key}.json."""


class KeptClips(TabledArtifact):
    """Verdicts over RawClips: a row for each clip read, in `verdicts.parquet`. The frames stay in RawClips."""


class TextDocuments(TabledArtifact):
    """Plain text, a row for each document."""


DOCUMENTS_FILE = "documents.parquet"
"""Cleaned texts with their verdicts, in a part of TextDocuments."""


class KeptTexts(TabledArtifact):
    """Verdicts over TextDocuments, or over what earlier verdicts kept of them: a row for each document read, in
    `verdicts.parquet`. The texts stay in TextDocuments, but for those that lost lines, which are in
    `columns.parquet`."""


class Conversations(TabledArtifact):
    """Chat records, with or without images of KeptPairs, a row for each conversation."""


CONVERSATIONS_FILE = "conversations.parquet"
"""Cleaned messages and image ids with their verdicts, in a part of Conversations."""


class Draw(Artifact):
    """The samples that a training stage is to see: a row for each drawing, with its `place` in the order of the whole
    draw."""


DRAW_PHASE = "draw"
"""The phase of Draw that others read: one part for each part of each source."""
DRAW_FILE = "draw.parquet"
"""The drawings from one part of a source."""
MARK_PHASE = "mark"
"""The phase of Draw that lists what held-out samples are recognised by."""
MARKS_FILE = "marks.parquet"
"""The marks of one part of a held-out artifact."""
HOLD_OUT_PHASE = "hold_out"
"""The phase of Draw that finds the held-out samples of each source."""
HELD_OUT_FILE = "held_out.parquet"
"""The samples of one part of a source that are held out, and why."""
WEIGH_PHASE = "weigh"
"""The phase of Draw that counts the tokens of samples, where shares are in tokens."""
WEIGHED_FILE = "weighed.parquet"
"""The number of tokens of each sample of one part of a source."""


class Rows(Artifact):
    """Packed sequences. Parts of phase `write` hold the rows, their index and a verdict for each drawing; the one part
    of phase `plan` holds the index from samples to rows."""


MEASURE_PHASE = "measure"
"""The phase of Rows that tokenises the drawn samples: one part for each part of the draw."""
MEASURED_FILE = "measured.parquet"
"""A row for each drawing of one part of the draw, with its verdict and length."""
MEASURED_DOCUMENTS_FILE = "documents.parquet"
"""A row for each tokenised document of phase `measure`, with where its record lies. The file shares its name with that
of TextDocuments, and nothing else."""
DOCUMENT_RECORDS_FILE = "documents.bin"
"""The records of the tokenised documents of phase `measure`, end to end."""
PLAN_PHASE = "plan"
"""The phase of Rows that decides which documents share a row: one part."""
PLAN_PART = "plan"
"""The name of the one part of phase `plan`."""
PLANNED_FILE = "planned.bin"
"""The documents of all rows, in order, as phase `plan` decided."""
PLANNED_PARTS_FILE = "parts.parquet"
"""What each part of phase `write` is to write."""
SAMPLE_ROWS_FILE = "sample_rows.bin"
"""The index from samples to rows: pairs of (sample id, row), sorted."""
SAMPLE_ROWS_OFFSETS_FILE = "sample_rows.fan"
"""Prefix offsets of `sample_rows.bin`: where its entries begin, by the leading bits of the sample id."""
ROWS_PHASE = "write"
"""The phase of Rows that others read: one part for each stretch of consecutive rows."""
ROWS_FILE = "rows.tar"
"""The packed rows of one part, as WebDataset samples."""
ROW_INDEX_FILE = "index.parquet"
"""Where each packed row lies in the tar, its digest, and how much work it is for the network."""


MODEL_PREFIX = "model/"
"""The files of a model have names that begin so."""
TOKENIZER_FILE = f"{MODEL_PREFIX}tokenizer.json"
"""The tokenizer of a model that reads text, in the fast form."""


class ModelFolder(Artifact):
    """Holds a model as files under `model/`, in one part or in several: settings in one, each weight file in another.

    A training stage commits a model with its last checkpoint; its earlier checkpoints are not part of it.
    """

    @property
    def model_files(self) -> tuple[FileEntry, ...]:
        """The model's files, named as in its folder."""
        holding = [part for part in self.parts if any(entry.name.startswith(MODEL_PREFIX) for entry in part.files)]
        if not holding:
            raise StoreError(f"{self!r} holds no file under {MODEL_PREFIX}")
        parts = holding[-1:] if holding[-1].phase == STEPS_PHASE else holding
        return tuple(entry for part in parts for entry in part.files if entry.name.startswith(MODEL_PREFIX))

    def copy_to(self, folder: Path) -> Path:
        """Copy the model's files into `folder` under their own names and return it."""
        for entry in self.model_files:
            target = folder / entry.name.removeprefix(MODEL_PREFIX)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.local_file(entry) as path:
                shutil.copyfile(path, target)
        return folder

    @contextmanager
    def linked_in(self, folder: Path) -> Iterator[Path]:
        """`folder` with a link to each of the model's files under its own name, within this context.

        Nothing is copied: all processes of a machine read the same files, of an object store those of its cache.
        """
        with ExitStack() as used:
            for entry in self.model_files:
                link = folder / entry.name.removeprefix(MODEL_PREFIX)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(used.enter_context(self.local_file(entry)).absolute())
            yield folder


class BaseLlm(ModelFolder):
    """A plain Qwen3 checkpoint folder, as a model hub serves it: config, safetensors, tokenizer."""


class PreBuffer(ModelFolder):
    """Patch embedding, pre-Buffer layers and new query-key weights, with the digest of the language model they were
    trained against."""


PREBUFFER_WEIGHTS_FILE = "prebuffer.safetensors"
"""The tensors of a PreBuffer, under `model/`."""
PREBUFFER_DESCRIPTION_FILE = "prebuffer.json"
"""The config of the whole network and the language model that a PreBuffer was trained against, under `model/`."""


class Checkpoint(ModelFolder):
    """A whole NEO in the layout and key names of the released checkpoints."""


class ExportedCheckpoint(ModelFolder):
    """A Checkpoint made ready to leave the system: released layout, model card, lineage."""


CARD_FILE = "README.md"
"""The model card of an ExportedCheckpoint, under `model/`."""
LINEAGE_FILE = "lineage.json"
"""Every artifact that an ExportedCheckpoint was made from, under `model/`."""


class Evaluation(Artifact):
    """Answers to held-out questions, their scores, and pictures of some."""


METRICS_FILE = "metrics.json"
"""The scores of an Evaluation."""
ANSWERS_FILE = "answers.parquet"
"""The answers of an Evaluation: a row for each question."""
CONTACT_SHEET_FILE = "contact_sheet.png"
"""Some questions of an Evaluation with their pictures and answers, on one picture."""
