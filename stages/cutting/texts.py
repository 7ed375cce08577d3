"""The texts beside a video as a caption and cues: which counts, and why one cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from stages.cutting.reasons import ClipReason
from stages.cutting.subtitles import SUBTITLE_ENDINGS, Cue, SubtitleError, read_cues
from stages.download.reasons import Reason
from stages.formats.sample_table import ItemReason
from stages.importing.captions import caption_of
from stages.importing.reasons import ImportReason
from stages.origins.clean_text import TextEncodingError, clean_text

CaptionsFrom: TypeAlias = Literal["any", "text", "subtitles", "none"]
"""Which texts become captions: those of a row or beside a video, its subtitles, either, or none."""


class VideoText(NamedTuple):
    """The text of a video."""

    caption: str | None = None
    """Cleaned text of the whole video; None where there is none."""
    cues: tuple[Cue, ...] = ()
    """Its subtitles."""
    reason: ItemReason | None = None
    """Why its text cannot be had."""


def cleaned(text: str | bytes | None) -> str | ItemReason | None:
    """A caption in its clean form, or why it has none."""
    if text is None:
        return None
    try:
        return clean_text(text)
    except TextEncodingError:
        return Reason.CAPTION_ENCODING


def text_of_video(texts: Mapping[str, bytes | ItemReason], wanted: str | None, captions: CaptionsFrom) -> VideoText:
    """The text among `texts`, by their endings. `wanted` names an ending (`en.srt`) or a field of the JSON.

    A text for the whole video is taken before subtitles, where `captions` allows both.
    """
    subtitles = {ending: text for ending, text in texts.items() if ending.rpartition(".")[2] in SUBTITLE_ENDINGS}
    plain = {ending: text for ending, text in texts.items() if ending not in subtitles}
    if captions == "none":
        return VideoText()
    if wanted is not None and wanted in subtitles:
        return _cues({wanted: subtitles[wanted]})
    if captions in ("any", "text") and plain:
        found = caption_of(plain, wanted)
        if isinstance(found, ItemReason) and found is not ImportReason.NO_CAPTION:
            return VideoText(reason=found)
        if not isinstance(found, ItemReason):
            caption = cleaned(found)
            return VideoText(reason=caption) if isinstance(caption, ItemReason) else VideoText(caption)
    return _cues(subtitles) if captions in ("any", "subtitles") else VideoText()


def _cues(subtitles: Mapping[str, bytes | ItemReason]) -> VideoText:
    """The subtitles beside a video: `x.srt` before `x.vtt` before the only one of another name, such as `x.en.srt`."""
    chosen = next((form for form in SUBTITLE_ENDINGS if form in subtitles), None) or _only(subtitles)
    if not subtitles:
        return VideoText()
    if chosen is None:
        return VideoText(reason=ClipReason.SUBTITLES_AMBIGUOUS)
    data = subtitles[chosen]
    if isinstance(data, ItemReason):
        return VideoText(reason=data)
    try:
        return VideoText(cues=read_cues(data, "vtt" if chosen.endswith("vtt") else "srt"))
    except SubtitleError:
        return VideoText(reason=ClipReason.SUBTITLES_UNREADABLE)


def _only(subtitles: Mapping[str, object]) -> str | None:
    return next(iter(subtitles)) if len(subtitles) == 1 else None
