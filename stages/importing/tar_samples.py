"""Groups the members of a tar into samples, as WebDataset does: by the name up to the first dot of its last part.

`a/000.seg.png` has the key `a/000` and the ending `seg.png`. Members of a sample need not be adjacent, and keys may be
repeated: a second member of the same name begins a second sample of that key, so that no caption is ever put beside
the picture of another sample. Pictures are judged while the tar is streamed through, once, from its beginning to its
end; texts wait in memory, and other members are not read. Nothing is unpickled and no decoder of webdataset is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from stages.formats.sample_table import ItemReason
from stages.importing.captions import MAX_TEXT_BYTES, PICTURE_ENDINGS, TEXT_ENDINGS
from stages.importing.intake import Intake, Outcome
from stages.importing.reasons import ImportReason
from stages.importing.tar_members import TarBrokenError, TarMember, read_member

_NAME: Final = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)


@dataclass(slots=True)
class TarSample:
    """The members of one sample, by their endings in lower case."""

    key: str
    pictures: dict[str, Outcome] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Ending to the name of the member, of pictures."""
    texts: dict[str, bytes | ItemReason] = field(default_factory=dict)

    def has(self, ending: str) -> bool:
        """Whether the sample has a member with this ending."""
        return ending in self.pictures or ending in self.texts

    def picture_ending(self, wanted: str | None) -> str | ImportReason:
        """The ending of the sample's picture: `wanted`, or the only one, those without a dot before those with one."""
        if wanted is not None:
            return wanted if wanted in self.pictures else ImportReason.IMAGE_MISSING
        plain = [ending for ending in self.pictures if "." not in ending]
        found = plain or list(self.pictures)
        if len(found) > 1:
            return ImportReason.SEVERAL_PICTURES
        return found[0] if found else ImportReason.IMAGE_MISSING


@dataclass(frozen=True, slots=True)
class TarContents:
    """What was read of a tar."""

    samples: list[TarSample]
    """The samples, in the order of their first members."""
    broken: TarBrokenError | None
    """Where and how the tar broke off; None where it is whole."""


def key_and_ending(name: str) -> tuple[str, str] | None:
    """Key and ending of a member, the ending in lower case; None of names without both, and of hidden files."""
    matched = _NAME.fullmatch(name.removeprefix("./"))
    return None if matched is None else (matched[1], matched[2].lower())


def read_samples(
    file: BinaryIO, members: Iterable[TarMember], intake: Intake, text_ending: str | None = None
) -> TarContents:
    """The samples of a tar, in one pass. Members that end in `text_ending` are texts too, whatever it is.

    A tar that breaks off gives the samples up to there; the member that is cut off has the break as its reason.
    """
    grouping = _Grouping(text_ending)
    try:
        for member in members:
            place = grouping.place_of(member.name)
            if place is not None and place.is_picture:
                place.sample.pictures[place.ending] = _picture(file, member, intake)
                place.sample.names[place.ending] = member.name
            elif place is not None:
                place.sample.texts[place.ending] = _text(file, member)
    except TarBrokenError as error:
        grouping.cut_off(error)
        return TarContents(grouping.samples, error)
    return TarContents(grouping.samples, None)


def _picture(file: BinaryIO, member: TarMember, intake: Intake) -> Outcome:
    if not member.is_file:
        return ImportReason.NOT_A_FILE
    return intake.take_from(member.size_bytes, lambda: read_member(file, member))


def _text(file: BinaryIO, member: TarMember) -> bytes | ItemReason:
    if not member.is_file:
        return ImportReason.NOT_A_FILE
    return ImportReason.CAPTION_TOO_LARGE if member.size_bytes > MAX_TEXT_BYTES else read_member(file, member)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a member belongs."""

    sample: TarSample
    ending: str
    is_picture: bool


class _Grouping:
    """Finds the sample of each member. Holds an entry for each sample."""

    def __init__(self, text_ending: str | None) -> None:
        self.samples: list[TarSample] = []
        self._newest: dict[str, TarSample] = {}
        self._text_endings = TEXT_ENDINGS if text_ending is None else {*TEXT_ENDINGS, text_ending}

    def place_of(self, name: str) -> _Place | None:
        """The place of a member; None where it is neither picture nor text. A repeated name begins a new sample."""
        named = key_and_ending(name)
        if named is None:
            return None
        key, ending = named
        is_text = ending in self._text_endings
        if not is_text and ending.rpartition(".")[2] not in PICTURE_ENDINGS:
            return None
        sample = self._newest.get(key)
        if sample is None or sample.has(ending):
            sample = self._newest[key] = TarSample(key)
            self.samples.append(sample)
        return _Place(sample, ending, is_picture=not is_text)

    def cut_off(self, error: TarBrokenError) -> None:
        """Give the member that is cut off the break as its reason."""
        named = key_and_ending(error.name)
        if named is None or named[0] not in self._newest:
            return
        sample, ending = self._newest[named[0]], named[1]
        if sample.has(ending):
            return
        if ending in self._text_endings:
            sample.texts[ending] = error.reason
        else:
            sample.pictures[ending] = error.reason
            sample.names[ending] = error.name
