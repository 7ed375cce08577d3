"""The data of a new project: pictures of our own drawing, with the texts and tables that people have beside theirs.

Pictures are drawn by the toy world's drawer when a project is written, so that none lies in the package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stages.toy_world.draw import jpeg
from stages.toy_world.language import caption, dialogue, document_text, shuffled_kinds
from stages.toy_world.random_streams import generator
from stages.toy_world.scene import Scene, scene

SEED: Final = 7
NUM_PICTURES: Final = 48
"""Pictures to train on, each with a caption and a conversation."""
NUM_DOCUMENTS: Final = 40


def write_pictures(folder: Path) -> None:
    """Write the training pictures as `000.jpg` and so on."""
    folder.mkdir(parents=True)
    for number in range(NUM_PICTURES):
        (folder / picture_name(number)).write_bytes(jpeg(_scene(number)))


def write_pairs(folder: Path) -> None:
    """Write an image folder: the training pictures, and `metadata.jsonl` with `file_name` and `text`."""
    write_pictures(folder)
    rows = [{"file_name": picture_name(number), "text": text} for number, text in enumerate(captions())]
    (folder / "metadata.jsonl").write_text(_lines(rows), encoding="utf-8")


def write_chat(file: Path) -> None:
    """Write a LLaVA-style JSON about the training pictures, which it names as their folder does."""
    records = [
        {
            "id": f"chat-{number:03d}",
            "image": picture_name(number),
            "conversations": [
                {"from": {"user": "human", "assistant": "gpt"}[message["role"]], "value": message["content"]}
                for message in _chat(number)
            ],
        }
        for number in range(NUM_PICTURES)
    ]
    file.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def write_documents(file: Path) -> None:
    """Write a text-only corpus as JSONL with `id` and `text`."""
    rows = [{"id": f"document-{number:03d}", "text": text} for number, text in enumerate(documents())]
    file.write_text(_lines(rows), encoding="utf-8")


def captions() -> Iterator[str]:
    """The caption of each training picture."""
    return (caption(_scene(number), generator(SEED, "template caption", number)) for number in range(NUM_PICTURES))


def documents() -> Iterator[str]:
    """The documents of the text-only corpus."""
    for number in range(NUM_DOCUMENTS):
        yield document_text(scene(SEED, "told", number), generator(SEED, "template document", number))


def all_texts() -> Iterator[str]:
    """Every text of the data, from which the tokenizer of the tiny models is trained."""
    yield from captions()
    yield from documents()
    for number in range(NUM_PICTURES):
        yield from (message["content"] for message in _chat(number))


def picture_name(number: int) -> str:
    """File name of a training picture."""
    return f"{number:03d}.jpg"


def _scene(number: int) -> Scene:
    return scene(SEED, "train", number)


def _chat(number: int) -> list[dict[str, str]]:
    """A conversation with every kind of question about a training picture."""
    rng = generator(SEED, "template chat", number)
    messages = dialogue(_scene(number), shuffled_kinds(rng), rng)
    return [{**messages[0], "content": f"<image>\n{messages[0]['content']}"}, *messages[1:]]


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
