"""Pairs of photographs, sized, encoded, turned and copied as one likes, with URLs and captions of one's choice."""

import hashlib
import io
from functools import cache

import numpy as np
import skimage.data
from PIL import Image

from neo_model.inputs.pictures import picture_facts
from stages.artifacts.kinds import RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from tests.worlds.photo_world import write_pairs

WHOLE = ("astronaut", "coffee", "chelsea", "rocket", "camera", "moon")
"""Photographs of `skimage.data` that look like no other."""


@cache
def picture(described: str) -> bytes:
    """A picture by its description: `coffee 300 JPEG 90` is a photograph, 300 px wide, as a JPEG of quality 90.

    `turned` behind it stores the pixels on their side, with the EXIF orientation that puts them right; `red 40 PNG 1`
    is a plain colour; `broken 40 JPEG 1` begins as a picture does and does not decode.
    """
    name, side, kind, quality, *turned = described.split()
    if name == "broken":
        return picture("coffee 300 JPEG 90")[:120] + bytes(400)
    if name in WHOLE:
        image = Image.fromarray(np.asarray(getattr(skimage.data, name)())).convert("RGB")
        image = image.resize((int(side), round(int(side) * image.height / image.width)), Image.Resampling.LANCZOS)
    else:
        image = Image.new("RGB", (int(side), int(side)), name)
    exif = Image.Exif()
    if turned:
        image, exif[274] = image.transpose(Image.Transpose.ROTATE_90), 6
    file = io.BytesIO()
    image.save(file, kind, quality=int(quality), exif=exif)
    return file.getvalue()


class CopiesRecipe(Recipe):
    """Pairs, a part for each list of them."""

    parts: list[list[tuple[str, str, str]]]
    """URL, caption and description of the picture of each pair."""
    name: str = "copies"
    """What takes part in the sample ids, so that two sources have different ones."""


def write_copies(part: Part, draft: PartDraft) -> None:
    pairs = []
    for number, (url, caption, described) in enumerate(part.task["pairs"]):
        image = picture(described)
        facts = picture_facts(image if not described.startswith("broken") else picture("red 40 JPEG 90"))
        sample_id = hashlib.sha256(f"{part.task['name']} {part.name} {number}".encode()).digest()[:16]
        row = {"sample_id": sample_id, "url": url, "caption": caption}
        pairs.append((row | {"width_px": facts.width_px, "height_px": facts.height_px}, image))
    write_pairs(pairs, draft)


@stage(number=1, recipe=CopiesRecipe, makes=RawPairs)
def make_copies(recipe: CopiesRecipe, *, ctx: StageContext) -> None:
    parts = [
        Part(name=f"{number:05d}", task={"pairs": pairs, "name": recipe.name})
        for number, pairs in enumerate(recipe.parts)
    ]
    ctx.spread(write_copies, over=parts, phase="download")
