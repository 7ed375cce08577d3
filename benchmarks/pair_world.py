"""Image-text pairs of the sizes that the web has, made without a network, for the benchmarks of packing and loading.

JPEGs of 20 to 80 KB (39 KB on average, as in LAION at 512 px), a caption of a dozen words each; two hundred pictures
are drawn and used again and again, because the benchmarks read bytes and never compare pictures.
"""

from __future__ import annotations

import hashlib
import random
from functools import partial
from io import BytesIO

import numpy as np
import pyarrow as pa
from PIL import Image

from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, BaseLlm, Draw, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, Step, stage
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.sample_table import balance_of, sample_id_type, write_table
from stages.formats.tar import TarWriter
from stages.mix_samples import MixRecipe, mix_samples
from stages.toy_world.tokenizer import train_tokenizer

NUM_PICTURES = 200
NUM_PAIRS_PER_PART = 1000
WORDS = [f"{first}{second}" for first in "bcdfghklmnprst" for second in ("a", "ell", "in", "ord", "ust", "ight")]


class PairWorldRecipe(Recipe):
    """How many pairs are made."""

    num_pairs: int


class LlmRecipe(Recipe):
    """How many pieces the tokenizer has."""

    num_pieces: int = 2000


def pictures() -> list[tuple[bytes, int, int]]:
    """JPEGs with width and height in pixels: smooth noise, which compresses like photographs."""
    chance = np.random.default_rng(0)
    encoded = []
    for number in range(NUM_PICTURES):
        width_px, height_px = ((512, 384), (384, 512), (512, 512), (640, 400))[number % 4]
        coarse = chance.integers(0, 255, (height_px // 8, width_px // 8, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width_px, height_px), Image.Resampling.BICUBIC)
        grain = chance.normal(0, 6, (height_px, width_px, 1))
        image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
        file = BytesIO()
        image.save(file, "JPEG", quality=75)
        encoded.append((file.getvalue(), width_px, height_px))
    return encoded


def write_pairs(part: Part, draft: PartDraft) -> None:
    """Write the pairs of one part."""
    drawn = pictures()
    rows = []
    with TarWriter(draft.path(PAIRS_FILE)) as tar:
        for number in range(part.task["first"], part.task["first"] + NUM_PAIRS_PER_PART):
            chance = random.Random(number)
            image, width_px, height_px = drawn[number % NUM_PICTURES]
            caption = " ".join(chance.choices(WORDS, k=chance.randint(5, 25)))
            offset = tar.add(f"{number:09d}", {"jpg": image, "txt": caption.encode(), "json": b"{}"})["jpg"]
            rows.append(
                {
                    "sample_id": hashlib.sha256(b"%d" % number).digest()[:16],
                    "url": f"http://pairs.invalid/{number}",
                    "caption": caption,
                    "verdict": "kept",
                    "reason": None,
                    "sha256": hashlib.sha256(image).digest(),
                    "width_px": width_px,
                    "height_px": height_px,
                    "key": f"{number:09d}",
                    "image_offset": offset,
                    "image_size_bytes": len(image),
                }
            )
    kinds = {"sample_id": sample_id_type(), "url": pa.string(), "caption": pa.string(), "verdict": pa.string()}
    kinds |= {"reason": pa.string(), "sha256": pa.binary(32), "width_px": pa.int32(), "height_px": pa.int32()}
    kinds |= {"key": pa.string(), "image_offset": pa.int64(), "image_size_bytes": pa.int64()}
    table = pa.Table.from_pylist(rows, schema=pa.schema(kinds))
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=PairWorldRecipe, makes=RawPairs)
def make_pair_world(recipe: PairWorldRecipe, *, ctx: StageContext) -> None:
    """Pairs in parts of `NUM_PAIRS_PER_PART`."""
    num_parts = -(-recipe.num_pairs // NUM_PAIRS_PER_PART)
    parts = [Part(name=f"{n:05d}", task={"first": n * NUM_PAIRS_PER_PART}) for n in range(num_parts)]
    ctx.spread(write_pairs, over=parts, phase="download")


def write_tokenizer(_part: Part, draft: PartDraft, num_pieces: int) -> None:
    """Train a tokenizer on the words of the captions."""
    train_tokenizer([" ".join(WORDS)], num_pieces).save(str(draft.path("model/tokenizer.json")))


@stage(number=1, recipe=LlmRecipe, makes=BaseLlm)
def make_llm(recipe: LlmRecipe, *, ctx: StageContext) -> None:
    """A language model that is only a tokenizer."""
    ctx.spread(partial(write_tokenizer, num_pieces=recipe.num_pieces), over=[Part(name="0")], phase="train")


LLM = make_llm.bind("llm", LlmRecipe())


def draw_of(num_pairs: int) -> Step[Draw]:
    """A draw of `num_pairs` pairs, after a filter."""
    pairs = make_pair_world.bind("pairs", PairWorldRecipe(num_pairs=num_pairs))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), pairs)
    return mix_samples.bind("mix", MixRecipe(shares={"pairs": 1}), {"pairs": kept})
