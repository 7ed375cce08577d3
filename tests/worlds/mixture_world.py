"""Sources of a mixture, small and made at once: pairs whose pictures are noise that no decoder would take, texts,
conversations, and a language model folder that holds a tokenizer."""

import hashlib
import io
import random
from contextlib import suppress
from functools import partial
from typing import Any

import pyarrow as pa
from PIL import Image

from cluster.local import local_context
from stages.artifacts.artifact import AnyArtifact
from stages.artifacts.kinds import (
    CONVERSATIONS_FILE,
    DOCUMENTS_FILE,
    PAIRS_FILE,
    SAMPLES_FILE,
    BaseLlm,
    Conversations,
    KeptPairs,
    RawPairs,
    TextDocuments,
)
from stages.artifacts.manifest import Manifest
from stages.commit.attempt import AttemptId
from stages.commit.execute_step import execute_step
from stages.commit.step_spec import StepSpec
from stages.contract import Event, Part, PartDraft, Recipe, StageContext, Step, stage
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.pairs import PairReader
from stages.formats.sample_table import balance_of, sample_id_type, write_table
from stages.formats.tar import TarWriter
from stages.store.store import Store
from stages.toy_world.tokenizer import train_tokenizer

WORDS = (
    "a", "the", "red", "green", "blue", "square", "circle", "left", "right", "of", "above", "below", "one", "two",
    "three", "big", "small", "on", "near",
)  # fmt: skip
SIZES_PX = [(64, 64), (96, 64), (128, 96), (256, 256), (640, 480), (1024, 300)]


class PairsRecipe(Recipe):
    num_pairs: int = 60
    num_parts: int = 3
    split: str = "train"
    decodable: bool = False
    """Whether pictures are real ones; else they are noise, which is made sooner."""


class TextsRecipe(Recipe):
    texts: tuple[str, ...] = ()
    num_texts: int = 40
    num_parts: int = 2


class ChatsRecipe(Recipe):
    num_chats: int = 20
    num_pictures: int = 2


class TokenizerRecipe(Recipe):
    num_pieces: int = 300


def words(chance: random.Random, num_words: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(num_words))


def sample_id(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def parts(num_items: int, num_parts: int) -> list[Part]:
    return [Part(name=f"{n:05d}", task={"numbers": list(range(n, num_items, num_parts))}) for n in range(num_parts)]


def jpeg(chance: random.Random, size_px: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (4, 4), chance.randbytes(48)).resize(size_px).save(file, "JPEG")
    return file.getvalue()


def write_pairs(part: Part, draft: PartDraft, decodable: bool) -> None:
    """Every tenth failed, every seventh is too small for the filter."""
    rows: list[dict[str, Any]] = []
    with TarWriter(draft.path(PAIRS_FILE)) as tar:
        for number in part.task["numbers"]:
            chance = random.Random(number)
            width_px, height_px = (20, 20) if number % 7 == 3 else SIZES_PX[number % len(SIZES_PX)]
            noise = b"\xff\xd8\xff" + chance.randbytes(chance.randint(200, 3000))
            image = jpeg(chance, (width_px, height_px)) if decodable else noise
            row = {"sample_id": sample_id(f"pair {number}"), "url": f"http://toy.invalid/{number}"}
            row |= {"caption": f"{number} shows {words(chance, chance.randint(3, 12))}"}
            if number % 10 == 9:
                rows.append(row | {"verdict": "failed", "reason": "timeout"})
                continue
            key = f"{number:09d}"
            offset = tar.add(key, {"jpg": image, "txt": row["caption"].encode()})["jpg"]
            row |= {"verdict": "kept", "key": key, "sha256": hashlib.sha256(image).digest()}
            row |= {"width_px": width_px, "height_px": height_px}
            rows.append(row | {"image_offset": offset, "image_size_bytes": len(image)})
    names = {"sample_id": sample_id_type(), "url": pa.string(), "caption": pa.string(), "verdict": pa.string()}
    names |= {"reason": pa.string(), "sha256": pa.binary(32), "width_px": pa.int32(), "height_px": pa.int32()}
    names |= {"key": pa.string(), "image_offset": pa.int64(), "image_size_bytes": pa.int64()}
    table = pa.Table.from_pylist(rows, schema=pa.schema(names))
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=PairsRecipe, makes=RawPairs)
def make_pairs(recipe: PairsRecipe, *, ctx: StageContext) -> None:
    work = partial(write_pairs, decodable=recipe.decodable)
    ctx.spread(work, over=parts(recipe.num_pairs, recipe.num_parts), phase="download")


