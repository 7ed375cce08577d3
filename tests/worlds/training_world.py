"""A language model and packed rows that take a second to make, and training stages made on them."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cluster.local import LocalContext
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import BaseLlm, Rows
from stages.artifacts.manifest import Manifest
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.execute_step import execute_step
from stages.commit.recorded_facts import recorded_facts
from stages.commit.scratch import scratch_folder
from stages.commit.step_spec import StepSpec
from stages.contract import Event, GangLayout, Part, PartDraft, Rank, Recipe, StageContext, Step, stage
from stages.store.store import Store

WORDS = ["a", "red", "green", "blue", "square", "disc", "on", "the", "left", "right", "of", "one", "two", "three"]


class LlmRecipe(Recipe):
    seed: int = 0
    hidden: int = 32
    num_layers: int = 2
    num_heads: int = 2
    head_dim: int = 16
    ffn: int = 56
    theta: float = 1e6
    num_pieces: int = 290
    """Of the tokenizer."""


class RowsRecipe(Recipe):
    num_rows: int = 24
    seed: int = 0
    max_row_tokens: int = 64
    num_documents: tuple[int, int] = (2, 3)
    """Fewest and most documents of a row; in two rows of three, two thirds of them begin with a picture."""
    num_words: tuple[int, int] = (3, 7)
    """Fewest and most words of a document."""
    picture_px: tuple[int, int] = (32, 64)
    """Width and height."""
    min_pixels_px: int = 2048
    max_pixels_px: int = 8192
    broken_row: int | None = None
    """A row whose picture does not decode."""
    turned_row: int | None = None
    """A row whose picture lies the other way than its tokens say."""


@stage(number=1, recipe=LlmRecipe, makes=BaseLlm)
def make_llm(recipe: LlmRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_llm, recipe=recipe), over=[Part(name="00000")], phase="train")


@stage(number=1, recipe=RowsRecipe, makes=Rows)
def make_rows(recipe: RowsRecipe, llm: BaseLlm, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_rows, recipe=recipe, llm=llm), over=[Part(name="00000")], phase="write")


def write_llm(part: Part, draft: PartDraft, recipe: LlmRecipe) -> None:
    """A random Qwen3 as a hub serves it, with a byte-level tokenizer."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from neo_model.config import NeoConfig
    from neo_model.inputs.conversation import add_special_tokens
    from neo_model.weights.qwen3 import qwen3_shapes

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.num_pieces,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    add_special_tokens(tokenizer)
    tokenizer.save(str(draft.path("model/tokenizer.json")))
    qwen3 = {
        "model_type": "qwen3", "hidden_size": recipe.hidden, "num_attention_heads": recipe.num_heads,
        "num_key_value_heads": recipe.num_heads // 2, "head_dim": recipe.head_dim, "intermediate_size": recipe.ffn,
        "vocab_size": 320, "num_hidden_layers": recipe.num_layers, "rope_theta": recipe.theta,
        "tie_word_embeddings": True,
    }  # fmt: skip
    draft.path("model/config.json").write_text(json.dumps(qwen3))
    config = NeoConfig.from_qwen3(
        qwen3, num_prebuffer_layers=1, image_start_id=1, image_context_id=2, image_end_id=3, patch_hidden=16
    )
    chance = torch.Generator().manual_seed(recipe.seed)
    tensors = {
        name: torch.ones(shape) if len(shape) == 1 else 0.1 * torch.randn(shape, generator=chance)
        for name, shape in qwen3_shapes(config).items()
    }
    save_file(tensors, draft.path("model/model.safetensors"), {"format": "pt"})


