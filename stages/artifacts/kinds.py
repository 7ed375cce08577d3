"""The kinds of artifact, and the names of the files and phases that each holds.

A kind says what may be bound to what. Below each kind stand the names under which its parts record files, and the
phases that other modules ask for. The bytes inside a file are owned by the modules that write it; readers that several
stages share are in `stages/formats/`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stages.artifacts.artifact import Artifact
from stages.artifacts.records import FileEntry
from stages.store.store import StoreError


class RawPairs(Artifact):
    """Downloaded image-text pairs. Each part: `pairs.tar` and a sample table with a row for each URL that entered."""


PAIRS_FILE = "pairs.tar"
"""Of RawPairs: the downloaded pairs as WebDataset samples, {key}.jpg|.txt|.json."""
SAMPLES_FILE = "samples.parquet"
"""Of RawPairs and of phase `write` of Rows: the sample table of a part, a row with a verdict for each item that
entered (each URL there, each drawing here)."""


class KeptPairs(Artifact):
    """Verdicts over RawPairs: a row for each sample read. The image bytes stay in RawPairs."""


VERDICTS_FILE = "verdicts.parquet"
"""Of KeptPairs: the verdict on each pair that was downloaded."""


class TextDocuments(Artifact):
    """Plain text, a row for each document."""


DOCUMENTS_FILE = "documents.parquet"
"""Of TextDocuments: cleaned texts with their verdicts."""


class Conversations(Artifact):
    """Chat records, with or without images of KeptPairs, a row for each conversation."""


CONVERSATIONS_FILE = "conversations.parquet"
"""Of Conversations: cleaned messages and image ids with their verdicts."""


class Draw(Artifact):
    """The samples that a training stage is to see: a row for each drawing, with its `place` in the order of the whole
    draw."""


DRAW_PHASE = "draw"
"""The phase of Draw that others read: one part for each part of each source."""
DRAW_FILE = "draw.parquet"
"""Of phase `draw`: the drawings from one part of a source."""
MARK_PHASE = "mark"
"""The phase of Draw that lists what held-out samples are recognised by."""
MARKS_FILE = "marks.parquet"
"""Of phase `mark`: the marks of one part of a held-out artifact."""
HOLD_OUT_PHASE = "hold_out"
"""The phase of Draw that finds the held-out samples of each source."""
HELD_OUT_FILE = "held_out.parquet"
"""Of phase `hold_out`: the samples of one part of a source that are not drawn, and why."""
WEIGH_PHASE = "weigh"
"""The phase of Draw that counts the tokens of samples, where shares are in tokens."""
WEIGHED_FILE = "weighed.parquet"
"""Of phase `weigh`: the number of tokens of each sample of one part of a source."""


class Rows(Artifact):
    """Packed sequences. Parts of phase `write` hold the rows, their index and a verdict for each drawing; the one part
    of phase `plan` holds the index from samples to rows."""


MEASURE_PHASE = "measure"
"""The phase of Rows that tokenises the drawn samples: one part for each part of the draw."""
MEASURED_FILE = "measured.parquet"
"""Of phase `measure`: a row for each drawing, with its verdict and length."""
MEASURED_DOCUMENTS_FILE = "documents.parquet"
"""Of phase `measure`: a row for each tokenised document, with where its record lies. Named like the file of
TextDocuments, which it has nothing to do with."""
DOCUMENT_RECORDS_FILE = "documents.bin"
"""Of phase `measure`: the records of tokenised documents, end to end."""
PLAN_PHASE = "plan"
"""The phase of Rows that decides which documents share a row: one part."""
PLAN_PART = "plan"
"""The name of the one part of phase `plan`."""
PLANNED_FILE = "planned.bin"
"""Of phase `plan`: the documents of all rows, in order."""
PLANNED_PARTS_FILE = "parts.parquet"
"""Of phase `plan`: what each part of phase `write` is to write."""
SAMPLE_ROWS_FILE = "sample_rows.bin"
"""Of phase `plan`: (sample id, row) pairs, sorted."""
SAMPLE_ROWS_OFFSETS_FILE = "sample_rows.fan"
"""Of phase `plan`: where the entries of `sample_rows.bin` begin, by the leading bits of the sample id."""
ROWS_PHASE = "write"
"""The phase of Rows that others read: one part for each stretch of consecutive rows."""
ROWS_FILE = "rows.tar"
"""Of phase `write`: the packed rows as WebDataset samples."""
ROW_INDEX_FILE = "index.parquet"
"""Of phase `write`: where each packed row lies in the tar, its digest, and how much work it is for the network."""


MODEL_PREFIX = "model/"
"""The files of a model have names that begin so."""
TOKENIZER_FILE = f"{MODEL_PREFIX}tokenizer.json"
"""Of any model folder that can read text: its tokenizer in the fast form."""


class ModelFolder(Artifact):
    """Holds a model as files under `model/` in its last part."""

    @property
    def model_files(self) -> tuple[FileEntry, ...]:
        """The model's files, named as in its folder, from the last part that has any."""
        for part in reversed(self.parts):
            entries = tuple(entry for entry in part.files if entry.name.startswith(MODEL_PREFIX))
            if entries:
                return entries
        raise StoreError(f"{self!r} holds no file under {MODEL_PREFIX}")

    def copy_to(self, folder: Path) -> Path:
        """Copy the model's files into `folder` under their own names and return it."""
        for entry in self.model_files:
            target = folder / entry.name.removeprefix(MODEL_PREFIX)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.local_path(entry), target)
        return folder


class BaseLlm(ModelFolder):
    """A plain Qwen3 checkpoint folder, as a model hub serves it: config, safetensors, tokenizer."""


class PreBuffer(ModelFolder):
    """Patch embedding, pre-Buffer layers and new query-key weights, with the digest of the language model they were
    trained against."""


PREBUFFER_WEIGHTS_FILE = "prebuffer.safetensors"
"""Under `model/` of PreBuffer: its tensors."""
PREBUFFER_DESCRIPTION_FILE = "prebuffer.json"
"""Under `model/` of PreBuffer: the config of the whole network, and the language model it was trained against."""


class Checkpoint(ModelFolder):
    """A whole NEO in the layout and key names of the released checkpoints."""


class ExportedCheckpoint(ModelFolder):
    """A Checkpoint made ready to leave the system: released layout, model card, lineage."""


CARD_FILE = "README.md"
"""Under `model/` of ExportedCheckpoint: the model card."""
LINEAGE_FILE = "lineage.json"
"""Under `model/` of ExportedCheckpoint: every artifact that it was made from."""


class Evaluation(Artifact):
    """Answers to held-out questions, their scores, and pictures of some."""


METRICS_FILE = "metrics.json"
"""Of Evaluation: the scores."""
ANSWERS_FILE = "answers.parquet"
"""Of Evaluation: a row for each question, with the answer that was given."""
CONTACT_SHEET_FILE = "contact_sheet.png"
"""Of Evaluation: some questions with their pictures and answers, on one picture."""
