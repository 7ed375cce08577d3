"""`neo skip`: leave an optimizer step out of an unfinished training, on record."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.runs.resume import resume_command


def skip(
    ctx: typer.Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="A training: digits of its fingerprint, RUN/STEP, or a run with one that is unfinished."
        ),
    ],
    *,
    step: Annotated[int, typer.Option("--step", metavar="N", help="The optimizer step, counted from 1.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")],
) -> None:
    """Leave out an optimizer step that fails again and again.

    Recorded with reason, user and time, and for good: every later attempt leaves it out, on any number of ranks.
    Nothing is updated at that step, and later steps keep their numbers, rows and learning rates.
    Refused while the training is under way, once the step is committed, and once the training is finished.
    """
    from pipelines.runs.skip import find_training, skip_step

    command: CommandContext = ctx.obj
    training = find_training(command.store_to_write(), ref)
    facts, was_known = skip_step(training, step, reason)
    words = "was left out already" if was_known else "is left out"
    command.say(f"Step {step:,} of {training.step.name} ({training.short}) {words}: {facts.reason}")
    command.say(f"By {facts.by} at {facts.at}. Every attempt from now on goes from step {step - 1:,} to {step + 1:,}.")
    document = {"artifact": f"{training.step.stage}/{training.short}", **facts.dump(), "was_known": was_known}
    command.end(document, then=resume_command(training.run))