def write_rows(part: Part, draft: PartDraft, recipe: RowsRecipe, llm: BaseLlm) -> None:
    """Rows of small documents; every third row has no picture."""
    import pyarrow as pa
    import xxhash
    from tokenizers import Tokenizer

    from stages.formats.packed_rows.row_format import row_key, row_members
    from stages.formats.sample_table import sample_id_type, write_table
    from stages.formats.tar import TarWriter

    tokenizer = Tokenizer.from_file(str(llm.copy_to(draft.scratch / "llm") / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    ids = [vocabulary[token] for token in ("<img>", "<IMG_CONTEXT>", "</img>")]
    index = []
    tar_path = draft.path("rows.tar")
    with TarWriter(tar_path) as tar:
        for number in range(recipe.num_rows):
            documents, tokens, supervised, grids, images = row_content(number, recipe, tokenizer, ids)
            start = tar.size_bytes
            tar.add(row_key(number), row_members(tokens, supervised, documents, grids, images))
            sizes = {"num_tokens": len(tokens), "num_supervised": int(supervised.sum())}
            index.append((number, start, tar.size_bytes - start, sizes, documents, grids))
    data = tar_path.read_bytes()
    table = pa.table(
        {
            "row": pa.array([row for row, *_ in index], pa.int64()),
            "offset": pa.array([start for _, start, *_ in index], pa.int64()),
            "size_bytes": pa.array([size for _, _, size, *_ in index], pa.int64()),
            "digest": pa.array(
                [xxhash.xxh3_64_intdigest(data[start : start + size]) for _, start, size, *_ in index], pa.uint64()
            ),
            "num_tokens": pa.array([sizes["num_tokens"] for *_, sizes, _, _ in index], pa.int32()),
            "num_supervised": pa.array([sizes["num_supervised"] for *_, sizes, _, _ in index], pa.int32()),
            "num_pairs": pa.array([pairs_of(documents, grids) for *_, documents, grids in index], pa.int64()),
            "num_patches": pa.array([sum(h * w for h, w in grids) for *_, grids in index], pa.int32()),
            "sample_ids": pa.array(
                [[one.sample_id for one in documents] for *_, documents, _ in index], pa.list_(sample_id_type())
            ),
            "sources": [[one.source for one in documents] for *_, documents, _ in index],
            "document_tokens": pa.array(
                [[one.num_tokens for one in documents] for *_, documents, _ in index], pa.list_(pa.int32())
            ),
        }
    )
    write_table(table, draft.path("index.parquet"))
    num_documents = sum(len(documents) for *_, documents, _ in index)
    draft.fact(first_row=0, num_rows=recipe.num_rows, num_documents=num_documents)


def pairs_of(documents: Sequence[Any], grids: Sequence[tuple[int, int]]) -> int:
    from neo_model.costs.flops import visible_pairs

    return visible_pairs([one.num_tokens for one in documents], [h * w // 4 for h, w in grids])


def row_content(number: int, recipe: RowsRecipe, tokenizer: Any, ids: Sequence[int]) -> tuple[Any, ...]:
    """Documents, tokens, supervision, grids and pictures of one row."""
    from stages.formats.packed_rows.row_format import DocumentFacts

    rng = np.random.default_rng((recipe.seed, number))
    documents: list[DocumentFacts] = []
    tokens: list[int] = []
    supervised: list[bool] = []
    grids: list[tuple[int, ...]] = []
    images: list[bytes] = []
    num_documents = int(rng.integers(recipe.num_documents[0], recipe.num_documents[1] + 1))
    grid = recipe.picture_px[1] // 16, recipe.picture_px[0] // 16
    for place in range(num_documents):
        picture = number % 3 != 0 and place < max(1, num_documents * 2 // 3)
        num_words = int(rng.integers(recipe.num_words[0], recipe.num_words[1] + 1))
        text = tokenizer.encode(" ".join(rng.choice(WORDS, num_words))).ids
        here = [ids[0], *[ids[1]] * (grid[0] * grid[1] // 4), ids[2], *text] if picture else text
        if picture:
            grids.append(grid[::-1] if number == recipe.turned_row else grid)
            images.append(b"\xff\xd8\xffbroken" if number == recipe.broken_row else jpeg(rng, recipe.picture_px))
        documents.append(
            DocumentFacts(
                sample_id=bytes(rng.integers(0, 256, 16, dtype=np.uint8)),
                source="pairs" if picture else "text",
                repetition=0,
                piece=0,
                num_tokens=len(here),
                num_pictures=int(picture),
            )
        )
        tokens += here
        supervised += [False] * (len(here) - len(text)) + [True] * len(text)
    return documents, np.array(tokens, np.int32), np.array(supervised, bool), grids, images


def jpeg(rng: np.random.Generator, size_px: tuple[int, int]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size_px, tuple(rng.integers(0, 256, 3).tolist())).save(file, "JPEG")
    return file.getvalue()


@dataclass
class SmallWorld:
    """Makes steps in one store, each time as another attempt."""

    store: Store
    scratch: Path
    events: list[Event] = field(default_factory=list)
    num_attempts: int = 0
    allows_rollback: bool = False

    def make(
        self, step: Step[Any], layout: GangLayout | None = None, trouble: Callable[[Rank], None] | None = None
    ) -> Manifest:
        """Make a step and whatever it reads that is missing. `trouble` is done to each rank before it begins."""
        for needed in step.walk()[:-1]:
            self._make_one(needed, GangLayout(), None)
        return self._make_one(step, layout or GangLayout(), trouble)

    def run_gang(self, rank_main: Callable[[Rank], None], layout: GangLayout) -> None:
        """A gang that makes nothing but what `rank_main` does."""
        writer = ArtifactWriter(self.store, "artifacts/nothing/0", step="nothing", attempt=AttemptId("run", 1))
        with troubled_context(writer, self.events.append, layout, None) as context:
            context.run_ranks(rank_main)

    def open(self, step: Step[Any]) -> Any:
        return open_artifact(self.store, step.stage.name, step.fingerprint, step.stage.makes)

    @classmethod
    def at(cls, folder: Path) -> "SmallWorld":
        return cls(Store(folder / "store"), folder / "scratch")

    def checkpoints(self, step: Step[Any]) -> CheckpointRecords:
        """The committed checkpoints of a step."""
        return CheckpointRecords(self.store, self._spec(step).folder)

    def recorded_facts(self, step: Step[Any], phase: str) -> list[dict[str, Any]]:
        """The facts that ranks recorded under `phase`, in order."""
        return [record.facts for record in recorded_facts(self._spec(step).writer, phase)]

    def _make_one(self, step: Step[Any], layout: GangLayout, trouble: Callable[[Rank], None] | None) -> Manifest:
        self.num_attempts += 1
        return execute_step(
            self._spec(step), partial(troubled_context, layout=layout, trouble=trouble), self.events.append
        )

    def _spec(self, step: Step[Any]) -> StepSpec:
        spec = StepSpec.of(step, self.store, AttemptId("run", self.num_attempts))
        return replace(spec, allows_rollback=self.allows_rollback)


class TroubledContext(LocalContext):
    """A local context that does something to each rank before the stage's own function has it."""

    trouble: Callable[[Rank], None] | None = None

    def run_ranks(self, rank_main: Callable[[Rank], None], _: int | None = None, /) -> None:
        super().run_ranks(partial(enter_troubled, trouble=self.trouble, rank_main=rank_main))


def enter_troubled(rank: Rank, trouble: Callable[[Rank], None] | None, rank_main: Callable[[Rank], None]) -> None:
    if trouble is not None:
        trouble(rank)
    rank_main(rank)


@contextmanager
def troubled_context(
    writer: ArtifactWriter, post: Any, layout: GangLayout, trouble: Callable[[Rank], None] | None
) -> Iterator[TroubledContext]:
    with scratch_folder(writer.step) as scratch:
        context = TroubledContext(writer=writer, scratch=scratch, post=post, layout=layout)
        context.trouble = trouble
        yield context
