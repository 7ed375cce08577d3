"""People's own pairs and conversations, from their files to packed rows, with real photographs."""

import json
import shutil
from pathlib import Path

import skimage
import webdataset

from cluster.local import make
from stages.artifacts.kinds import Rows
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.packed_rows.rows import RowReader
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from tests.worlds.mixture_world import LLM

PHOTO_FOLDER = Path(skimage.__file__).parent / "data"
PHOTOS = {
    "astronaut.png": "an astronaut before a flag",
    "chelsea.png": "a cat with orange fur",
    "coffee.png": "a cup of coffee on a saucer",
    "rocket.jpg": "a rocket on its pad at night",
}
"""Photographs that scikit-image ships, and what they show."""


def test_a_webdataset_and_a_llava_set_become_rows(tmp_path: Path) -> None:
    sources = {"my_tars": tar_folder(tmp_path), "my_photos": photo_folder(tmp_path), "my_chat": chat_file(tmp_path)}
    pairs = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("my_tars")))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), pairs)
    wanted = CollectImagesRecipe(source=Source("my_chat"), images=Source("my_photos"))
    pictures = collect_images.bind("pictures", wanted)
    chat = read_conversations.bind("chat", ReadConversationsRecipe(source=Source("my_chat")), pictures)
    mixed = mix_samples.bind("mix", MixRecipe(shares={"pairs": 1, "chat": 1}), {"pairs": kept, "chat": chat})
    small = PackRowsRecipe(max_row_tokens=1024, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
    rows: Rows = make(pack_rows.bind("rows", small, mixed, LLM), tmp_path / "store", sources=sources)
    reader = RowReader(rows)
    documents = [document for row in range(reader.num_rows) for document in reader.documents(row)]
    names = [source for _, source, _ in documents]
    assert names.count("pairs") == names.count("chat") == len(PHOTOS)


def tar_folder(tmp_path: Path) -> str:
    (tmp_path / "tars").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "tars/%03d.tar"), maxcount=3, verbose=0) as writer:
        for name, caption in PHOTOS.items():
            stem, ending = name.split(".")
            writer.write({"__key__": stem, ending: (PHOTO_FOLDER / name).read_bytes(), "txt": caption})
    return str(tmp_path / "tars")


def photo_folder(tmp_path: Path) -> str:
    (tmp_path / "photos/all").mkdir(parents=True)
    for name in PHOTOS:
        shutil.copy(PHOTO_FOLDER / name, tmp_path / "photos/all" / name)
    return str(tmp_path / "photos")


def chat_file(tmp_path: Path) -> str:
    turns = [{"from": "human", "value": "<image>\nWhat is this?"}]
    rows = [
        {"id": name, "image": f"all/{name}", "conversations": [*turns, {"from": "gpt", "value": caption}]}
        for name, caption in PHOTOS.items()
    ]
    (tmp_path / "chat.json").write_text(json.dumps(rows))
    return str(tmp_path / "chat.json")
