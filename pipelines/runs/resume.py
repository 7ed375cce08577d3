"""Resuming a run: which run, whether the code still matches its frozen plan, and what work was lost.

A resume follows the frozen plan, never the pipeline's file as it is now. Committed work is read from the records; lost
work is computed from the events of the last attempt, for showing only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import ValidationError

from pipelines.exits import ResumeRefusedError
from pipelines.planning.plan import Decision, Plan
from pipelines.planning.request import FrozenStep, Request
from pipelines.runs.attempts import end_dead_attempts
from pipelines.runs.feed import Feed, is_commit, is_training
from pipelines.runs.in_brief import runs_in_brief
from pipelines.runs.run import AttemptRecord, Run, RunState
from pipelines.screen.progress import clock_time
from stages.artifacts.fingerprint import SHOWN_DIGITS, fingerprint
from stages.commit.heartbeat import Observer, beat_seconds, lost_after_seconds
from stages.contract import BindError, Event
from stages.store.store import Store


def newest_run(store: Store, *, unfinished: bool = False) -> Run | None:
    """The run whose last attempt began last; with `unfinished`, of those that are not done. None if there is none."""
    runs = [brief for brief in runs_in_brief(store, with_times=True) if not unfinished or brief.state != "done"]
    newest = max(runs, key=lambda brief: brief.begun_at_seconds, default=None)
    return newest.run if newest else None


def resume_command(run: Run) -> str:
    """The command that resumes a run: `neo submit` if its last attempt ran on a cluster, else `neo resume`."""
    return command_after(run.name, run.standing().last)


def command_after(run: str, last: AttemptRecord | None) -> str:
    """The command that resumes a run after its last attempt."""
    return f"neo {'submit' if last and last.job else 'resume'} {run}"


def wait_for_known_state(run: Run, say: Callable[[str], None]) -> RunState:
    """The state of a run, never `unknown`: an attempt out of contact is watched until it is known to be alive or dead.

    Its heartbeat moves within seconds if it lives, or counts as lost after a minute. `say` shows a line if this waits.
    """
    observer = Observer(run.store)
    if (standing := run.standing(observer)).state == "unknown":
        (silent, *_) = standing.open
        say(
            f"Attempt {silent.record.number} on {silent.record.host} is out of contact: watching its heartbeat, "
            f"which counts as lost after {lost_after_seconds():g} s without a beat."
        )
    while (state := run.state(observer)) == "unknown":
        time.sleep(beat_seconds())
    end_dead_attempts(run, observer)
    return state


def check_plan_matches_code(plan: Plan) -> None:
    """Raises `ResumeRefusedError` if the code no longer has a stage, recipe or number that the plan was frozen with."""
    for name in plan.to_make:
        if fault := _why_not_loadable(plan.request, plan.request.step(name)):
            raise ResumeRefusedError(
                f"run {plan.request.run} cannot be resumed: step {name!r} was frozen for {fault}. "
                "What is committed stays; the same recipe under the new code is another run and reuses what is equal",
                then=plan.request.command,
            )


def _why_not_loadable(request: Request, step: FrozenStep) -> str:
    """What the step was frozen with and what the code has instead, as a phrase; '' if they agree."""
    try:
        stage, recipe = request.load_step(step.name)
    except (ImportError, BindError) as error:
        return f"stage {step.import_path}, which the code no longer has ({error})"
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        return f"a recipe that stage {step.stage} no longer accepts ({where}: {fault['msg']})"
    if stage.number != step.number:
        return f"stage {step.stage} number {step.number}, the code has number {stage.number}"
    inputs = {edge: source.fingerprint for edge, source in step.identity_inputs.items()}
    # A plan that was frozen before code took part in identity is continued under the names that it was frozen with.
    fork = step.fork.identity if step.fork else None
    name = (
        stage.fingerprint(recipe, inputs, all_inputs=True, fork=step.fork)
        if step.code
        else fingerprint(stage.name, stage.number, recipe, inputs, fork=fork)
    )
    if name != step.fingerprint:
        return (
            f"{step.stage}/{step.fingerprint[:SHOWN_DIGITS]}, under the code as it is now that is {name[:SHOWN_DIGITS]}"
        )
    return ""


def lost_work(run: Run, plan: Plan, attempt: int) -> dict[str, str]:
    """Step to the work that an attempt did after its last commit, as a sentence. Computed from its newest events."""
    events = [event for message in Feed(run).read() if message.attempt == attempt for event in message.events]
    lost = {}
    for decision in plan.decisions:
        of_step = [event for event in events if event.step == decision.step]
        if decision.action != "reuse" and of_step and (sentence := _lost(decision, of_step)):
            lost[decision.step] = sentence
    return lost


def _lost(decision: Decision, events: list[Event]) -> str:
    """The lost work of one step in a sentence, or ''.

    Checkpoint 40 committed and step 57 reached: `steps 41 to 57 (0:51 of training after the last commit) are trained
    again`.
    """
    if (num_left := decision.num_parts - decision.num_recorded) > 0:
        return f"{num_left:,} {'part' if num_left == 1 else 'parts'} not recorded; unfinished parts start again"
    trained = [event for event in events if is_training(event)]
    reached, committed = max((event.at_step or 0 for event in trained), default=0), decision.at_step or 0
    if reached <= committed:
        return ""
    steps = f"step {reached:,}" if reached == committed + 1 else f"steps {committed + 1:,} to {reached:,}"
    commits = [event.at_seconds for event in events if is_commit(event)]
    seconds = trained[-1].at_seconds - max(commits, default=trained[0].at_seconds)
    return f"{steps} ({clock_time(seconds)} of training after the last commit) are trained again"
