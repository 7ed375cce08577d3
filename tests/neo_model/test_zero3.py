"""Under real ZeRO-3, two ranks of which one has no picture, training is what it is without: tied and untied."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import torch

from neo_model.inputs.batch import Batch, ensure_image
from neo_model.model import NeoModel
from neo_model.weights.partition import freeze_for_stage1
from tests.neo_model.tiny import lively_model, row, tiny_config

NUM_STEPS, LEARNING_RATE = 3, 0.02


def batches() -> list[Batch]:
    return [row([3, (4, 4), 6], [5]), ensure_image(row([9], [12], seed=1))]


def make(tied: bool, stage1: bool, checkpointing: bool) -> NeoModel:
    model = lively_model(tiny_config(tied=tied), activation_checkpointing=checkpointing)
    if stage1:
        freeze_for_stage1(model)
    return model


def trainable(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def train_plainly(model: NeoModel) -> dict[str, torch.Tensor]:
    optimizer = torch.optim.SGD(trainable(model), lr=LEARNING_RATE)
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        sums = [model(batch) for batch in batches()]
        (sum(part.loss for part in sums) / sum(part.weight for part in sums)).backward()  # type: ignore[union-attr]
        optimizer.step()
    return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}


def train_under_zero3(model: NeoModel, rank: int, num_ranks: int) -> dict[str, torch.Tensor]:
    import deepspeed
    from deepspeed.utils import safe_get_full_fp32_param

    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
        "zero_allow_untested_optimizer": True,
        "gradient_clipping": 1e9,
    }
    optimizer = torch.optim.SGD(trainable(model), lr=LEARNING_RATE)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    for _ in range(NUM_STEPS):
        sums = engine(batches()[rank])
        weight = sums.weight.clone()
        torch.distributed.all_reduce(weight)
        engine.backward(sums.loss * (num_ranks / weight))
        engine.step()
    parameters = engine.module.named_parameters()
    return {name: safe_get_full_fp32_param(found) for name, found in parameters if found.requires_grad}


def rank_main(rank: int, port: int, folder: str) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    os.environ["DS_ACCELERATOR"] = "cpu"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    trained = {}
    for tied, stage1, checkpointing in CASES:
        trained[tied, stage1, checkpointing] = train_under_zero3(make(tied, stage1, checkpointing), rank, 2)
    if rank == 0:
        torch.save({str(case): parameters for case, parameters in trained.items()}, Path(folder) / "trained.pt")


CASES = [(True, False, False), (True, True, True), (False, False, True), (False, True, False)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """All cases in one group of two processes: starting DeepSpeed costs more than training."""
    folder = tmp_path_factory.mktemp("zero3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(rank_main, (port, str(folder)), nprocs=2)  # type: ignore[no-untyped-call]
    loaded: dict[str, dict[str, torch.Tensor]] = torch.load(folder / "trained.pt", weights_only=True)
    return loaded


@pytest.mark.skipif(sys.platform != "linux", reason="gloo ranks are started by spawn")
@pytest.mark.parametrize("case", CASES, ids=lambda case: "tied {} stage1 {} checkpointing {}".format(*case))
def test_like_one_process(case: tuple[bool, bool, bool], trained: dict[str, dict[str, torch.Tensor]]) -> None:
    plain = train_plainly(make(case[0], case[1], checkpointing=False))
    ours = trained[str(case)]
    assert set(ours) == set(plain)
    start = dict(make(case[0], case[1], checkpointing=False).named_parameters())
    assert all(not torch.equal(start[name], plain[name]) for name in plain)
    for name, expected in plain.items():
        torch.testing.assert_close(ours[name], expected, atol=2e-5, rtol=1e-4, msg=name)
