"""The first samples of a tar: members with one name up to the first dot, as WebDataset groups them."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Final

from pipelines.preview.items import PreviewItem, PreviewPicture, PreviewSpan, SpanRole
from pipelines.preview.thumbnails import thumbnail
from stages.importing.forms import is_picture

MAX_MEMBER_BYTES: Final = 50_000_000
"""Largest member that is read."""
MAX_TEXT_BYTES: Final = 100_000
TEXT_ENDINGS: Final = (".txt", ".caption", ".text", ".json")


def tar_items(stream: IO[bytes], path: str) -> Iterator[PreviewItem]:
    """The samples of a tar, read from its beginning only as far as they are asked for.

    Where it is cut off or damaged, the last item says so.
    """
    last = "its beginning"
    try:
        for item in _samples(stream, path):
            last = item.heading
            yield item
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        yield PreviewItem(heading=f"{path}: after {last}", verdict=f"failed: the tar is cut off or damaged ({error})")


def _samples(stream: IO[bytes], path: str) -> Iterator[PreviewItem]:
    key = ""
    members: list[tuple[str, int, bytes | None]] = []
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            if not member.isfile():
                continue
            folder, slash, name = member.name.rpartition("/")
            here = f"{folder}{slash}{name.partition('.')[0]}"
            if here != key and members:
                yield _item(path, key, members)
                members = []
            key = here
            reads = is_picture(member.name) or member.name.lower().endswith(TEXT_ENDINGS)
            content = tar.extractfile(member) if reads and member.size <= MAX_MEMBER_BYTES else None
            members.append((member.name, member.size, content.read() if content else None))
    if members:
        yield _item(path, key, members)


def _item(path: str, key: str, members: list[tuple[str, int, bytes | None]]) -> PreviewItem:
    """One sample: its pictures, its texts, and the sizes of its other members."""
    pictures: list[PreviewPicture] = []
    spans, fields = [], []
    for name, size_bytes, content in members:
        if content is None:
            fields.append((name, f"{size_bytes:,} bytes"))
        elif is_picture(name):
            pictures.append(thumbnail(content))
        else:
            text = content[:MAX_TEXT_BYTES].decode("utf-8", "replace")
            spans.append(PreviewSpan(role=SpanRole.GIVEN, text=text, speaker=name.rpartition(".")[2]))
    verdict = "" if any(picture.jpeg for picture in pictures) else "failed: no picture that decodes"
    return PreviewItem(
        heading=f"{path}: {key}", verdict=verdict, fields=tuple(fields), spans=tuple(spans), pictures=tuple(pictures)
    )
