"""Conversations of one's own over photographs and clips, read as a stage reads them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.local import make
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations
from stages.contract import Source
from stages.formats.sample_table import read_table
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from tests.worlds.photo_world import PHOTOS, PhotosRecipe, make_photos

NAMES = {f"photos/{name}.jpg": name for name in PHOTOS}


def rows_of(made: Any) -> list[dict[str, Any]]:
    return pa.concat_tables(read_table(made.read(part.file(CONVERSATIONS_FILE))) for part in made.parts).to_pylist()


def read(path: Path | str, names: dict[str, str] | None = None, **fields: Any) -> Conversations:
    """The conversations of a file, over photographs that were collected under these names."""
    folder = Path(path).parent
    pictures = make_photos.bind("photos", PhotosRecipe(names=names)) if names else None
    recipe = ReadConversationsRecipe(source=Source("chats"), **fields)
    return make(read_conversations.bind("talks", recipe, pictures), folder / "store", sources={"chats": str(path)})


def read_videos(folder: Path, records: list[Any], clips: Any, **fields: Any) -> list[dict[str, Any]]:
    """The rows of records over the photographs and the clips of `clips`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    pictures = make_photos.bind("photos", PhotosRecipe(names=NAMES))
    recipe = ReadConversationsRecipe(source=Source("chats"), max_share_lost=1, **fields)
    step = read_conversations.bind("talks", recipe, pictures, clips)
    return rows_of(make(step, folder / "store", sources={"chats": str(path)}))