def write_texts(part: Part, draft: PartDraft, texts: tuple[str, ...]) -> None:
    """Every ninth is dropped."""
    rows = []
    for number in part.task["numbers"]:
        chance = random.Random(-number - 1)
        text = texts[number] if texts else f"{number} is {words(chance, chance.randint(5, 60))}"
        dropped = not texts and number % 9 == 8
        verdict = {"verdict": "dropped", "reason": "empty"} if dropped else {"verdict": "kept"}
        rows.append({"sample_id": sample_id(f"text {number}"), "text": text, **verdict})
    names = {"sample_id": sample_id_type(), "text": pa.string(), "verdict": pa.string(), "reason": pa.string()}
    table = pa.Table.from_pylist(rows, schema=pa.schema(names))
    write_table(table, draft.path(DOCUMENTS_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=TextsRecipe, makes=TextDocuments)
def make_texts(recipe: TextsRecipe, *, ctx: StageContext) -> None:
    over = parts(len(recipe.texts) or recipe.num_texts, recipe.num_parts)
    ctx.spread(partial(write_texts, texts=recipe.texts), over=over, phase="read")


def write_chats(part: Part, draft: PartDraft, pictures: KeptPairs, num_pictures: int) -> None:
    """Every fourth is about no picture."""
    kept = [pair.sample_id for pair in PairReader(pictures)]
    rows = []
    for number in part.task["numbers"]:
        chance = random.Random(f"chat {number}")
        about = [] if number % 4 == 3 else chance.sample(kept, num_pictures)
        question = "<image>" * len(about) + words(chance, 6)
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": words(chance, 4)}]
        row = {"sample_id": sample_id(f"chat {number}"), "image_ids": about, "messages": messages}
        rows.append(row | {"kind": None, "answer": None, "verdict": "kept", "reason": None})
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    names = {"sample_id": sample_id_type(), "image_ids": pa.list_(sample_id_type()), "messages": pa.list_(message)}
    names |= dict.fromkeys(("kind", "answer", "verdict", "reason"), pa.string())
    table = pa.Table.from_pylist(rows, schema=pa.schema(names))
    write_table(table, draft.path(CONVERSATIONS_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=ChatsRecipe, makes=Conversations)
def make_chats(recipe: ChatsRecipe, pictures: KeptPairs, *, ctx: StageContext) -> None:
    work = partial(write_chats, pictures=pictures, num_pictures=recipe.num_pictures)
    ctx.spread(work, over=parts(recipe.num_chats, 1), phase="read")


def write_tokenizer(_part: Part, draft: PartDraft, num_pieces: int) -> None:
    chance = random.Random(0)
    train_tokenizer([words(chance, 200)], num_pieces).save(str(draft.path("model/tokenizer.json")))


@stage(number=1, recipe=TokenizerRecipe, makes=BaseLlm)
def make_llm(recipe: TokenizerRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_tokenizer, num_pieces=recipe.num_pieces), over=[Part(name="0")], phase="train")


PAIRS = make_pairs.bind("pairs", PairsRecipe())
KEPT = filter_pairs.bind("kept", FilterPairsRecipe(max_aspect=4.0), PAIRS)
TEXTS = make_texts.bind("texts", TextsRecipe())
CHATS = make_chats.bind("chats", ChatsRecipe(), KEPT)
LLM = make_llm.bind("llm", TokenizerRecipe())


class StoppedError(Exception):
    """The test's own way of dying."""


def spec_of(step: Step[AnyArtifact], store: Store, attempt: str) -> StepSpec:
    return StepSpec.of(step, store, AttemptId.parse(attempt))


def run(spec: StepSpec, stop_after_parts: int | None = None) -> Manifest | None:
    """Carry out one step; None where it is stopped after so many recorded parts."""
    num_recorded = 0

    def post(event: Event) -> None:
        nonlocal num_recorded
        num_recorded += event.event == "part"
        if num_recorded == stop_after_parts:
            raise StoppedError

    with suppress(StoppedError):
        return execute_step(spec, local_context, post)
    return None
