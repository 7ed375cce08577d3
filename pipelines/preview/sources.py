"""The preview of a source: its files, what they are taken for, and the first rows as they will be read.

Nothing is pinned or stored, and no picture is asked for over the web. Rows of tables are in `table_rows.py`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pipelines.preview.conversation_rows import ConversationRows
from pipelines.preview.film_items import FilmViewer, film_items
from pipelines.preview.folder_captions import Captions, open_listed
from pipelines.preview.items import Preview, PreviewItem
from pipelines.preview.source_guess import SourceGuess, guess_files, guess_table
from pipelines.preview.table_rows import RowViewer
from pipelines.preview.tars import tar_items
from pipelines.preview.thumbnails import thumbnail
from stages.contract import StageError
from stages.contract.source import SOURCE_NAME_PATTERN
from stages.cutting.film_names import is_video
from stages.importing.forms import STATS_ENDING, is_metadata, is_picture, is_tar
from stages.importing.tar_members import TarBrokenError, tar_members
from stages.origins.pinning import Selected, select
from stages.origins.places.place import ListedFile, Place
from stages.origins.tables.batches import read_rows
from stages.origins.tables.formats import format_of, known_format

MAX_CONFIG_BYTES: Final = 1_000_000
MAX_MEMBERS: Final = 8
"""Members of a tar that tell whether it holds pictures or videos."""
MAX_PICTURE_BYTES: Final = 50_000_000
NUM_KINDS_NAMED: Final = 6
"""Kinds of files that are listed, most frequent first."""


def preview_of_source(
    name: str, uris: Sequence[str], base: Path, *, skip: int, num_items: int, images: Place | None = None
) -> Preview:
    """The first items of the files that `uris` select; relative ones are below `base`.

    `images` is where pictures lie that a table names by paths; None takes the place of the table. Raises `StageError`
    where nothing is there, or it cannot be read at all.
    """
    selected = select(uris, base)
    tables = [file for file in selected.files if known_format(file.path) is not None and not _is_beside(file, selected)]
    guess = guess_files([file.path for file in selected.files])
    shown: Iterator[PreviewItem]
    if guess.reader == "fetch_llm":
        shown = _model_items(selected)
    elif tables:
        guess, shown = _table_items(name, selected, tables, skip, images or selected.place)
    elif guess.reader == "cut_clips" or _holds_videos(selected):
        guess = replace(guess, reader="cut_clips", about=guess.about.replace("tars of pairs", "tars of videos"))
        shown = film_items(name, selected, skip=skip)
    else:
        shown = islice(_file_items(selected), skip, None)
    items = list(islice(shown, num_items))
    lost = Counter(item.verdict for item in items if item.verdict not in ("", "kept"))
    return Preview(
        title=f"source {name}: items {skip} to {skip + len(items) - 1}" if items else f"source {name}: no item",
        facts=(*_facts(name, selected, guess),),
        troubles=(*([guess.trouble] if guess.trouble else []), *_told(lost, len(items))),
        items=tuple(items),
    )


def _is_beside(file: ListedFile, selected: Selected) -> bool:
    """Whether a file that could be a table stands beside what it describes: text, JSON or a table beside pictures."""
    if not any(is_picture(other.path) or is_tar(other.path) or is_video(other.path) for other in selected.files):
        return False
    stem = file.path.rsplit(".", 1)[0]
    return (
        is_metadata(file.path)
        or file.path.endswith((".txt", STATS_ENDING))
        or any(other.path != file.path and other.path.rsplit(".", 1)[0] == stem for other in selected.files)
    )


def _holds_videos(selected: Selected) -> bool:
    """Whether the first members of the first tar are videos."""
    first = next((file for file in selected.files if file.path.lower().endswith(".tar")), None)
    if first is None:
        return False
    with open_listed(selected, first) as stream:
        try:
            return any(is_video(member.name) for member in islice(tar_members(stream), MAX_MEMBERS))
        except TarBrokenError:
            return False


def _table_items(
    name: str, selected: Selected, tables: Sequence[ListedFile], skip: int, images: Place
) -> tuple[SourceGuess, Iterator[PreviewItem]]:
    """What the tables of the source `name` hold, judged by the first row, and their rows from `skip` on."""

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for file in tables:
            with open_listed(selected, file) as stream:
                for row in read_rows(stream, format_of(file.path), name=file.path):
                    yield file.path, row

    _, first = next(rows(), ("", None))
    if first is None:
        return SourceGuess(reader="", about="a table without rows"), iter(())
    guess, conversations = guess_table(list(first), first), None
    if guess.reader == "read_conversations":
        try:
            conversations = ConversationRows.of(guess.columns["messages"], first, name)
        except StageError as error:
            guess = replace(guess, trouble=str(error))

    def items() -> Iterator[PreviewItem]:
        with FilmViewer() as films:
            viewer = RowViewer(images, guess, films, conversations)
            for number, (path, row) in enumerate(islice(rows(), skip, None), skip):
                yield viewer.item(path, number, row)

    return guess, items()


def _file_items(selected: Selected) -> Iterator[PreviewItem]:
    """The samples of tars, and pictures that lie as files, with their captions."""
    captions = Captions(selected)
    for file in selected.files:
        if is_tar(file.path):
            with open_listed(selected, file) as stream:
                yield from tar_items(stream, file.path)
        elif is_picture(file.path):
            if file.size_bytes > MAX_PICTURE_BYTES:
                yield PreviewItem(heading=file.path, verdict="dropped: too_large")
                continue
            with open_listed(selected, file) as stream:
                picture = thumbnail(stream.read())
            yield captions.item(file.path, picture)


def _model_items(selected: Selected) -> Iterator[PreviewItem]:
    """The configuration of a model's folder."""
    for file in selected.files:
        if file.path.rpartition("/")[2] == "config.json" and file.size_bytes <= MAX_CONFIG_BYTES:
            with open_listed(selected, file) as stream:
                config = json.loads(stream.read())
            plain = {name: value for name, value in config.items() if not isinstance(value, dict | list)}
            yield PreviewItem(heading=file.path, fields=tuple((name, str(value)) for name, value in plain.items()))


def _facts(name: str, selected: Selected, guess: SourceGuess) -> Iterator[tuple[str, str]]:
    yield "place", selected.place.url
    endings = Counter(file.path.rpartition("/")[2].partition(".")[2] or "no ending" for file in selected.files)
    kinds = ", ".join(f"{number:,} {ending}" for ending, number in endings.most_common(NUM_KINDS_NAMED))
    yield "files", f"{len(selected.files):,} files, {selected.size_bytes:,} bytes: {kinds}"
    yield "taken for", guess.about
    if guess.reader:
        yield "read by", guess.binding(source_name(name))
    if source_name(name) != name:
        yield "in sources.toml", f"[{source_name(name)}] uri = {json.dumps(name)}"


def source_name(what: str) -> str:
    """A name for a source that was looked at by its path: `data/my urls.csv.gz` is `my_urls`."""
    if re.fullmatch(SOURCE_NAME_PATTERN, what) and "." not in what:
        return what
    stem = what.rstrip("/").rpartition("/")[2].partition(".")[0]
    return re.sub(r"\W+", "_", stem).strip("_") or "my_data"


def _told(lost: Counter[str], num_items: int) -> Iterator[str]:
    for verdict, number in lost.most_common():
        yield f"{number} of the {num_items} items shown end as {verdict}"
