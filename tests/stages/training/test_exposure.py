"""What a checkpoint is said to have seen is what every batch of a real training held, killed and resumed in between."""

import json
import os
import signal
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from stages.artifacts.kinds import PreBuffer, Rows
from stages.contract import GangLayout, StageError
from stages.formats.packed_rows.rows import RowReader
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.training.exposure import SeenOfSource, is_trained, seen_of_sources, seen_rows
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

LLM = make_llm.bind("llm", LlmRecipe())
SHORT = make_rows.bind("short", RowsRecipe(num_rows=10, num_documents=(2, 5)), LLM)
LONG = make_rows.bind("long", RowsRecipe(num_rows=13, num_documents=(1, 3), seed=1), LLM)
RECIPE = TrainPrebufferRecipe(
    num_steps=8, until_steps=(5,), rows_per_step=4, num_prebuffer_layers=1, patch_hidden=16, peak_learning_rate=1e-3,
    num_warmup_steps=1, precision="fp32", checkpoint_every_steps=2,
)  # fmt: skip
TRAINING = train_prebuffer.bind("prebuffer", RECIPE, [SHORT, LONG], LLM)


def keep_batches(rank, folder: Path, die_after: int | None = None) -> None:
    """Note every micro-batch that a step of this rank is about to learn from; die by SIGKILL once a step is done."""
    from stages.training import loop

    apply = loop.optimizer_step

    def noting(step, engine, micro_batches, totals, **others):
        for number, batch in enumerate(micro_batches):
            noted = {"step": step, "rows": batch.rows, "samples": batch.sample_ids, "sources": batch.sources}
            noted["num_tokens"] = batch.num_tokens
            name = f"{step}-{rank.rank}-{number}-of-{rank.world_size}.json"
            (folder / name).write_text(json.dumps(noted))
        norm = apply(step, engine, micro_batches, totals, **others)
        if step + 1 == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return norm

    loop.optimizer_step = noting


def batches_in(folder: Path) -> dict[int, list[dict]]:
    """The micro-batches of all ranks, by step."""
    found: dict[int, list[dict]] = {}
    for path in sorted(folder.iterdir()):
        batch = json.loads(path.read_text())
        found.setdefault(batch["step"], []).append(batch)
    return found


def rows_in(batches: list[dict]) -> Counter[int]:
    return Counter(row for batch in batches for row in batch["rows"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreBuffer, list[list[dict]]]:
    """The artifact, and the batches of each step: two ranks, killed after step 4, and one that goes on."""
    folder = tmp_path_factory.mktemp("seen")
    world = SmallWorld.at(folder)
    killed, resumed = folder / "killed", folder / "resumed"
    killed.mkdir()
    resumed.mkdir()
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(TRAINING, GangLayout(num_ranks=2, micro_rows=2), partial(keep_batches, folder=killed, die_after=4))
    world.make(TRAINING, GangLayout(num_ranks=1, micro_rows=1), partial(keep_batches, folder=resumed))
    before, after = batches_in(killed), batches_in(resumed)
    assert (sorted(before), sorted(after)) == ([0, 1, 2, 3], list(range(min(after), 8)))
    assert all(rows_in(before[step]) == rows_in(after[step]) for step in before.keys() & after.keys())
    return world.open(TRAINING), [{**before, **after}[step] for step in range(8)]


@pytest.mark.parametrize("until_step", range(9))
def test_the_rows_seen_by_a_step_are_those_of_all_batches_until_then(trained, until_step: int) -> None:
    artifact, batches = trained
    taken = [rows_in([batch for step in batches[:5][:until_step] for batch in step])]
    taken += [rows_in([batch for step in batches[5:until_step] for batch in step])]
    seen = {one.name: Counter(dict(enumerate(one.times.tolist()))) for one in seen_rows(artifact, until_step)}
    assert {name: +times for name, times in seen.items()} == {
        f"rows.{number}": times for number, times in enumerate(taken) if times
    }


@pytest.mark.parametrize("until_step", [1, 3, 5, 8])
def test_sources_tokens_and_samples_are_those_that_the_batches_held(trained, until_step: int, tmp_path: Path) -> None:
    artifact, batches = trained
    held = [batch for step in batches[:until_step] for batch in step]
    documents = [pair for batch in held for pair in zip(batch["sources"], batch["samples"], strict=True)]
    seen = seen_of_sources(seen_rows(artifact, until_step), tmp_path)
    assert {source: one.documents for source, one in seen.items()} == Counter(source for source, _ in documents)
    assert {source: one.samples for source, one in seen.items()} == Counter(source for source, _ in set(documents))
    assert sum(one.tokens for one in seen.values()) == sum(batch["num_tokens"] for batch in held)


def test_a_row_that_was_read_twice_counts_twice_and_its_samples_once(trained, tmp_path: Path) -> None:
    """Five steps of four rows go twice over ten rows."""
    artifact, _ = trained
    (short,) = seen_rows(artifact, 5)
    assert short.times.tolist() == [2] * 10
    index = RowReader(short.rows).index("sources", "sample_ids", "document_tokens").to_pylist()
    columns = zip(*(row.values() for row in index), strict=True)
    documents = list(zip(*(chain.from_iterable(column) for column in columns), strict=True))
    for source, seen in seen_of_sources((short,), tmp_path).items():
        mine = [(sample, tokens) for name, sample, tokens in documents if name == source]
        num_tokens, num_samples = 2 * sum(tokens for _, tokens in mine), len({sample for sample, _ in mine})
        assert seen == SeenOfSource(documents=2 * len(mine), tokens=num_tokens, samples=num_samples)


def test_what_was_left_out_for_damage_was_not_seen(trained) -> None:
    artifact, batches = trained
    row = batches[6][0]["rows"][0]
    last = artifact.manifest.parts[-1]
    lacking = last.model_copy(update={"facts": {**last.facts, "skipped": [{"step": 7, "row": row}]}})
    manifest = artifact.manifest.model_copy(update={"parts": (lacking,)})
    for until_step, fewer in ((6, {}), (7, {row: 1}), (8, {row: 1})):
        whole, without = (seen_rows(one, until_step)[1] for one in (artifact, PreBuffer(artifact.store, manifest)))
        difference = dict(enumerate((whole.times - without.times).tolist()))
        assert {row: times for row, times in difference.items() if times} == fewer


def test_nothing_is_seen_before_the_first_step_and_no_step_comes_after_the_last(trained, tmp_path: Path) -> None:
    artifact, _ = trained
    assert seen_rows(artifact, 0) == () and seen_of_sources((), tmp_path) == {}
    assert is_trained(artifact) and not is_trained(artifact.input("rows.0", Rows))
    with pytest.raises(StageError, match=r"was trained for 8 steps; 9 is not among them"):
        seen_rows(artifact, 9)
