"""Train the toy language model: a byte-level BPE tokenizer and a tiny plain Qwen3, on the toy world's text.

Makes  BaseLlm    one part: `model/` with config.json, generation_config.json, model.safetensors, tokenizer.json,
                  tokenizer_config.json, vocab.json, merges.txt, as in the folder of a Qwen3 on a model hub
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stages.artifacts.kinds import MODEL_PREFIX, BaseLlm
from stages.artifacts.records import ItemBalance
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.toy_world.language_model import (
    LlmSchedule,
    LlmSizes,
    hub_config,
    save_language_model,
    train_language_model,
)
from stages.toy_world.records import document_record, text_conversation
from stages.toy_world.tokenizer import QWEN3_PLAIN_TOKENS, QWEN3_SPECIAL_TOKENS, save_tokenizer, train_tokenizer
from stages.toy_world.world import ToyWorld

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from neo_model.inputs.conversation import EncodedDocument

NUM_TOKENIZER_DOCUMENTS = 2000
"""Documents from which the tokenizer learns its pieces; they hold every word of the toy language many times."""


class ToyLlmRecipe(Recipe):
    """A language model of a size that trains in a minute."""

    world: ToyWorld
    """The world whose documents and text-only conversations it is trained on."""
    max_pieces: int = Field(default=512, ge=257)
    """Pieces of the tokenizer, the 256 bytes among them."""
    hidden: int = Field(default=128, ge=1)
    """Width of the residual stream."""
    num_layers: int = Field(default=3, ge=1)
    """Decoder layers."""
    num_heads: int = Field(default=4, ge=1)
    """Query heads."""
    num_kv_heads: int = Field(default=2, ge=1)
    """Key and value heads."""
    head_dim: int = Field(default=32, ge=4)
    """Width of an attention head."""
    ffn: int = Field(default=384, ge=1)
    """Inner width of the feed-forward network."""
    max_tokens: int = Field(default=4096, ge=1)
    """Longest sequence that the model's configuration promises, in tokens."""
    num_steps: int = Field(default=200, ge=1)
    """Optimizer steps."""
    documents_per_step: int = Field(default=48, ge=2)
    """Texts of one optimizer step: half documents, half conversations without a picture."""
    peak_learning_rate: float = Field(default=3e-3, gt=0)
    """AdamW learning rate after warm-up."""
    num_warmup_steps: int = Field(default=20, ge=1)
    """Optimizer steps over which the learning rate rises linearly."""
    seed: int = 0
    """Seed of the initial weights."""

    @property
    def sizes(self) -> LlmSizes:
        """The fields that decide the shapes of the weights."""
        return LlmSizes(
            hidden=self.hidden,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            ffn=self.ffn,
            max_tokens=self.max_tokens,
        )

    @property
    def schedule(self) -> LlmSchedule:
        """The fields that decide how the weights are trained."""
        return LlmSchedule(
            num_steps=self.num_steps,
            num_warmup_steps=self.num_warmup_steps,
            peak_learning_rate=self.peak_learning_rate,
            seed=self.seed,
        )

    def expected_config(self) -> dict[str, Any]:
        """`config.json` as it will be if the tokenizer learns all its pieces, which it does on a corpus of any size."""
        added = enumerate((*QWEN3_SPECIAL_TOKENS, *QWEN3_PLAIN_TOKENS), self.max_pieces)
        return hub_config(self.sizes, {token: number for number, token in added})


def corpus(recipe: ToyLlmRecipe, tokenizer: Tokenizer) -> Iterator[EncodedDocument]:
    """The world's documents and text-only conversations, alternating and repeated without end."""
    from neo_model.inputs.conversation import encode_conversation, encode_text

    world, number = recipe.world, 0
    while True:
        document = document_record(world, number % world.num_documents)
        yield encode_text(tokenizer, document["text"])
        conversation = text_conversation(world.seed, number % world.num_text_conversations)
        yield encode_conversation(tokenizer, conversation["messages"], ())
        number += 1


def train_part(_: Part, draft: PartDraft, recipe: ToyLlmRecipe) -> None:
    """Train and save tokenizer and model."""
    from neo_model.inputs.conversation import load_tokenizer

    folder = draft.path(MODEL_PREFIX + "config.json").parent
    numbers = range(min(NUM_TOKENIZER_DOCUMENTS, recipe.world.num_documents))
    texts = (document_record(recipe.world, number)["text"] for number in numbers)
    tokenizer = train_tokenizer(texts, recipe.max_pieces)
    save_tokenizer(tokenizer, folder, recipe.max_tokens)
    config = hub_config(recipe.sizes, tokenizer.get_vocab(with_added_tokens=True))

    endless = corpus(recipe, load_tokenizer(folder))
    steps = (tuple(islice(endless, recipe.documents_per_step)) for _ in range(recipe.num_steps))
    save_language_model(train_language_model(config, steps, recipe.schedule), config, folder)
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=ToyLlmRecipe, makes=BaseLlm, phases=("train",))
def train_toy_llm(recipe: ToyLlmRecipe, *, ctx: StageContext) -> None:
    """Train tokenizer and language model, in one part."""
    ctx.spread(partial(train_part, recipe=recipe), over=(Part(name="model", num_items=1),), phase="train")
