"""What comes in to the stages of ingestion: lists, tars, conversations, texts and models, in a few parts each."""

import base64
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.kill.counting_web import CountingWeb, body_of, cut_off
from tests.worlds.clip_models import write_clip
from tests.worlds.model_folders import write_neo
from tests.worlds.text_world import document

FILES = ("urls.jsonl", "documents.jsonl", "talks.jsonl", "photos", "tars", "clip", "neo")
"""Names below the folder of the world, which are the names of the sources too."""
NUM_PARTS = 6
NUM_URLS_PER_PART = 24
NUM_DOCUMENTS_PER_PART = 12
NUM_IMAGES_PER_PART = 24
NUM_PAIRS_PER_TAR = 48
MAX_TAR_BYTES = 100_000
"""Larger tars are read in stretches, so that three tars are six parts or more."""
FIRST_TALKED_ABOUT = 1200
"""Number of the first picture of the web that a conversation refers to; the URL list has lower ones."""


def write_files(folder: Path, web: CountingWeb) -> None:
    """Write all of them."""
    numbers = range(NUM_PARTS * NUM_URLS_PER_PART)
    urls = [{"url": web.url(number), "caption": f"a red dog shows the number {number}"} for number in numbers]
    write_lines(folder / "urls.jsonl", urls)
    texts = [document(number % 40) for number in range(NUM_PARTS * NUM_DOCUMENTS_PER_PART)]
    write_lines(folder / "documents.jsonl", [{"text": text} for text in texts])
    write_talks(folder, web)
    (folder / "tars").mkdir()
    for number in range(3):
        write_tar(folder / f"tars/{number}.tar", NUM_PAIRS_PER_TAR * number)
    write_clip(folder / "clip")
    write_neo(folder / "neo")


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_talks(folder: Path, web: CountingWeb) -> None:
    """Conversations about pictures of the web, of a folder and of the table itself, some of them broken or not there;
    every second is talked about twice."""
    (folder / "photos").mkdir()
    names = []
    for number in range(NUM_PARTS * NUM_IMAGES_PER_PART):
        data = cut_off(number) if number % 12 == 9 else body_of(number)
        match number // 12 % 3:
            case 0:
                names.append(web.url(FIRST_TALKED_ABOUT + number))
            case 1:
                names.append(f"{number}.jpg")
                if number % 12 != 10:
                    (folder / "photos" / names[-1]).write_bytes(data)
            case 2:
                names.append(f"data:image/jpeg;base64,{base64.b64encode(data).decode()}")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]
    write_lines(folder / "talks.jsonl", [{"image": name, "conversations": turns} for name in [*names, *names[::2]]])


def write_tar(path: Path, first: int) -> None:
    """A tar of pairs, some of whose pictures are broken, and some of which have no caption."""
    with tarfile.open(path, "w") as tar:
        for number in range(first, first + NUM_PAIRS_PER_TAR):
            members = {"jpg": cut_off(number) if number % 12 == 9 else body_of(number), "txt": b"a cup %d" % number}
            if number % 16 == 3:
                del members["txt"]
            for ending, data in members.items():
                member = tarfile.TarInfo(f"{number:06d}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
