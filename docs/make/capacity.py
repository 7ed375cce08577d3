"""The page of capacity: memory and days of the paper's trainings on N GPUs, as `neo estimate` computes them.

It takes a minute or two, so the page is kept: python -m docs.make.capacity > docs/capacity.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory

from cluster.site import Site, load_site
from docs.make.markdown import page, table
from pipelines.commands.selection import TypedSelection, planned
from pipelines.planning.estimates.assumptions import Assumptions
from pipelines.planning.estimates.estimate import Estimate, Estimator
from pipelines.planning.estimates.expected_sizes import ExpectedSizes
from pipelines.planning.estimates.fitting import fits
from stages.store.store import Store

PIPELINES = ("neo_2b", "neo_9b")
GPU = "H200"
NUM_RANKS = (8, 32, 128)
GIB = 2**30
ASSUMED = Assumptions()


def site_of(num_ranks: int) -> Site:
    """A site of so many GPUs, each a rank."""
    site = load_site("embedded")
    gang = site.gang.model_copy(update={"num_ranks": num_ranks, "gpus": 1, "cpus": 12.0, "gpu": GPU, "zero_stage": 2})
    return site.model_copy(update={"gang": gang, "stages": {}})


def estimates(pipeline: str, num_ranks: int) -> Iterator[Estimate]:
    """The estimates of the training steps of a pipeline."""
    with TemporaryDirectory() as nothing:
        store = Store(nothing)
        sizes = ExpectedSizes(planned(TypedSelection(pipeline), store), store, None)
        yield from Estimator(sizes, site_of(num_ranks), ASSUMED).steps()


def smallest(one: Estimate) -> tuple[str, float]:
    """The first layout whose peak fits the GPU, in words, with that peak in bytes; the least peak if none fits."""
    assert one.gpu is not None
    layouts = [
        (f"ZeRO {layout.zero_stage}{', checkpointing' if frugal else ''}", memory.peak)
        for frugal in (False, True)
        for layout in one.layouts
        if not layout.refused
        for memory in [layout.frugal if frugal else layout.memory]
    ]
    fitting = [layout for layout in layouts if fits(layout[1], one.gpu)]
    return fitting[0] if fitting else ("none fits", min(peak for _, peak in layouts))


def row(one: Estimate) -> list[str]:
    """What a training step takes."""
    layout, peak = smallest(one)
    tokens, row_tokens = f"{one.num_tokens / 1e9:,.0f} billion", ", ".join(f"{rows.row_tokens:,}" for rows in one.rows)
    days = one.days
    frugal = "checkpointing" in layout
    if days is not None and frugal:
        days *= (one.flops + again(one)) / one.flops
    spelled = "not known" if days is None else f"{days:,.1f}"
    return [one.step, str(one.gang.num_ranks), row_tokens, tokens, layout, f"{peak / GIB:.0f} GiB", spelled]


def again(one: Estimate) -> float:
    """FLOPs that activation checkpointing adds: a forward pass, a third of forward and backward, at most."""
    return one.recomputed_flops or one.flops / 3


def capacity_page() -> str:
    """The whole page."""
    blocks = []
    for pipeline in PIPELINES:
        rows = (row(one) for num_ranks in NUM_RANKS for one in estimates(pipeline, num_ranks))
        head = ("step", "GPUs", "tokens of a row", "tokens", "first layout that fits", "peak of a GPU", "days")
        blocks += [f"## {pipeline} on {GPU}", table(head, rows)]
    assumed = ", ".join(f"{name} {value:g}" for name, value in vars(replace(ASSUMED)).items())
    return page(
        "Capacity",
        "How many GPUs the paper's trainings take, by `neo estimate`. Nothing here was measured on such GPUs: "
        "parameters, memory and operations are computed from the network, days from the assumed share of the peak "
        "rate. Memory of activations was compared with measurements on CPUs.",
        "The first layout that fits is the first of ZeRO 0, 1, 2, 3 without, then with activation checkpointing, that "
        f"fills at most 90% of an {GPU}. With checkpointing the days count a third more operations at most.",
        f"Assumed: {assumed}. Change any of them, the GPU and the price:",
        "```bash\nneo estimate neo_2b --gpu H100 --price 2.5 --assume mfu=0.35\n"
        "neo estimate tune_released --site one_gpu\n```",
        *blocks,
    )


if __name__ == "__main__":
    print(capacity_page(), end="")
