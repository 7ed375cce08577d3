"""Previews of artifacts: pairs, clips, texts, conversations and packed rows, read by ranges.

Owns which kinds can be shown and what is shown of an item of each. Packed rows are in `packed_rows.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipelines.exits import BadCommandError
from pipelines.preview.clips import clip_item, strip_by_id
from pipelines.preview.first_rows import first_rows
from pipelines.preview.items import (
    Preview,
    PreviewDrawing,
    PreviewItem,
    PreviewPicture,
    PreviewSpan,
    SpanRole,
    fields_of,
    verdict_in_words,
)
from pipelines.preview.thumbnails import thumbnail
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import (
    COLUMNS_FILE,
    CONVERSATIONS_FILE,
    DOCUMENTS_FILE,
    SAMPLES_FILE,
    VERDICTS_FILE,
    Conversations,
    KeptClips,
    KeptPairs,
    KeptTexts,
    RawClips,
    RawPairs,
    Rows,
    TextDocuments,
)
from stages.artifacts.profiles import profile_pictures
from stages.artifacts.taken_over import num_table_rows, superseded_reasons
from stages.formats.clip_reader import ClipReader, clips_of
from stages.formats.judged.texts import TextReader
from stages.formats.pairs import PairReader, StoredImage, pictures_of
from stages.formats.sample_table import Verdict, without_superseded
from stages.origins.tables.batches import held_rows
from stages.store.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = {
    RawPairs.kind: SAMPLES_FILE,
    KeptPairs.kind: VERDICTS_FILE,
    RawClips.kind: SAMPLES_FILE,
    KeptClips.kind: VERDICTS_FILE,
    TextDocuments.kind: DOCUMENTS_FILE,
    KeptTexts.kind: VERDICTS_FILE,
    Conversations.kind: CONVERSATIONS_FILE,
}
"""Kinds that are shown by the rows of a table, and the file that holds it."""
NOT_SHOWN = frozenset(
    {"sha256", "image_offset", "key", "position", "verdict", "reason", "messages", "image_ids", "clip_ids"}
)
"""Columns that say nothing to people, or are shown in another way."""
FIRST_DRAWN = ("funnel.png", "charts.png", "sheet_kept.png")
"""Pictures of a stage's work that come first on a page; others follow by name."""
MAX_REASONS = 8
"""Reasons that are listed, most frequent first."""


def preview_of_artifact(artifact: Artifact, *, skip: int, num_items: int) -> Preview:
    """The items `skip` to `skip + num_items` of an artifact; of packed rows, the documents from row `skip` on.

    Raises `BadCommandError` for kinds that hold no samples.
    """
    if artifact.head.kind == Rows.kind:
        from pipelines.preview.packed_rows import preview_of_rows  # imports numpy, which `neo --help` has no use for

        return preview_of_rows(artifact.as_kind(Rows), skip=skip, num_items=num_items)
    if artifact.head.kind not in TABLES:
        raise BadCommandError(
            f"{artifact!r} holds no samples to look at; shown are {', '.join(TABLES)} and {Rows.kind}",
            then=f"neo show {artifact.short}",
        )
    items = tuple(SHOWN.get(artifact.head.kind, _texts)(artifact, skip, num_items))
    drawn = _drawn(artifact)
    facts = (*_facts(artifact), *_told_drawn(drawn))
    return Preview(title=_title(artifact, skip, len(items)), facts=facts, items=items, drawn=drawn)


def _drawn(artifact: Artifact) -> tuple[PreviewDrawing, ...]:
    """What was drawn of the work of the artifact's stage, from the funnel to the sheets."""
    entries = {entry.name: entry for entry in profile_pictures(artifact)}
    names = [*(name for name in FIRST_DRAWN if name in entries), *(name for name in entries if name not in FIRST_DRAWN)]
    return tuple(
        PreviewDrawing(
            name=name,
            place=f"{artifact.store.url}/{entries[name].key}",
            read=partial(artifact.read, entries[name]),
        )
        for name in names
    )


def _told_drawn(drawn: Sequence[PreviewDrawing]) -> Iterator[tuple[str, str]]:
    if drawn:
        names = ", ".join(drawing.name for drawing in drawn)
        yield "drawn", f"{names}: `--html FILE.html` shows them, `neo show` says where they lie"


def _title(artifact: Artifact, skip: int, num_shown: int) -> str:
    shown = f"items {skip} to {skip + num_shown - 1}" if num_shown else "no item"
    return f"{artifact!r}: {shown} of {artifact.head.items.total:,}"


