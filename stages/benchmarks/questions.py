"""Reads one record of a benchmark into a question: a conversation of one turn of the user and the right answer.

Owns how a question's video is found among clips that may have been collected under several names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from stages.benchmarks.benchmark import Benchmark
from stages.benchmarks.prompts import PromptPiece, spell_question
from stages.conversations.conversation_table import Entry, FindClips
from stages.conversations.image_references import ImageReference, ImageReferenceError, Record
from stages.conversations.names.clip_names import FoundClip
from stages.conversations.placeholders import PLAIN_RULE, PlacingRule
from stages.conversations.questions import QuestionForm, SharedImages, held_pictures, of_split
from stages.conversations.reading import ParsedRecord, ReadingLimits, parsed
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.turns import PictureHere, Piece, Turn, VideoHere
from stages.conversations.videos.references import VideoReference, VideoReferenceError, field_videos


def parse_benchmark_question(
    record: Record, benchmark: Benchmark, form: QuestionForm, limits: ReadingLimits, shared: SharedImages
) -> ParsedRecord:
    """Read one record of `rows.py`. Raises `UnreadableRecordError`."""
    of_split(record, form)
    held = held_pictures(record, shared)
    if len(held) > limits.max_images:
        raise UnreadableRecordError(ConversationReason.TOO_MANY_IMAGES)
    spelled = spell_question(record, benchmark, len(held))
    if sum(len(piece) for piece in spelled.pieces if isinstance(piece, str)) > limits.max_chars:
        raise UnreadableRecordError(ConversationReason.TOO_LONG)
    names = video_alternatives(record)
    if benchmark.video_style and not names:
        raise UnreadableRecordError(ConversationReason.VIDEO_MISSING)
    asked = Turn("user", tuple(_here(piece, held, names) for piece in spelled.pieces))
    system = benchmark.system_prompt if form.system_prompt is None else form.system_prompt
    turns = [*([Turn("system", (system,))] if system else []), asked, Turn("assistant", (spelled.answer,))]
    known = {**record, "kind": spelled.kind or form.kind, "answer": spelled.answer, "scoring": spelled.scoring}
    known["truths"] = list(spelled.truths)
    rule = PlacingRule(video_style=benchmark.video_style) if benchmark.video_style else PLAIN_RULE
    return parsed(known, turns, limits, options=spelled.options, rule=rule)


def video_alternatives(record: Record) -> list[VideoReference]:
    """The names, and the stretch, under which the video of a record may have been collected."""
    try:
        return [video for video in field_videos(record) if isinstance(video, VideoReference)]
    except (VideoReferenceError, ImageReferenceError) as error:
        raise UnreadableRecordError(ConversationReason.VIDEO_REFERENCE) from error


def first_collected(find: FindClips, entries: Iterable[Entry]) -> FindClips:
    """Finds the video of each of these questions under the first of its names under which it was collected."""
    names: dict[VideoReference, list[VideoReference]] = {}
    for entry in entries:
        if isinstance(entry, ParsedRecord) and entry.videos:
            alternatives = video_alternatives(entry.record)
            names[alternatives[0]] = list(dict.fromkeys([*names.get(alternatives[0], ()), *alternatives]))

    def find_first(wanted: Collection[VideoReference]) -> Mapping[VideoReference, FoundClip]:
        found = find({name for one in wanted for name in names.get(one, [one])})
        return {one: _best([found[name] for name in names.get(one, [one])]) for one in wanted}

    return find_first


def _best(found: Sequence[FoundClip]) -> FoundClip:
    """The first clip; where there is none, the reason that says more than that there is none."""
    clips = [one for one in found if isinstance(one, bytes)]
    reasons = [one for one in found if one is not ConversationReason.VIDEO_MISSING]
    return clips[0] if clips else reasons[0] if reasons else found[0]


def _here(piece: PromptPiece, held: Sequence[ImageReference], videos: Sequence[VideoReference]) -> Piece:
    if isinstance(piece, str):
        return piece
    return (
        PictureHere(held[piece.number], is_tag=True) if piece.kind == "picture" else VideoHere(videos[0], is_tag=True)
    )
