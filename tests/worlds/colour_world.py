"""A world small enough to learn in seconds: plain pictures, questions about their colour and turn, and a NEO that
has really learned to answer them.
"""

import io
import random
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from cluster.local import make
from stages.artifacts.artifact import AnyArtifact
from stages.artifacts.kinds import CONVERSATIONS_FILE, MODEL_PREFIX, Checkpoint, Conversations, RawPairs
from stages.artifacts.manifest import Manifest
from stages.contract import Part, PartDraft, Recipe, StageContext, Step, stage
from stages.formats.sample_table import balance_of, sample_id_type, write_table
from stages.store.store import Store

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 50), "blue": (40, 60, 220)}
SIZES_PX = {"wide": (96, 64), "tall": (64, 96)}
QUESTIONS = {"colour": "What colour is it?", "turn": "How is it turned?"}
NUM_PICTURES = 36


@dataclass(frozen=True)
class Picture:
    """One plain picture."""

    name: str
    colour: str
    turn: str
    jpeg: bytes

    @property
    def sample_id(self) -> bytes:
        return sample_id_of(self.name)


def sample_id_of(name: str) -> bytes:
    """16 bytes, the last one zero: one id in 256 ends so, and arrays of bytes drop trailing zeros."""
    return sha256(name.encode()).digest()[:15] + b"\0"


def picture(seed: str) -> Picture:
    chance = random.Random(seed)
    colour, turn = chance.choice(list(COLOURS)), chance.choice(list(SIZES_PX))
    shade = tuple(min(255, max(0, value + chance.randint(-25, 25))) for value in COLOURS[colour])
    encoded = io.BytesIO()
    Image.new("RGB", SIZES_PX[turn], shade).save(encoded, "JPEG")
    return Picture(seed, colour, turn, encoded.getvalue())


class PicturesRecipe(Recipe):
    num_pictures: int = NUM_PICTURES
    broken: tuple[str, ...] = ()
    called: str = "held-out"
    """Begins the names of the pictures, which decide what they show."""
    says_turn: bool = False
    """Whether captions say how a picture is turned, beside its colour."""


class QuestionsRecipe(Recipe):
    odd: tuple[tuple[str, str, str, str], ...] = ()
    """Further questions: picture, kind, words, truth."""


class LearnRecipe(Recipe):
    num_steps: int = 120


@stage(number=1, recipe=PicturesRecipe, makes=RawPairs)
def make_pictures(recipe: PicturesRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_pictures, recipe=recipe), over=[Part(name="00000")], phase="download")


@stage(number=1, recipe=QuestionsRecipe, makes=Conversations)
def make_questions(recipe: QuestionsRecipe, pictures: RawPairs, *, ctx: StageContext) -> None:
    work = partial(write_questions, recipe=recipe, num_pictures=pictures.manifest.recipe["num_pictures"])
    ctx.spread(work, over=[Part(name="00000")], phase="read")


@stage(number=1, recipe=LearnRecipe, makes=Checkpoint)
def learn(recipe: LearnRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_checkpoint, recipe=recipe), over=[Part(name="00000")], phase="learn")


def write_pictures(part: Part, draft: PartDraft, recipe: PicturesRecipe) -> None:
    import pyarrow as pa

    pictures = [picture(f"{recipe.called} {number}") for number in range(recipe.num_pictures)]
    pictures += [Picture(name, "red", "wide", picture(name).jpeg[:200]) for name in recipe.broken]
    offsets = [sum(len(other.jpeg) for other in pictures[:number]) for number in range(len(pictures))]
    draft.path("pairs.tar").write_bytes(b"".join(each.jpeg for each in pictures))
    table = pa.table(
        {
            "sample_id": pa.array([each.sample_id for each in pictures], sample_id_type()),
            "url": [f"http://pictures.invalid/{each.name}" for each in pictures],
            "caption": [f"{each.colour} {each.turn}" if recipe.says_turn else each.colour for each in pictures],
            "verdict": ["kept"] * len(pictures),
            "reason": pa.nulls(len(pictures), pa.string()),
            "sha256": pa.array([sha256(each.jpeg).digest() for each in pictures], pa.binary(32)),
            "width_px": pa.array([SIZES_PX[each.turn][0] for each in pictures], pa.int32()),
            "height_px": pa.array([SIZES_PX[each.turn][1] for each in pictures], pa.int32()),
            "image_offset": pa.array(offsets, pa.int64()),
            "image_size_bytes": pa.array([len(each.jpeg) for each in pictures], pa.int64()),
        }
    )
    write_table(table, draft.path("samples.parquet"))
    draft.count(balance_of(table))


def write_questions(part: Part, draft: PartDraft, recipe: QuestionsRecipe, num_pictures: int) -> None:
    import pyarrow as pa

    pictures = [picture(f"held-out {number}") for number in range(num_pictures)]
    asked = [(each.name, kind, QUESTIONS[kind], getattr(each, kind)) for each in pictures for kind in QUESTIONS]
    rows = [conversation(*question) for question in (*asked, *recipe.odd)]
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = [
        ("sample_id", sample_id_type()),
        ("image_ids", pa.list_(sample_id_type())),
        ("messages", pa.list_(message)),
        *((name, pa.string()) for name in ("kind", "answer", "verdict", "reason")),
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema(schema))
    write_table(table, draft.path(CONVERSATIONS_FILE))
    draft.count(balance_of(table))


