"""A small mixture from pairs, texts and chats to real trainings of NEO, with every batch that each step learned from.

What a step read is noted by the rank that learns from it, so that tests replay what really happened.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from pipelines.runs.forks import fork_at
from stages.contract import GangLayout, Step
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.take_prebuffer import TakePrebufferRecipe, take_prebuffer
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.training.forks import ForkOrigin
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.stages.training.test_exposure import batches_in, keep_batches
from tests.worlds.mixture_world import ChatsRecipe, PairsRecipe, TextsRecipe, make_chats, make_pairs, make_texts
from tests.worlds.training_world import LlmRecipe, SmallWorld, make_llm

LLM = make_llm.bind("base_llm", LlmRecipe())
PAIRS = make_pairs.bind("pairs", PairsRecipe(num_pairs=18, decodable=True))
KEPT = filter_pairs.bind("kept", FilterPairsRecipe(max_aspect=4.0), PAIRS)
TEXTS = make_texts.bind("texts", TextsRecipe(num_texts=12))
CHATS = make_chats.bind("chats", ChatsRecipe(num_chats=8), KEPT)
PACKED = PackRowsRecipe(max_row_tokens=160, max_sample_tokens=64, min_pixels_px=2048, max_pixels_px=4096,
                        num_rows_per_part=4)  # fmt: skip
BOTH = mix_samples.bind(
    "both",
    MixRecipe(shares={"pairs": 2, "text": 1}, max_epochs={"pairs": 2, "text": 3}),
    {"pairs": KEPT, "text": TEXTS},
)
TALKS = mix_samples.bind("talks", MixRecipe(shares={"chat": 1, "text": 1}, max_epochs={"chat": 2}),
                         {"chat": CHATS, "text": TEXTS})  # fmt: skip
EXAM = mix_samples.bind("exam", MixRecipe(shares={"pairs": 1}, num_samples=6, purpose="examine"), {"pairs": KEPT})
BOTH_ROWS = pack_rows.bind("both_rows", PACKED, BOTH, LLM)
TALK_ROWS = pack_rows.bind("talk_rows", PACKED, TALKS, LLM)
SHARED = {"rows_per_step": 3, "num_warmup_steps": 1, "precision": "fp32"}
PREBUFFER = train_prebuffer.bind(
    "prebuffer",
    TrainPrebufferRecipe(num_steps=8, until_steps=(6,), num_prebuffer_layers=1, patch_hidden=16,
                         checkpoint_every_steps=2, keep_last_checkpoints=9, **SHARED),
    [BOTH_ROWS, TALK_ROWS],
    LLM,
)  # fmt: skip
MERGED = merge_post_llm.bind("merged", MergeRecipe(), PREBUFFER, LLM)
CHAT = tune_end_to_end.bind(
    "chat", TuneRecipe(num_steps=5, average_last=2, average_every_steps=2, checkpoint_every_steps=4, **SHARED), MERGED,
    [TALK_ROWS],
)  # fmt: skip
TAKEN = take_prebuffer.bind("taken", TakePrebufferRecipe(), CHAT)
AGAIN = train_prebuffer.bind(
    "again",
    TrainPrebufferRecipe(num_steps=3, num_prebuffer_layers=1, patch_hidden=16, ema_decay=0.5, rebase=True, seed=3,
                         checkpoint_every_steps=1, **SHARED),
    [TALK_ROWS], LLM, None, None, TAKEN,
)  # fmt: skip


@dataclass
class NotedTrainings:
    """A store, and what each step of its trainings really read."""

    world: SmallWorld
    folder: Path
    batches: dict[str, dict[int, list[dict]]] = field(default_factory=dict)
    """Fingerprint of a training to the micro-batches of each of its own steps, counted from 1."""

    @classmethod
    def at(cls, folder: Path) -> "NotedTrainings":
        return cls(SmallWorld.at(folder), folder)

    def make(self, step: Step, layout: GangLayout | None = None) -> None:
        """Make a step; of a training, note what its steps read."""
        folder = self.folder / f"noted-{step.fingerprint[:12]}"
        folder.mkdir()
        self.world.make(step, layout or GangLayout(), partial(keep_batches, folder=folder))
        self.batches[step.fingerprint] = {at + 1: found for at, found in batches_in(folder).items()}

    def fork(self, origin: Step, at_step: int, step: Step) -> Step:
        """`step` as it begins from a checkpoint of `origin`."""
        before = ForkOrigin(origin.stage.name, origin.fingerprint, origin.recipe.model_dump(mode="json"), origin.fork)
        found = fork_at(self.world.store, before, at_step, step)
        assert found is not None
        return replace(step, fork=found)

    def times(self, training: Step, sample_ids: Iterable[bytes]) -> Counter[int]:
        """Step to the number of documents of these samples that it learned from, of those that did."""
        wanted = {sample.hex() for sample in sample_ids}
        return Counter(
            {
                step: number
                for step, batches in self.batches[training.fingerprint].items()
                if (number := sum(sample in wanted for batch in batches for sample in batch["samples"]))
            }
        )


def short(step: Step) -> str:
    """The short name of what a step makes."""
    return f"{step.stage.name}/{step.fingerprint[:12]}"