def _facts(artifact: Artifact) -> Iterator[tuple[str, str]]:
    """Numbers of kept, dropped and failed items, with the most frequent reasons."""
    items = artifact.head.items
    yield "kept", f"{items.kept:,} of {items.total:,}"
    for name, reasons in (("dropped", items.dropped), ("failed", items.failed)):
        if reasons:
            ordered = sorted(reasons.items(), key=lambda entry: -entry[1])[:MAX_REASONS]
            yield name, ", ".join(f"{number:,} {reason}" for reason, number in ordered)


def _slices(artifact: Artifact, file_name: str, skip: int, num_items: int) -> Iterator[tuple[str, int, pa.Table]]:
    """Part, first row in the part and rows, until `num_items` rows are read. Earlier parts are only counted.

    Rows whose verdict stands in a later part are left out, and not counted.
    """
    left = num_items
    for record in artifact.parts:
        entry = next((entry for entry in record.files if entry.name == file_name), None)
        if entry is None:
            continue
        if skip >= record.items.total:
            skip -= record.items.total
            continue
        if superseded_reasons(record):
            whole = first_rows(artifact, entry, 0, num_table_rows(record))
            table = without_superseded(whole, record).slice(skip, left)
        else:
            table = first_rows(artifact, entry, skip, left)
        yield record.part, skip, table
        skip, left = 0, left - table.num_rows
        if left <= 0:
            return


def _raw_pairs(artifact: Artifact, skip: int, num_items: int) -> Iterator[PreviewItem]:
    reader = PairReader(artifact.as_kind(RawPairs))
    for part, first, table in _slices(artifact, SAMPLES_FILE, skip, num_items):
        for number, row in enumerate(held_rows(table), first):
            yield _pair_item(part, number, row, verdict_in_words(row["verdict"], row["reason"]), reader)


def _kept_pairs(artifact: Artifact, skip: int, num_items: int) -> Iterator[PreviewItem]:
    """The verdicts, each with its pair as it was judged, and with the caption and scores that it was given."""
    reader = PairReader(artifact.as_kind(KeptPairs))
    for part, first, table in _slices(artifact, VERDICTS_FILE, skip, num_items):
        judged = reader.judged.read_table(part) if reader.judged else table
        rows = held_rows(judged.slice(first, table.num_rows))
        given = _given_rows(artifact, part, first, table.num_rows)
        for number, (row, verdict) in enumerate(zip(rows, table.to_pylist(), strict=True)):
            shown = row | {name: value for name, value in given[number].items() if value is not None}
            in_words = verdict_in_words(verdict["verdict"], verdict["reason"])
            yield _pair_item(part, first + number, shown, in_words, reader)


def _given_rows(artifact: Artifact, part: str, first: int, num_rows: int) -> list[dict[str, Any]]:
    """What rows of verdicts were given beside them: captions and scores; nothing where the part gives none."""
    entry = next((one for one in artifact.part(part).files if one.name == COLUMNS_FILE), None)
    return [{} for _ in range(num_rows)] if entry is None else first_rows(artifact, entry, first, num_rows).to_pylist()


def _raw_clips(artifact: Artifact, skip: int, num_items: int) -> Iterator[PreviewItem]:
    reader = ClipReader(artifact.as_kind(RawClips))
    for part, first, table in _slices(artifact, SAMPLES_FILE, skip, num_items):
        for number, row in enumerate(held_rows(table), first):
            yield clip_item(part, number, row, reader)


def _kept_clips(artifact: Artifact, skip: int, num_items: int) -> Iterator[PreviewItem]:
    """The verdicts, each with its clip, which lies in the artifact that was judged."""
    reader = ClipReader(artifact.as_kind(KeptClips))
    for part, first, table in _slices(artifact, VERDICTS_FILE, skip, num_items):
        record = reader.raw.part(part)
        samples = first_rows(reader.raw, record.file(SAMPLES_FILE), 0, record.items.total)
        kept = samples.filter([verdict == Verdict.KEPT for verdict in samples["verdict"].to_pylist()])
        rows = held_rows(kept.slice(first, table.num_rows))
        for number, (row, judged) in enumerate(zip(rows, table.to_pylist(), strict=True), first):
            yield clip_item(part, number, row, reader, judged=judged)


