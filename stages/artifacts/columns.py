"""The columns of the tables that people read, with their types and meanings: for the reference, and for those who query
a store with tools of their own.

The modules that write the tables own them; a test compares what they write with what is said here. Tables that carry
columns of the user's own have those behind these, under their own names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from stages.artifacts.kinds import (
    ANSWERS_FILE,
    CONVERSATIONS_FILE,
    DOCUMENTS_FILE,
    DRAW_FILE,
    ROW_INDEX_FILE,
    SAMPLES_FILE,
    VERDICTS_FILE,
    Conversations,
    Draw,
    Evaluation,
    KeptPairs,
    RawClips,
    RawPairs,
    Rows,
    TextDocuments,
)


class TableColumn(NamedTuple):
    """One column of a table."""

    name: str
    """Its name in the Parquet file."""
    type: str
    """What a value is, in words: `text`, `16 bytes`, `list of int32`."""
    meaning: str
    """What it says of the row, with its unit."""


SAMPLE_ID: Final = TableColumn("sample_id", "16 bytes", "Id of the sample, the same in every table and index.")
VERDICT: Final = (
    TableColumn("verdict", "text", "`kept`, `dropped` or `failed`."),
    TableColumn("reason", "text", "Why it is not kept; null where it is."),
)
RETRIABLE: Final = TableColumn("retriable", "bool", "Whether a retry may end otherwise.")
COLUMNS: Final[Mapping[tuple[str, str], tuple[TableColumn, ...]]] = {
    (RawPairs.kind, SAMPLES_FILE): (
        SAMPLE_ID,
        TableColumn("url", "text", "Where the picture was asked for, or `source:path`."),
        TableColumn("caption", "text", "The text that came with it."),
        *VERDICT,
        RETRIABLE,
        TableColumn("sha256", "32 bytes", "Digest of the bytes that were received, before any change."),
        TableColumn("width_px", "int32", "Width of the picture as it is stored, in pixels."),
        TableColumn("height_px", "int32", "Height of the picture as it is stored, in pixels."),
        TableColumn("sent_as", "text", "The format in which the server sent it."),
        TableColumn("key", "text", "Key of its members in `pairs.tar`."),
        TableColumn("image_size_bytes", "int64", "Size of the stored picture, in bytes."),
    ),
    (KeptPairs.kind, VERDICTS_FILE): (SAMPLE_ID, *VERDICT),
    (RawClips.kind, SAMPLES_FILE): (
        SAMPLE_ID,
        TableColumn("url", "text", "Address of the video, or `source:path`."),
        TableColumn("reference", "text", "Name of the video in its source, by which conversations find it."),
        TableColumn("caption", "text", "Text of this stretch of time; empty where there is none."),
        *VERDICT,
        RETRIABLE,
        TableColumn("sha256", "32 bytes", "Digest of the whole video file."),
        TableColumn("start_seconds", "float64", "Where the clip begins; 0 is the first frame of the video."),
        TableColumn("end_seconds", "float64", "Where the clip ends."),
        TableColumn("width_px", "int32", "Width of the stored frames, upright and with square pixels."),
        TableColumn("height_px", "int32", "Height of the stored frames."),
        TableColumn("video_seconds", "float64", "Length of the whole video, where it was opened."),
        TableColumn("native_fps", "float64", "Frames of the video in a second, on average over the clip."),
        TableColumn("num_native_frames", "int32", "Frames of the video in the clip."),
        TableColumn("key", "text", "Key of its members in `clips.tar`."),
        TableColumn(
            "frame_times", "list of float64", "Seconds after the start of the clip, of each frame that was taken."
        ),
        TableColumn("frame_offsets", "list of int64", "First byte of each JPEG file in `clips.tar`."),
        TableColumn("frame_sizes_bytes", "list of int32", "Size of each JPEG file, in bytes."),
        TableColumn("frame_sha256", "list of 32 bytes", "Digest of each JPEG file."),
        TableColumn("packets_offset", "int64", "First byte of the MP4 file in `clips.tar`."),
        TableColumn("packets_size_bytes", "int64", "Size of the MP4 file, in bytes."),
        TableColumn("packets_sha256", "32 bytes", "Digest of the MP4 file."),
        TableColumn("frame_pts", "list of int64", "Presentation time of each frame in the MP4 file, in its time base."),
    ),
    (TextDocuments.kind, DOCUMENTS_FILE): (
        SAMPLE_ID,
        TableColumn("text", "text", "The document, cleaned; null where it could not be read."),
        TableColumn("row", "int64", "Number of its row in the source, from 0."),
        TableColumn("piece", "int32", "Number of the piece, where a long document was cut; 0 for one that was not."),
        TableColumn("malformed_row", "text", "What is wrong with the row of the source; null where nothing is."),
        *VERDICT,
    ),
    (Conversations.kind, CONVERSATIONS_FILE): (
        SAMPLE_ID,
        TableColumn("image_ids", "list of 16 bytes", "Sample ids of its pictures, in order."),
        TableColumn("clip_ids", "list of 16 bytes", "Sample ids of its clips, in order."),
        TableColumn("video_style", "text", "How its clips are written out; null where it has none."),
        TableColumn(
            "messages", "list of struct", "Role, content, whether it is learned, and where media stand, in turn."
        ),
        TableColumn("kind", "text", "Kind of a question; null in chats."),
        TableColumn("answer", "text", "The right answer of a question; null in chats."),
        TableColumn("options", "list of text", "The options of a question of multiple choice."),
        TableColumn("id", "text", "Name of the record in its source."),
        TableColumn(
            "missing_images",
            "list of text",
            "Names of its pictures that were not found, where that is why it is not kept.",
        ),
        TableColumn(
            "missing_clips", "list of text", "Names of its videos of which no clip was found, where that is why."
        ),
        *VERDICT,
    ),
    (Draw.kind, DRAW_FILE): (
        TableColumn("source", "text", "Name of the source in the mixture."),
        SAMPLE_ID,
        TableColumn("repetition", "int32", "How often the sample was drawn before, from 0."),
        TableColumn("part", "text", "The part of the source that holds the sample."),
        TableColumn("position", "int32", "Row of the sample in that part."),
        TableColumn("place", "int64", "Place of the drawing in the order of the whole draw."),
    ),
    (Rows.kind, ROW_INDEX_FILE): (
        TableColumn("row", "int64", "Number of the packed row, from 0 over all parts."),
        TableColumn("offset", "int64", "First byte of the row's record in `rows.tar`."),
        TableColumn("size_bytes", "int64", "Size of that record, in bytes."),
        TableColumn("digest", "uint64", "Digest of the record, compared at each read."),
        TableColumn("num_tokens", "int32", "Tokens of the row."),
        TableColumn("num_images", "int32", "Pictures and frames of the row."),
        TableColumn("num_pairs", "int64", "Pairs of tokens that see each other: the work of attention."),
        TableColumn("num_patches", "int32", "Patches of its pictures."),
        TableColumn("num_supervised", "int32", "Tokens that are learned."),
        TableColumn("sample_ids", "list of 16 bytes", "Sample id of each document, in order."),
        TableColumn("sources", "list of text", "Source of each document."),
        TableColumn("document_tokens", "list of int32", "Tokens of each document."),
    ),
    (Rows.kind, SAMPLES_FILE): (
        SAMPLE_ID,
        TableColumn("source", "text", "Name of the source in the mixture."),
        TableColumn("repetition", "int32", "Which drawing of the sample it is, from 0."),
        *VERDICT,
    ),
    (Evaluation.kind, ANSWERS_FILE): (
        SAMPLE_ID,
        TableColumn("image_ids", "list of 16 bytes", "Sample ids of the pictures that were shown."),
        TableColumn(
            "image_urls", "list of text", "URLs of these pictures; null for one that is not among the pictures."
        ),
        TableColumn("kind", "text", "Kind of the question."),
        TableColumn("question", "text", "The question."),
        TableColumn("truth", "text", "The right answer."),
        TableColumn("answer", "text", "What the model answered."),
        TableColumn(
            "correct", "bool", "Whether it is right; for a number, whether it lies within the smallest tolerance."
        ),
        TableColumn("blind_image_ids", "list of 16 bytes", "Pictures of another question, shown as a control."),
        TableColumn("blind_answer", "text", "The answer to the same question with those."),
        TableColumn("blind_correct", "bool", "Whether that counts as right."),
        *VERDICT,
        TableColumn("scoring", "text", "The rule by which the answer was scored."),
        TableColumn("score", "float64", "The score, from 0 to 1."),
        TableColumn("blind_score", "float64", "The score with pictures of another question."),
        TableColumn("num_options", "int32", "Options of a question of multiple choice."),
        TableColumn(
            "truths",
            "list of text",
            "All right answers, where a rule takes several.",
        ),
        TableColumn("sets", "list of text", "Sets that are right where all their questions are, as `figure:17`."),
        TableColumn("clip_ids", "list of 16 bytes", "Sample ids of the clips that were shown."),
        TableColumn("num_frames", "list of int32", "Frames of each clip that were shown."),
        TableColumn("num_frames_kept", "list of int32", "Frames that each clip has."),
        TableColumn("blind_clip_ids", "list of 16 bytes", "Clips of another question, shown as a control."),
        TableColumn("shuffled_answer", "text", "The answer with the frames in another order."),
        TableColumn("shuffled_correct", "bool", "Whether that counts as right."),
        TableColumn("shuffled_score", "float64", "Its score."),
    ),
}
"""Kind of artifact and name of the file to the columns of that table, in order."""
