"""The whole pipeline, small: 12,000 drawn pictures over HTTP to an evaluated NEO in a quarter of an hour.

The order is the paper's: pre-Buffer under a frozen language model, merge, mid-training, conversations. What is small
is the world (`ToyWorld`), the widths and the number of steps; every stage is the one that a run of 390 million pairs
uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from stages.artifacts.kinds import Draw, Evaluation, ExportedCheckpoint, Rows
from stages.contract import Source, Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.read_text import ReadTextRecipe, read_text
from stages.toy_world.train_toy_llm import ToyLlmRecipe, train_toy_llm
from stages.toy_world.world import ToyWorld
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end

Sources: TypeAlias = "dict[str, Step[Any]]"

MIN_PIXELS_PX = 4_096
"""Small enough that no picture of the toy world is enlarged: 25 to 36 visual tokens each."""
MAX_PIXELS_PX = 65_536


@dataclass(frozen=True)
class Effort:
    """Training length of each model, in optimizer steps."""

    base_llm: int
    prebuffer: int
    mid: int
    chat: int
    checkpoint_every: int = 100


def tiny() -> tuple[Step[Evaluation], Step[ExportedCheckpoint]]:
    """Learn the toy world well enough to answer nine in ten questions about pictures never seen."""
    return learn(ToyWorld(), Effort(base_llm=200, prebuffer=1000, mid=700, chat=200))


def learn(world: ToyWorld, effort: Effort) -> tuple[Step[Evaluation], Step[ExportedCheckpoint]]:
    """The graph of `tiny` over any toy world, with any effort."""
    llm = train_toy_llm.bind("base_llm", ToyLlmRecipe(world=world, num_steps=effort.base_llm))
    small = DownloadPairsRecipe(source=Source("toy_urls"), deadline_seconds=6, num_urls_per_part=1000)
    pairs = download_pairs.bind("pairs", small)
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), pairs)
    text = read_text.bind("text", ReadTextRecipe(source=Source("toy_documents")))
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=Source("toy_conversations")), kept)
    unseen = download_pairs.bind("heldout_pairs", DownloadPairsRecipe(source=Source("toy_heldout_urls")))
    questions = read_conversations.bind("questions", ReadConversationsRecipe(source=Source("toy_questions")), unseen)
    heldout = {"pairs": unseen, "questions": questions}

    def rows(name: str, shares: dict[str, float], sources: Sources) -> Step[Rows]:
        return packed(name, mix_samples.bind(f"{name}_mix", MixRecipe(shares=shares), sources, heldout))

    def packed(name: str, draw: Step[Draw]) -> Step[Rows]:
        recipe = PackRowsRecipe(max_row_tokens=512, min_pixels_px=MIN_PIXELS_PX, max_pixels_px=MAX_PIXELS_PX)
        return pack_rows.bind(f"{name}_rows", recipe, draw, llm)

    pretrain_rows = rows("pretrain", {"pairs": 7, "text": 3}, {"pairs": kept, "text": text})
    mid_rows = rows("mid", {"pairs": 5, "talks": 3, "text": 2}, {"pairs": kept, "talks": talks, "text": text})
    chat_rows = rows("chat", {"talks": 1}, {"talks": talks})
    examine = MixRecipe(shares={"talks": 1}, purpose="examine")
    heldout_rows = packed("heldout", mix_samples.bind("heldout_mix", examine, {"talks": questions}))

    buffer_recipe = TrainPrebufferRecipe(
        num_prebuffer_layers=2, patch_hidden=256, num_steps=effort.prebuffer, rows_per_step=2,
        peak_learning_rate=4e-3, num_warmup_steps=20, floor_ratio=0.1, betas=(0.9, 0.95), precision="fp32",
        checkpoint_every_steps=effort.checkpoint_every,
    )  # fmt: skip
    buffer = train_prebuffer.bind("prebuffer", buffer_recipe, [pretrain_rows], llm)
    merged = merge_post_llm.bind("merged", MergeRecipe(), buffer, llm)
    mid = tune_end_to_end.bind("mid", _tuning(effort.mid, 2e-3, effort), merged, [mid_rows], heldout_rows, questions)
    chat = tune_end_to_end.bind("chat", _tuning(effort.chat, 8e-4, effort), mid, [chat_rows], heldout_rows, questions)

    evaluation = evaluate.bind("evaluate", EvaluateRecipe(max_new_tokens=8), chat, questions)
    publishing = ExportRecipe(title="NEO tiny", languages=("en",))
    return evaluation, export.bind("export", publishing, chat, {"heldout": evaluation})


def _tuning(num_steps: int, peak_learning_rate: float, effort: Effort) -> TuneRecipe:
    return TuneRecipe(
        num_steps=num_steps, rows_per_step=2, peak_learning_rate=peak_learning_rate, num_warmup_steps=20,
        betas=(0.9, 0.95), precision="fp32", checkpoint_every_steps=effort.checkpoint_every, num_heldout_rows=16,
        max_answer_tokens=8,
    )  # fmt: skip
