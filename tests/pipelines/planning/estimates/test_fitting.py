"""What fits a GPU, and which other layout is named where the site's does not: what costs least time first."""

from collections.abc import Callable

from cluster.site import GangResources
from neo_model.config import NEO_2B
from neo_model.costs.flops import everything
from neo_model.costs.gpus import GPUS, Gpu
from pipelines.planning.estimates.fitting import changes, fits, nearest_fit, smallest_gpu
from pipelines.planning.estimates.step_costs import StepMemory
from stages.contract import GangLayout
from stages.training.engine.memory import ParameterCounts

GIB = 2**30
NUM_VALUES = 3_000_000_000
PLAIN, FRUGAL = 20 * GIB, 2 * GIB
"""Activations without and with activation checkpointing."""
MEMORY = StepMemory(
    counts=ParameterCounts(
        num_values=NUM_VALUES,
        num_trainable=NUM_VALUES,
        num_persistent=0,
        num_largest=0,
        num_largest_trained=0,
        num_changed=0,
    ),
    trained=everything(NEO_2B),
    activation_bytes=lambda frugal, sequence_ranks: (FRUGAL if frugal else PLAIN) // sequence_ranks,
    precision="bf16",
    on_gpu=True,
)


def gang(**fields) -> GangResources:
    return GangResources(num_ranks=4, gpus=1, reduction_buffer_values=1000, **{"zero_stage": 2, **fields})


def gpu_for(layout: GangLayout) -> Gpu:
    """A GPU that just holds a rank of this layout."""
    return Gpu("just enough", 1e12, MEMORY.with_layout(layout).peak / 0.9 + 1)  # or rounding takes it away


def never(_: GangLayout) -> str:
    return ""


def test_the_nearest_layout_that_fits_is_told_as_the_site_writes_it() -> None:
    gpu = gpu_for(gang().layout.model_copy(update={"activation_checkpointing": True}))
    found = nearest_fit(MEMORY, gang(), gpu, never)
    assert found is not None and changes(found, gang()) == "activation_checkpointing = true"
    tight = gpu_for(gang().layout.model_copy(update={"activation_checkpointing": True, "offload_optimizer": True}))
    found = nearest_fit(MEMORY, gang(), tight, never)
    assert found is not None and fits(MEMORY.with_layout(found).peak, tight)
    assert changes(found, gang()) == "offload_optimizer = true, activation_checkpointing = true"


def test_ranks_share_rows_where_recomputation_alone_does_not_do() -> None:
    shared = gang(activation_checkpointing=True).layout.model_copy(update={"zero_stage": 3, "sequence_ranks": 2})
    found = nearest_fit(MEMORY, gang(zero_stage=3, activation_checkpointing=True), gpu_for(shared), never)
    assert found is not None and found.sequence_ranks == 2 and not found.offload_optimizer
    assert changes(found, gang(zero_stage=3, activation_checkpointing=True)) == "sequence_ranks = 2"
    tried: list[GangLayout] = []
    nearest_fit(MEMORY, gang().of_size(6), GPUS["L40S"], lambda layout: tried.append(layout) or "never")
    assert {layout.sequence_ranks for layout in tried if layout.num_ranks == 6} == {1, 2}, "what divides the ranks"
    assert {layout.sequence_ranks for layout in tried} == {1, 2, 4, 8}, "as many as a machine has"


def test_more_ranks_are_asked_for_last() -> None:
    """Not before ZeRO-3, recomputation and the host were tried on the ranks that there are."""
    tried: list[GangLayout] = []

    def refuse(layout: GangLayout) -> str:
        tried.append(layout)
        return "never"

    assert nearest_fit(MEMORY, gang(), GPUS["B200"], refuse) is None
    numbers = [layout.num_ranks for layout in tried]
    assert numbers == sorted(numbers) and set(numbers) == {4, 8, 16, 32, 64, 128, 256, 512, 1024}
    first = [layout for layout in tried if layout.num_ranks == 4]
    assert [layout.offload_optimizer for layout in first] == sorted(layout.offload_optimizer for layout in first)
    assert {layout.zero_stage for layout in first} == {2, 3}, "never fewer partitions than the site asks for"


def test_what_the_site_has_on_is_not_turned_off() -> None:
    tried: list[GangLayout] = []
    refuse: Callable[[GangLayout], str] = lambda layout: tried.append(layout) or "never"  # noqa: E731
    nearest_fit(MEMORY, gang(offload_optimizer=True, activation_checkpointing=True), GPUS["L40S"], refuse)
    assert tried and all(layout.offload_optimizer and layout.activation_checkpointing for layout in tried)


def test_the_smallest_gpu_that_holds_a_rank_is_named() -> None:
    names = [found.name if found else None for found in map(smallest_gpu, (30e9, 41e9, 110e9, 170e9))]
    assert names == ["A100 40GB", "L40S", "H200", None]
