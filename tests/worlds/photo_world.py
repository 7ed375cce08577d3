"""Photographs that scikit-image ships, as image bytes and as pairs that were collected under names of one's choice."""

import hashlib
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import skimage.data
from PIL import Image

from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import balance_of, sample_id_type, verdict_columns, write_table
from stages.formats.tar import TarWriter

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
"""Names of photographs in `skimage.data`."""


@cache
def photo(name: str, kind: str = "JPEG") -> bytes:
    """A photograph, some 100 px wide, in a format of Pillow."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(getattr(skimage.data, name)()))
    image.thumbnail((120, 120))
    image.save(file, kind)
    return file.getvalue()


def named(data: bytes) -> str:
    """What a picture inside a record is called."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class PhotosRecipe(Recipe):
    names: dict[str, str]
    """What a picture is called to the photograph that it is."""


def write_photos(part: Part, draft: PartDraft) -> None:
    pairs = []
    for name, which in part.task["names"]:
        image = photo(which)
        width_px, height_px = Image.open(io.BytesIO(image)).size
        row = {"sample_id": hashlib.sha256(name.encode()).digest()[:16], "url": name, "caption": ""}
        pairs.append((row | {"width_px": width_px, "height_px": height_px}, image))
    write_pairs(pairs, draft)


def write_pairs(pairs: Sequence[tuple[dict[str, Any], bytes]], draft: PartDraft) -> None:
    """Write the tar and the sample table of kept pairs: what a row says of a picture beyond its bytes, and those."""
    rows: list[dict[str, Any]] = []
    with TarWriter(draft.path(PAIRS_FILE)) as tar:
        for number, (row, image) in enumerate(pairs):
            key = f"{number:09d}"
            offset = tar.add(key, {"jpg": image, "txt": row["caption"].encode(), "json": b"{}"})["jpg"]
            stored = {"key": key, "image_offset": offset, "image_size_bytes": len(image)}
            rows.append({**row, **stored, "sha256": hashlib.sha256(image).digest()})
    kinds = {"sample_id": sample_id_type(), "url": pa.string(), "caption": pa.string(), "sha256": pa.binary(32)}
    kinds |= {"width_px": pa.int32(), "height_px": pa.int32(), "key": pa.string()}
    kinds |= {"image_offset": pa.int64(), "image_size_bytes": pa.int64()}
    table = pa.Table.from_pylist(rows, schema=pa.schema(kinds))
    for name, column in verdict_columns([None] * len(rows)).items():
        table = table.append_column(name, column)
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=PhotosRecipe, makes=RawPairs)
def make_photos(recipe: PhotosRecipe, *, ctx: StageContext) -> None:
    names = list(recipe.names.items())
    parts = [Part(name=f"{part:05d}", task={"names": names[part::2]}) for part in range(2)]
    ctx.spread(write_photos, over=parts, phase="download")
