"""Train the toy language model: a byte-level BPE tokenizer and a tiny plain Qwen3, on the toy world's text alone.

Makes  BaseLlm    one part: `model/` with config.json, generation_config.json, model.safetensors, tokenizer.json,
                  tokenizer_config.json, vocab.json, merges.txt; what a hub's Qwen3 folder holds
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
from stages.toy_world.records import document_record, text_conversation
from stages.toy_world.world import ToyWorld

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from neo_model.inputs.conversation import EncodedDocument

NUM_TOKENIZER_DOCUMENTS = 2000
"""Documents from which the tokenizer learns its pieces: enough to hold every word many times."""


class ToyLlmRecipe(Recipe):
    """A language model of a size that trains in a minute."""

    world: ToyWorld
    """Whose text-only corpus and conversations it reads."""
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
    """Width of a head."""
    ffn: int = Field(default=384, ge=1)
    """Inner width of the feed-forward."""
    max_tokens: int = Field(default=4096, ge=1)
    """Longest sequence the model's configuration promises, in tokens."""
    num_steps: int = Field(default=200, ge=1)
    """Optimizer steps."""
    documents_per_step: int = Field(default=48, ge=2)
    """Half of them documents, half conversations without a picture."""
    peak_learning_rate: float = Field(default=3e-3, gt=0)
    """AdamW learning rate after warm-up."""
    num_warmup_steps: int = Field(default=20, ge=1)
    """Steps over which the learning rate rises."""
    seed: int = 0
    """Of the initial weights."""

    def expected_config(self) -> dict[str, Any]:
        """`config.json` as it will be if the tokenizer learns all its pieces, which it does on any real corpus."""
        from stages.toy_world.language_model import hub_config
        from stages.toy_world.tokenizer import QWEN3_PLAIN_TOKENS, QWEN3_SPECIAL_TOKENS

        added = enumerate((*QWEN3_SPECIAL_TOKENS, *QWEN3_PLAIN_TOKENS), self.max_pieces)
        return hub_config(self, {token: number for number, token in added})


def corpus(recipe: ToyLlmRecipe, tokenizer: Tokenizer) -> Iterator[EncodedDocument]:
    """Documents and text-only conversations in turn, without end: the world's, over and over."""
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
    from stages.toy_world.language_model import hub_config, save_language_model, train_language_model
    from stages.toy_world.tokenizer import save_tokenizer, train_tokenizer

    folder = draft.path(MODEL_PREFIX + "config.json").parent
    numbers = range(min(NUM_TOKENIZER_DOCUMENTS, recipe.world.num_documents))
    texts = (document_record(recipe.world, number)["text"] for number in numbers)
    tokenizer = train_tokenizer(texts, recipe.max_pieces)
    save_tokenizer(tokenizer, folder, recipe.max_tokens)
    config = hub_config(recipe, tokenizer.get_vocab(with_added_tokens=True))

    endless = corpus(recipe, load_tokenizer(folder))
    steps = (tuple(islice(endless, recipe.documents_per_step)) for _ in range(recipe.num_steps))
    save_language_model(train_language_model(config, steps, recipe), config, folder)
    draft.count(ItemBalance(kept=1))


@stage(number=1, recipe=ToyLlmRecipe, makes=BaseLlm)
def train_toy_llm(recipe: ToyLlmRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(train_part, recipe=recipe), over=(Part(name="model", num_items=1),), phase="train")
