"""The gradient of a step with a contrastive loss is that of one process in fp64, on any ranks and micro-batches.

AdamW with an epsilon of 1e9 and as large a learning rate takes a step of minus the gradient, which so can be read off
the weights under every ZeRO stage.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from stages.contract import GangLayout, StageError
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.train_prebuffer import train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.stages.training.engine.test_engine import model
from tests.stages.training.objectives.test_info_nce import plain
from tests.stages.training.ranks import run_ranks
from tests.stages.training.test_loop import LLM, RECIPE, ROWS, die_after, two_ranks
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

LARGE = 1e9
CONTEXT, START, END = 50, 51, 52
WEIGHT = 0.7
TUNE = TuneRecipe(
    num_steps=1,
    rows_per_step=5,
    peak_learning_rate=LARGE,
    num_warmup_steps=0,
    floor_ratio=1.0,
    eps=LARGE,
    weight_decay=0,
    clip_norm=1e9,
    precision="fp32",
    contrastive_weight=WEIGHT,
    contrastive_temperature=0.1,
)
NUM_MICRO = 5


def micro_batch(number: int):
    """Pairs and a text: five pairs in all, of which two have one picture, two one caption, and micro-batch 3 none."""
    from neo_model.inputs.batch import Document, ensure_image, pack
    from neo_model.inputs.pairs import caption_alone, with_pairs
    from stages.training.loading.micro_batches import MicroBatch
    from stages.training.objectives.forms import pairs_of

    chosen = {0: [(0, 0), (1, 1)], 1: [(0, 2)], 2: [(2, 3)], 3: [], 4: [(3, 3)]}[number]
    documents, images, patches = [], [], []
    for picture, caption in chosen:
        words = np.random.default_rng(caption).integers(0, 50, 3 + caption).tolist()
        supervised = [False] * 4 + [True] * len(words)
        documents.append(
            Document(token_ids=[START, CONTEXT, CONTEXT, END, *words], supervised=supervised, grids=[(4, 2)])
        )
        images.append(bytes([picture]))
        patches.append(np.random.default_rng((7, picture)).integers(0, 256, (8, 768), dtype=np.uint8))
    text = np.random.default_rng(99 + number).integers(0, 50, 9)
    documents.append(Document(token_ids=text, supervised=[False] + [True] * 8))
    pairs = pairs_of(documents, images)
    batch = pack([*documents, *(caption_alone(one.caption) for one in pairs)], patches, image_context_id=CONTEXT)
    batch = ensure_image(with_pairs(batch, [one.document for one in pairs], [one.digests for one in pairs]))
    return MicroBatch(batch=batch, rows=(number,), sample_ids=(), sources=(*["pairs"] * len(pairs), "text"))


def nothing():
    from neo_model.inputs.batch import Document, ensure_image, pack
    from neo_model.inputs.pairs import with_pairs
    from stages.training.loading.micro_batches import MicroBatch

    batch = pack([Document(token_ids=(0, 0), supervised=(False, False))], [], image_context_id=CONTEXT)
    return MicroBatch(batch=ensure_image(with_pairs(batch, [], [])), rows=(), sample_ids=(), sources=())


def reference() -> tuple[dict[str, np.ndarray], float]:
    """Gradients and contrastive loss by one graph over all micro-batches, in fp64."""
    import torch

    from neo_model.attention.interface import Backend

    network = model().double()
    network.backend = Backend.SDPA
    batches = [micro_batch(number).batch for number in range(NUM_MICRO)]
    states = [network.final_states(batch) for batch in batches]
    logits = [network.head_logits(state[batch.supervised_index]) for state, batch in zip(states, batches, strict=True)]
    sums = [
        (torch.nn.functional.cross_entropy(one, batch.targets[batch.supervised_index], reduction="none")
         * batch.weights[batch.supervised_index].double()).sum()
        for one, batch in zip(logits, batches, strict=True)
    ]  # fmt: skip
    total = sum(sums) / sum(float(batch.weights.double().sum()) for batch in batches)
    sides: list[list[torch.Tensor]] = [[], []]
    for state, batch in zip(states, batches, strict=True):
        for side, spans in zip(sides, batch.pairs.spans.chunk(2), strict=True):
            side += [state[start:end].mean(0) for start, end in spans]
    digests = torch.cat([batch.pairs.digests for batch in batches])
    contrastive = plain(torch.stack(sides[0]), torch.stack(sides[1]), digests)
    (total + WEIGHT * contrastive).backward()
    return {name: one.grad.numpy() for name, one in network.named_parameters()}, float(contrastive)


def one_step(rank: int, zero_stage: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """What the step took from the weights, and the numbers of the meter."""
    from types import SimpleNamespace

    import torch.distributed as dist

    from stages.training.engine.engine import Engine
    from stages.training.metrics import Meter
    from stages.training.optimizer_step import optimizer_step

    size = dist.get_world_size()
    network = model()
    before = {name: one.detach().clone().numpy() for name, one in network.named_parameters()}
    mine = [micro_batch(number) for number in range(rank, NUM_MICRO, size)]
    mine += [nothing() for _ in range(-(-NUM_MICRO // size) - len(mine))]
    layout = GangLayout(num_ranks=size, zero_stage=zero_stage, persistent_parameter_values=200)
    engine, meter = Engine(network, TUNE, layout, len(mine), "cpu"), Meter()
    totals = SimpleNamespace(weight=sum(micro_batch(number).weight for number in range(NUM_MICRO)))
    place = SimpleNamespace(rank=rank, world_size=size)
    optimizer_step(0, engine, mine, totals, rank=place, recipe=TUNE, meter=meter)
    taken = {name: before[name] - value.numpy() for name, value in engine.parameters()}
    return taken, meter.read()


def at_night(*values: int):
    """Each rank takes seconds to start."""
    return pytest.param(*values, marks=pytest.mark.kill)


@pytest.mark.parametrize(
    ("num_ranks", "zero_stage"), [(2, 2), at_night(1, 1), at_night(2, 1), at_night(3, 2), at_night(5, 3)]
)
def test_the_gradient_of_all_ranks_and_micro_batches_is_that_of_one_graph(num_ranks: int, zero_stage: int) -> None:
    """On two and three ranks one has an empty micro-batch; on five each has one pass, and pools nothing twice."""
    expected, loss = reference()
    for taken, numbers in run_ranks(one_step, zero_stage, num_ranks=num_ranks):
        assert numbers["contrastive_loss"] == pytest.approx(loss, rel=1e-5)
        assert numbers["pairs_per_step"] == 5
        for name, gradient in expected.items():
            error = np.abs(taken[name] - gradient).max()
            assert error < 3e-6 * max(1.0, np.abs(gradient).max()), name


BUFFER = train_prebuffer.bind("prebuffer", RECIPE.model_copy(update={"num_steps": 1}), [ROWS], LLM)
MERGED = merge_post_llm.bind("merged", MergeRecipe(), BUFFER, LLM)
BOTH = TuneRecipe(
    num_steps=4,
    rows_per_step=7,
    peak_learning_rate=1e-3,
    num_warmup_steps=0,
    precision="fp32",
    checkpoint_every_steps=2,
    contrastive_weight=0.5,
    masked_share=0.3,
    eps=1e-5,
    mask_token="<quad>",
)
TUNED = tune_end_to_end.bind("tuned", BOTH, MERGED, [ROWS])


def weights_of(world: SmallWorld, step=TUNED) -> dict:
    from neo_model.weights.released import load_model

    return load_model(world.open(step).copy_to(world.scratch / "tuned")).state_dict()


@pytest.mark.kill
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_a_training_with_all_objectives_survives_a_kill_and_is_that_of_one_rank(
    zero_stage: int, tmp_path: Path
) -> None:
    """Seven rows on two ranks, two at a time: one pass has an empty place. The killed one ends with the same bits."""
    killed, straight, alone = (SmallWorld.at(tmp_path / name) for name in ("killed", "straight", "alone"))
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        killed.make(TUNED, two_ranks(zero_stage), trouble=partial(die_after, step=2))
    assert killed.make(TUNED, two_ranks(zero_stage)).content == straight.make(TUNED, two_ranks(zero_stage)).content
    numbers = [one.numbers for one in straight.events if one.event == "numbers"][-1]
    assert numbers["contrastive_loss"] > 0 and numbers["pairs_per_step"] > 2
    assert {"loss/pairs.masked", "loss/text.masked"} <= numbers.keys()
    alone.make(TUNED, GangLayout(micro_rows=2))
    ours, theirs = weights_of(straight), weights_of(alone)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6


@pytest.mark.kill
def test_masked_rows_that_two_ranks_share_train_the_model_of_one(tmp_path: Path) -> None:
    """What is seen whole may lie on both sides of the border of two shares."""
    wide = make_llm.bind("llm", LlmRecipe(num_heads=4))
    rows = make_rows.bind("rows", RowsRecipe(num_documents=(2, 4), num_words=(3, 9)), wide)
    buffer = train_prebuffer.bind("prebuffer", RECIPE.model_copy(update={"num_steps": 1}), [rows], wide)
    merged = merge_post_llm.bind("merged", MergeRecipe(), buffer, wide)
    recipe = BOTH.model_copy(update={"contrastive_weight": 0.0, "masked_documents": 1.0})
    step = tune_end_to_end.bind("tuned", recipe, merged, [rows])
    shared, alone = (SmallWorld.at(tmp_path / name) for name in ("shared", "alone"))
    shared.make(step, GangLayout(num_ranks=2, sequence_ranks=2, zero_stage=2, micro_rows=2))
    alone.make(step, GangLayout(micro_rows=2))
    ours, theirs = (weights_of(world, step) for world in (shared, alone))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6


def test_ranks_that_share_rows_are_refused_before_there_are_ranks(tmp_path: Path) -> None:
    layout = GangLayout(num_ranks=2, sequence_ranks=2)
    with pytest.raises(
        StageError, match=r"contrastive_weight = 0\.5 compares whole pictures .* set sequence_ranks = 1"
    ):
        SmallWorld.at(tmp_path).make(TUNED, layout, trouble=lambda rank: pytest.fail("a rank was started"))


def test_a_mask_token_that_the_tokenizer_lacks_is_refused_before_there_are_ranks(tmp_path: Path) -> None:
    recipe = BOTH.model_copy(update={"mask_token": "<|fim_pad|>"})
    step = tune_end_to_end.bind("tuned", recipe, MERGED, [ROWS])
    with pytest.raises(StageError, match=r"no entry '<\|fim_pad\|>'"):
        SmallWorld.at(tmp_path).make(step, trouble=lambda rank: pytest.fail("a rank was started"))


def test_fields_that_are_left_alone_rename_nothing() -> None:
    """A recipe whose new fields are told their defaults has the fingerprint of one that never heard of them."""
    fields = BOTH.model_dump(exclude={"contrastive_weight", "masked_share", "mask_token"})
    told = TuneRecipe(**fields, contrastive_weight=0.0, masked_share=0.0, mask_token="<|fim_pad|>")
    names = [tune_end_to_end.bind("tuned", one, MERGED, [ROWS]).fingerprint for one in (TuneRecipe(**fields), told)]
    assert names[0] == names[1] != TUNED.fingerprint
