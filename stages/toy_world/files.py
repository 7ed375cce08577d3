"""The toy world's tables as files, in the forms in which people have such data.

urls.jsonl            url, caption, width, height, similarity, punsafe, pwatermark, language, licence
heldout_urls.jsonl    the same, of pictures never trained on
documents.jsonl       id, text
conversations.jsonl   id, images (URLs), messages (role, content)
questions.jsonl       the same about held-out pictures, the last message the answer; and kind, answer

films.jsonl               video (a URL), caption
heldout_films.jsonl       the same, of films never trained on
film_conversations.jsonl  id, video, messages
pair_conversations.jsonl  id, images (the URLs of two pictures), messages
room_conversations.jsonl  id, images (the URLs of a room seen from two places), messages
ov_questions.jsonl        id, images, videos, messages, the last one the answer, kind, answer: questions about
                          held-out films, then about pairs of held-out pictures, then about held-out rooms

JSON lines, because their bytes follow from the rows alone: Parquet's depend on the version of its writer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias

from stages.toy_world.comparisons.comparison_records import (
    pair_conversations,
    pair_questions,
    room_conversations,
    room_questions,
)
from stages.toy_world.films.film_records import film_conversations, film_questions, film_rows, heldout_film_rows
from stages.toy_world.records import conversations, documents, heldout_questions, heldout_url_rows, url_rows
from stages.toy_world.world import ToyWorld

Rows: TypeAlias = Iterable[Mapping[str, Any]]


def _questions(world: ToyWorld) -> Rows:
    for question in heldout_questions(world):
        answered = [*question.messages, {"role": "assistant", "content": question.answer}]
        yield {
            "id": question.id,
            "images": [question.url],
            "messages": answered,
            "kind": question.kind,
            "answer": question.answer,
        }


def _ov_questions(world: ToyWorld) -> Rows:
    return chain(film_questions(world), pair_questions(world), room_questions(world))


TABLES: Final[Mapping[str, Callable[[ToyWorld], Rows]]] = {
    "urls.jsonl": url_rows,
    "heldout_urls.jsonl": heldout_url_rows,
    "documents.jsonl": documents,
    "conversations.jsonl": conversations,
    "questions.jsonl": _questions,
    "films.jsonl": film_rows,
    "heldout_films.jsonl": heldout_film_rows,
    "film_conversations.jsonl": film_conversations,
    "pair_conversations.jsonl": pair_conversations,
    "room_conversations.jsonl": room_conversations,
    "ov_questions.jsonl": _ov_questions,
}


def write_files(world: ToyWorld, folder: Path) -> None:
    """Write every table of a world into a folder."""
    for name, rows in TABLES.items():
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows(world))
