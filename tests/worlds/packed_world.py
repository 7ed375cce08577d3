"""Rows as a run has them, mixed of three sources and packed, with the language model they were packed for."""

from pathlib import Path

from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from tests.worlds.mixture_world import TEXTS, ChatsRecipe, PairsRecipe, make_chats, make_pairs
from tests.worlds.training_world import LlmRecipe, make_llm

PAIRS = make_pairs.bind("pairs", PairsRecipe(decodable=True))
KEPT = filter_pairs.bind("kept", FilterPairsRecipe(max_aspect=4.0), PAIRS)
CHATS = make_chats.bind("chats", ChatsRecipe(), KEPT)
LLM = make_llm.bind("llm", LlmRecipe())
MIX = mix_samples.bind(
    "mix", MixRecipe(shares={"pairs": 2, "text": 1, "chat": 1}), {"pairs": KEPT, "text": TEXTS, "chat": CHATS}
)


def rows_of(max_row_tokens: int):
    """Rows of this length, some in each tar; pictures have up to 96 x 96 px."""
    recipe = PackRowsRecipe(max_row_tokens=max_row_tokens, min_pixels_px=1024, max_pixels_px=9216, num_rows_per_part=4)
    return pack_rows.bind(f"rows_{max_row_tokens}", recipe, MIX, LLM)


def path_of(world, step, part: int, name: str = "rows.tar") -> Path:
    """A file of a part of packed rows."""
    return world.store.folder / world.open(step).phase("write")[part].file(name).key