def _pair_item(part: str, number: int, row: dict[str, Any], verdict: str, reader: PairReader) -> PreviewItem:
    is_there = row["verdict"] == Verdict.KEPT
    pictures = (_picture(reader, _stored(row, part)),) if is_there else ()
    spans = (PreviewSpan(role=SpanRole.GIVEN, text=row["caption"] or ""),)
    fields = tuple(fields_of(row, {*NOT_SHOWN, "caption", "sample_id", "retriable"}))
    heading = f"part {part}, row {number}: sample {row['sample_id'].hex()}"
    return PreviewItem(heading=heading, verdict=verdict, fields=fields, spans=spans, pictures=pictures)


def _stored(row: dict[str, Any], part: str) -> StoredImage:
    return StoredImage(row["sample_id"], row["sha256"], row["image_offset"], row["image_size_bytes"], part)


def _picture(reader: PairReader, image: StoredImage) -> PreviewPicture:
    """A stored picture; what is wrong with it where it is not as it was committed."""
    try:
        return thumbnail(reader.image_of(image))
    except StoreError as error:
        return PreviewPicture(about=str(error))


def _texts(artifact: Artifact, skip: int, num_items: int) -> Iterator[PreviewItem]:
    for part, first, table in _slices(artifact, DOCUMENTS_FILE, skip, num_items):
        for number, row in enumerate(held_rows(table), first):
            yield PreviewItem(
                heading=f"part {part}, row {number}: sample {row['sample_id'].hex()}",
                verdict=verdict_in_words(row["verdict"], row["reason"]),
                fields=tuple(fields_of(row, {*NOT_SHOWN, "text", "sample_id"})),
                spans=(PreviewSpan(role=SpanRole.GIVEN, text=row["text"] or ""),),
            )


def _kept_texts(artifact: Artifact, skip: int, num_items: int) -> Iterator[PreviewItem]:
    """The verdicts, each with its document as it was judged: with all of its lines."""
    judged = TextReader(artifact.as_kind(KeptTexts)).judged
    for part, first, table in _slices(artifact, VERDICTS_FILE, skip, num_items):
        texts = judged.read_table(part, ["text"])["text"] if judged else [None] * (first + table.num_rows)
        for number, row in enumerate(table.to_pylist(), first):
            yield PreviewItem(
                heading=f"part {part}, row {number}: sample {row['sample_id'].hex()}",
                verdict=verdict_in_words(row["verdict"], row["reason"]),
                fields=tuple(fields_of(row, {*NOT_SHOWN, "sample_id"})),
                spans=(PreviewSpan(role=SpanRole.GIVEN, text=str(texts[number])),),
            )


def _conversations(artifact: Artifact, skip: int, num_items: int) -> Iterator[PreviewItem]:
    conversations = artifact.as_kind(Conversations)
    reader = pictures_of(conversations) if "pictures" in artifact.head.inputs else None
    clips = clips_of(conversations)
    for part, first, table in _slices(artifact, CONVERSATIONS_FILE, skip, num_items):
        for number, row in enumerate(table.to_pylist(), first):
            yield PreviewItem(
                heading=f"part {part}, row {number}: sample {row['sample_id'].hex()}",
                verdict=verdict_in_words(row["verdict"], row["reason"]),
                fields=tuple(fields_of(row, {*NOT_SHOWN, "sample_id"})),
                spans=tuple(map(_turn, row["messages"] or ())),
                pictures=tuple(_picture_by_id(reader, image_id) for image_id in row["image_ids"] or ()),
                strips=tuple(strip_by_id(clips, clip_id) for clip_id in row.get("clip_ids") or ()),
            )


def _picture_by_id(reader: PairReader | None, image_id: bytes) -> PreviewPicture:
    try:
        if reader is None:
            raise KeyError
        return _picture(reader, reader.pair(image_id).image)
    except KeyError:
        return PreviewPicture(about=f"the picture {image_id.hex()} is not among the kept pairs")


def _turn(message: dict[str, Any]) -> PreviewSpan:
    """One message; the assistant's turns are supervised once they are packed, unless one is marked as input."""
    is_supervised = message["role"] == "assistant" and not message.get("is_input")
    role = SpanRole.SUPERVISED if is_supervised else SpanRole.GIVEN
    return PreviewSpan(role=role, text=message["content"] or "", speaker=message["role"] or "")


SHOWN: Final[Mapping[str, Callable[[Artifact, int, int], Iterator[PreviewItem]]]] = {
    KeptPairs.kind: _kept_pairs,
    RawPairs.kind: _raw_pairs,
    KeptClips.kind: _kept_clips,
    RawClips.kind: _raw_clips,
    KeptTexts.kind: _kept_texts,
    Conversations.kind: _conversations,
}
"""Kind to how its items are shown; other kinds with a table are texts."""