def conversation(name: str, kind: str, words: str, truth: str) -> dict[str, Any]:
    """A question about the picture of this name; without one where the name is empty."""
    place = "<image>\n" if name else ""
    messages = [{"role": "user", "content": place + words}, {"role": "assistant", "content": truth}]
    return {
        "sample_id": sha256(f"{name}/{kind}/{words}".encode()).digest()[:16],
        "image_ids": [sample_id_of(name)] if name else [],
        "messages": messages,
        "kind": kind,
        "answer": None,
        "verdict": "kept",
        "reason": None,
    }


def write_checkpoint(part: Part, draft: PartDraft, recipe: LearnRecipe) -> None:
    """Train a NEO of a hundred thousand weights on pictures that nobody is asked about."""
    import torch

    from neo_model.config import NeoConfig
    from neo_model.inputs.batch import pack
    from neo_model.inputs.conversation import special_ids
    from neo_model.model import NeoModel
    from neo_model.weights.released import tokenizer_sidecars, write_released

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    ids = special_ids(tokenizer)
    config = NeoConfig(
        hidden=48, num_heads=2, num_kv_heads=1, head_dim=16, ffn=96, vocab_size=352, num_prebuffer_layers=1,
        num_layers=2, patch_hidden=48, tied=True, min_pixels_px=1024, max_pixels_px=8192,
        image_start_id=ids.image_start, image_context_id=ids.image_context, image_end_id=ids.image_end,
    )  # fmt: skip
    model, chance = NeoModel(config), random.Random(0)
    documents = [training_document(tokenizer, config, f"train {number}", chance) for number in range(256)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(recipe.num_steps):
        picked = chance.sample(documents, 24)
        batch = pack([d for d, _ in picked], [p for _, p in picked], image_context_id=config.image_context_id)
        total = model(batch)
        optimizer.zero_grad()
        (total.loss / total.weight).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    folder = draft.path(MODEL_PREFIX + "config.json").parent
    write_released(folder, config, model.state_dict(), tokenizer_sidecars(tokenizer))
    draft.fact(step=recipe.num_steps)


def training_document(tokenizer: Any, config: Any, seed: str, chance: random.Random) -> tuple[Any, Any]:
    from neo_model.inputs.batch import Document
    from neo_model.inputs.conversation import encode_conversation
    from neo_model.inputs.pictures import open_pixels, to_patches

    shown, kind = picture(seed), chance.choice(list(QUESTIONS))
    pixels = open_pixels(shown.jpeg, max_pixels_px=10_000)
    patches, grid = to_patches(pixels, config.min_pixels_px, config.max_pixels_px)
    messages = conversation(seed, kind, QUESTIONS[kind], getattr(shown, kind))["messages"]
    encoded = encode_conversation(tokenizer, messages, [grid[0] * grid[1] // 4])
    return Document(token_ids=encoded.token_ids, supervised=encoded.supervised, grids=[grid]), patches


def tiny_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from neo_model.inputs.conversation import add_special_tokens

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = " ".join(("user assistant", *QUESTIONS.values(), *COLOURS, *SIZES_PX))
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([words] * 10, trainer)
    add_special_tokens(tokenizer)
    return tokenizer


@dataclass(frozen=True)
class ColourWorld:
    """Steps that are made already, and the store that holds them."""

    store: Store
    pictures: Step[RawPairs]
    questions: Step[Conversations]
    checkpoint: Step[Checkpoint]

    def make(self, step: Step[Any]) -> Manifest:
        """Make a step in this process; its manifest."""
        return make(step, self.store).manifest

    def open(self, step: Step[AnyArtifact]) -> AnyArtifact:
        """The artifact of a step, which is made first where it is missing."""
        return make(step, self.store)


def make_colour_world(folder: Path) -> ColourWorld:
    """A world in a store at `folder`, its pictures, questions and checkpoint made."""
    pictures = make_pictures.bind("pictures", PicturesRecipe(broken=("broken",)))
    odd = (
        ("never downloaded", "colour", "What colour is it?", "red"),
        ("broken", "colour", "What colour is it?", "red"),
        ("held-out 0", "blind", "What colour is it now?", "red"),
        ("held-out 1", "colour", "Is it " + "very " * 200 + "red?", "red"),
        ("held-out 2", "colour", "Which of <image> and this?", "red"),
        ("", "word", "Say red.", "red"),
    )
    questions = make_questions.bind("questions", QuestionsRecipe(odd=odd), pictures)
    world = ColourWorld(
        store=Store(folder),
        pictures=pictures,
        questions=questions,
        checkpoint=learn.bind("learned", LearnRecipe()),
    )
    for step in (world.pictures, world.questions, world.checkpoint):
        world.make(step)
    return world
