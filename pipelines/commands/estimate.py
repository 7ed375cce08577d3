"""`neo estimate`: memory, FLOPs, days and price of training, before any GPU is rented."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.options import FromOption, PipelineArgument, SetOption, UntilOption
from pipelines.commands.selection import TypedSelection, planned
from pipelines.exits import BadCommandError
from pipelines.planning.estimates.assumptions import Assumptions
from pipelines.planning.estimates.estimate import Estimate, Estimator, ZeroLayout
from pipelines.planning.estimates.expected_sizes import ExpectedSizes
from pipelines.planning.estimates.fitting import FILLED_SHARE, fits, smallest_gpu
from pipelines.planning.request import Request
from pipelines.screen.text_table import TextTable, number

GIB = 2**30
GOING = {
    "weights": 6,
    "masters": 3,
    "moments": 5,
    "gradients": 4,
    "buckets": 1,
    "gathered": 2,
    "activations": 7,
}
"""What the memory of a rank consists of, and which column is left out first on a narrow screen."""


def estimate(
    pipeline: PipelineArgument,
    *,
    settings: SetOption = None,
    until: UntilOption = None,
    froms: FromOption = None,
    llm: Annotated[
        Path | None,
        typer.Option("--llm", metavar="FOLDER", help="A folder with a Qwen3's config.json, for the language model."),
    ] = None,
    gpu: Annotated[
        str, typer.Option("--gpu", metavar="GPU", help="A type of GPU, such as H200; else the site's.")
    ] = "",
    price: Annotated[
        float | None,
        typer.Option("--price", metavar="NUMBER", min=0, help="Price of one GPU for an hour, in any currency."),
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option("--assume", metavar="NAME=NUMBER", help="Change an assumption, such as mfu=0.35; repeatable."),
    ] = None,
) -> None:
    """Estimate memory, FLOPs, days and price of training.

    For each training step of a pipeline, before anything runs. With --from, of the steps that remain. Changes nothing.
    """
    assumed = Assumptions.read(assume or ())
    command = CommandContext.typed or CommandContext()
    asked = TypedSelection(pipeline, settings or (), until, places=command.site.sources, froms=froms or ())
    where, store = command.site, command.possible_store()
    plan = planned(asked, store)
    estimated = list(Estimator(ExpectedSizes(plan, store, llm), where, assumed, gpu, price).steps())
    if not estimated:
        raise BadCommandError(
            f"{plan.request.pipeline} has no training step: nothing to estimate", then=f"neo plan {pipeline}"
        )
    for one in estimated:
        command.say(*_words(one, assumed), *map(_memory_table, one.sizes), "")
    command.say(*_assumptions(estimated, assumed))
    document = {"pipeline": plan.request.pipeline, "site": where.name, "assumed": asdict(assumed)}
    steps = [one.document() for one in estimated]
    command.end({**document, "steps": steps}, then=_next_command(plan.request, estimated, _options(llm, gpu, assume)))


def _options(llm: Path | None, gpu: str, assume: list[str] | None) -> list[str]:
    """The options of this command that decide what fits, as they were typed."""
    options = ["--llm", str(llm)] if llm else []
    options += ["--gpu", gpu] if gpu else []
    return [*options, *(word for setting in assume or () for word in ("--assume", setting))]


def _next_command(request: Request, estimated: list[Estimate], options: list[str]) -> str:
    """The run, if every step fits. Else this command again: with the site changed, or a GPU that would do."""
    sizes = [size for one in estimated for size in one.sizes if not size.fits]
    if not sizes:
        return request.command
    words = shlex.split(request.command.replace("neo run", "neo estimate", 1))
    if all(size.refused or size.remedy for size in sizes):
        return f"{shlex.join([*words, *options])}   (once the site says so)"
    larger = smallest_gpu(max(size.chosen.peak for size in sizes))
    if larger is None:
        return f"{shlex.join([*words, *options])}   (with a smaller model, shorter rows, or less of it trained)"
    if "--gpu" in options:
        at = options.index("--gpu")
        options = options[:at] + options[at + 2 :]
    return shlex.join([*words, *options, "--gpu", larger.name])


def _words(one: Estimate, assumed: Assumptions) -> Iterator[Any]:
    """Parameters, tokens, operations and time of one step."""
    frozen = one.num_parameters - one.num_trainable
    yield Text(f"{one.step} ({one.stage})", style="bold")
    yield (f"  parameters  {_big(one.num_parameters)}: {_big(one.num_trainable)} trained, {_big(frozen)} frozen")
    lengths = ", then ".join(f"{rows.row_tokens:,}" for rows in one.rows)
    known = "as measured in the rows" if one.rows_are_measured else f"filled to {assumed.fill:g} (assumed)"
    steps = f"{one.num_steps:,} steps" + (f" after step {one.first_step:,}" if one.first_step else "")
    yield (f"  data        {steps}, {one.num_rows:,} rows of {lengths} tokens {known}: {_big(one.num_tokens)} tokens")
    yield f"  compute     {one.flops:.3g} FLOPs, forward and backward"
    if one.contrastive_flops:
        share = one.contrastive_flops / one.flops
        yield f"  comparing   {share:.0%} of them at most, to compare pictures with captions (contrastive_weight)"
    for size in one.sizes:
        yield f"  time        {_time(size, assumed)}"
        if size.gang.sequence_ranks > 1:
            yield f"  sharing     {_sharing(size)}"
        if size.price is not None:
            yield f"  price       {size.price:,.0f}, at {size.price_per_hour:g} for an hour of a GPU"
        yield f"  host        {_host(size)}"
        if size.chosen.ema:
            yield f"  average     {size.chosen.ema / GIB:.2f} GiB of a rank's peak, for the average of its weights"
        yield from _fit(one.step, size)
        if size.split.idle_words:
            yield Text(f"  idle        {size.split.idle_words}", style="yellow")
        for layout in size.layouts:
            if layout.zero_stage == size.gang.zero_stage and layout.refused:
                yield Text(f"  refused     {layout.refused}", style="red")


def _sharing(one: Estimate) -> str:
    """What ranks do that share rows."""
    shared = one.gang.sequence_ranks
    return (
        f"{shared} ranks hold a row together, {one.gang.layout.num_groups} rows side by side; each sends "
        f"{one.exchanged_bytes / GIB:.1f} GiB for a row to the others, which are best on its machine"
    )


def _host(one: Estimate) -> str:
    """Host memory of a rank: while it trains, and of rank 0 at the end."""
    memory = one.chosen
    training = memory.on_host + memory.snapshot
    parts = [f"{training / GIB:.1f} in training", f"{memory.handing_out / GIB:.1f} more on rank 0 at the end"]
    reserved = one.gang.memory_bytes
    less = reserved is not None and reserved < memory.host_peak
    said = f"; more than the {(reserved or 0) / GIB:.1f} that the site reserves (memory_bytes)" if less else ""
    return f"{memory.host_peak / GIB:.1f} GiB of host memory a rank: {', '.join(parts)}{said}"


def _fit(step: str, one: Estimate) -> Iterator[Text]:
    """Whether a rank fits its GPU, where that is known, and what would."""
    if one.gpu is None or one.refused:
        return
    taken = f"{one.chosen.peak / GIB:.1f} of the {one.gpu.memory_bytes / GIB:.1f} GiB of a {one.gpu.name}"
    if one.fits:
        yield Text(f"  fits        {taken}")
        return
    would = f"under [steps.{step}.gang] of the site: {one.remedy}" if one.remedy else "no layout of these GPUs fits"
    yield Text(f"  too large   {taken}, of which {FILLED_SHARE:.0%} may be filled; {would}", style="red")


def _time(one: Estimate, assumed: Assumptions) -> str:
    ranks = one.gang.num_ranks
    if one.gpu is None or one.days is None:
        return f"not known for {ranks} ranks on CPUs, or GPUs of no named type; name one with --gpu"
    hours = one.days * 24
    took = f"{one.days:,.1f} days" if one.days >= 2 else f"{hours:,.1f} hours"
    again = one.recomputed_flops / one.flops if one.flops else 0.0
    recomputed = f", {again:.0%} of the operations recomputed" if again else ""
    return (
        f"{took} on {ranks} {one.gpu.name} at MFU {assumed.mfu:g} (assumed); {hours * ranks:,.0f} GPU hours{recomputed}"
    )


def _memory_table(one: Estimate) -> TextTable:
    """Memory of a rank under each ZeRO stage, plain and with activation checkpointing, in GiB."""
    parts = (number(name, goes) for name, goes in GOING.items())
    table = TextTable(f"  GiB a rank of {one.gang.num_ranks}", *parts, number("peak"), "")
    for layout in one.layouts:
        for frugal in (False, True):
            table.add(*_memory_row(one, layout, frugal))
    return table


def _memory_row(one: Estimate, layout: ZeroLayout, frugal: bool) -> Iterator[str]:
    memory = layout.frugal if frugal else layout.memory
    is_chosen = layout.zero_stage == one.gang.zero_stage and frugal == one.gang.activation_checkpointing
    yield f"{'*' if is_chosen else ' '} ZeRO {layout.zero_stage}{', checkpointing' if frugal else ''}"
    if layout.refused:
        yield from ("-",) * len((*GOING, "peak"))
        yield "refused"
        return
    yield from (f"{getattr(memory, name) / GIB:.2f}" for name in (*GOING, "peak"))
    host = f"{memory.on_host / GIB:.2f} on the host" if memory.on_host else ""
    too_large = one.gpu is not None and not fits(memory.peak, one.gpu)
    yield f"too large for a {one.gpu.name}" if one.gpu and too_large else host


def _assumptions(estimated: list[Estimate], assumed: Assumptions) -> Iterator[str]:
    """Every number that was not computed."""
    yield "* the site's layout. Peak: the largest of forward and backward, and of the update; it may fill 90% of a GPU."
    shown = [f"supervised_share={assumed.supervised_share:g}"]
    if any(one.gang.offload_optimizer for one in estimated):
        shown.append(f"host_gb_per_second={assumed.host_gb_per_second:g}")
    if any(one.gang.sequence_ranks > 1 for one in estimated):
        shown.append(f"link_gb_per_second={assumed.link_gb_per_second:g}")
    if any(one.gpu for one in estimated):
        shown.insert(0, f"mfu={assumed.mfu:g}")
    if not all(one.rows_are_measured for one in estimated):
        names = ("fill", "document_tokens", "image_share")
        shown += [f"{name}={getattr(assumed, name):g}" for name in names]
    yield f"Assumptions, to be changed with --assume: {', '.join(shown)}."


def _big(number: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:,.0f}"
