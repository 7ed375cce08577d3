"""`neo show`: a run with its steps and attempts, or an artifact with recipe, inputs, item counts and metrics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.making import Making
from pipelines.commands.options import RefArgument
from pipelines.commands.seen import sources_table
from pipelines.lineage.contents import counts_of_sources, evaluation_metrics, pictures
from pipelines.lineage.graph import best_examined, describe_counts, skipped_row_records, skipped_step_records, step_name
from pipelines.planning.code_diff import CODE_FOLDER
from pipelines.planning.plan import Decision, Plan, decide
from pipelines.planning.recipe_diff import field_changes, flat_fields
from pipelines.running.scores import SHOWN, accuracy_table, published_table, retrieval_table
from pipelines.runs.refs import resolve
from pipelines.runs.resume import command_after
from pipelines.runs.run import Run
from pipelines.screen.byte_progress import size_in_words
from pipelines.screen.console import STYLES
from pipelines.screen.holdings import HOLDING_COLUMNS, holding_cells, holding_document, remark_cells
from pipelines.screen.text_table import Column, TextTable, number, sentence
from pipelines.screen.units import counted, times_in_words
from pipelines.tracking.page_contents import funnel
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import read_head
from stages.artifacts.profiles import profile_pictures
from stages.commit.heartbeat import Life
from stages.contract import fork_of

LIVES: dict[Life, str] = {"alive": "under way", "unknown": "out of contact", "dead": "dead"}
STATE_OF = {"reuse": "committed", "continue": "begun", "make": "not made"}


def show(ctx: typer.Context, ref: RefArgument) -> None:
    """Show a run or an artifact.

    Of a run, its steps and attempts; of an artifact, its recipe, inputs, item counts and metrics.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    match = resolve(store, ref)
    if match.run is not None:
        _show_run(match.run, command)
    if match.artifact is not None:
        _show_artifact(match.artifact, command)


def _show_run(run: Run, command: CommandContext) -> None:
    request = run.request
    with ThreadPoolExecutor(1) as beside:  # each takes round trips of its own
        planning = beside.submit(decide, request, run.store)
        standing = run.standing()
        ends = run.ends(standing.num_attempts)
        attempts = [(record, ends[record.number - 1]) for record in run.first_attempts(standing.num_attempts)]
        plan = planning.result()
    at_work = {seen.record.number: LIVES[seen.life] for seen in standing.open}
    command.say(f"{run.name}: pipeline {run.request.pipeline}, {standing.state}, {counted(len(attempts), 'attempt')}")
    command.say(*(f"  --set {setting}" for setting in run.request.settings))
    for record, end in attempts:
        ended = ": ".join(filter(None, (end.outcome, end.reason))) if end else at_work.get(record.number, "")
        when = times_in_words(record.at_seconds, end.stopped_at_seconds if end else None)
        command.say(f"  attempt {record.number} on {record.host}, process {record.process_id}, {when}: {ended}")
    command.say("", _steps_table(plan))
    document = {
        "run": run.name,
        "pipeline": run.request.pipeline,
        "state": standing.state,
        "settings": list(run.request.settings),
        "attempts": [
            {
                **record.model_dump(mode="json", exclude={"decisions"}),
                "end": end.model_dump(mode="json") if end else None,
            }
            for record, end in attempts
        ],
        "steps": [
            {
                "name": step.name,
                "stage": step.stage,
                "fingerprint": step.fingerprint,
                **_state(decision),
                "holds": holding_document(plan.manifests.get(step.name)),
            }
            for step, decision in zip(plan.request.steps, plan.decisions, strict=True)
        ],
    }
    target = f"{run.request.pipeline}/{run.request.targets[0]}"
    if standing.state in ("running", "unknown"):
        command.end(document, then=f"neo status {run.name} --watch")
    command.end(document, then=command_after(run.name, standing.last) if plan.to_make else f"neo show {target}")


def _steps_table(plan: Plan) -> TextTable:
    table = TextTable("step", "state", "artifact", Column("stage", goes=1), *HOLDING_COLUMNS)
    for step, decision in zip(plan.request.steps, plan.decisions, strict=True):
        head = plan.manifests.get(step.name)
        holds = holding_cells(head) if head else remark_cells(decision.reason)
        state = STATE_OF[decision.action]
        style = "green" if state == "committed" else "yellow"
        table.add(step.name, Text(state, style), step.fingerprint[:SHOWN_DIGITS], step.stage, *holds)
    return table


def _state(decision: Decision) -> dict[str, object]:
    return {"state": STATE_OF[decision.action], "reason": decision.reason, "at_step": decision.at_step}


def _show_artifact(artifact: Artifact, command: CommandContext) -> None:
    head = artifact.head
    metrics, making = evaluation_metrics(artifact), Making.of(artifact)
    made_by = f"made by {head.provenance.get('attempt', '?')} as step {step_name(head)}"
    command.say(f"{head.kind} {head.stage}/{artifact.short}, {describe_counts(head)}, {made_by}")
    command.say(f"  fingerprint {head.fingerprint}", f"  content     {head.content}")
    num_files = sum(phase.num_files for phase in head.phases)
    size = f"{counted(num_files, 'file')}, {size_in_words(head.size_bytes)}; `neo files {artifact.short}` lists them"
    command.say(f"  folder      {artifact.store.url}/{artifact.folder} ({size})", *making.lines(), "")
    command.say(*_fork_lines(artifact), *_taken_lines(artifact), *_code_lines(artifact))
    command.say(_fields_table(artifact))
    command.say(*_best_lines(artifact), *making.table())
    command.say(*_funnel(artifact), *_rules_table(artifact), *_skipped_table(artifact), *_skipped_steps_table(artifact))
    counts = counts_of_sources(head)
    command.say(*(["", sources_table(counts)] if counts else []))
    if metrics:
        command.say("", accuracy_table(metrics) if metrics.keys() & SHOWN.keys() else _numbers_table(metrics))
        recalls = retrieval_table(metrics)
        command.say(*([] if recalls is None else ["", recalls]))
        benchmark = _benchmark(artifact)
        beside = published_table(benchmark, metrics) if benchmark else None
        command.say(*([] if beside is None else ["", beside]))
    drawn = [*pictures(head), *profile_pictures(artifact)]
    command.say(*(f"  picture {artifact.store.url}/{entry.key}" for entry in drawn))
    document = {
        "ref": f"{head.stage}/{artifact.short}",
        "kind": head.kind,
        "stage": head.stage,
        "number": head.number,
        "fingerprint": head.fingerprint,
        "content": head.content,
        "recipe": head.recipe,
        "inputs": {name: item.model_dump() for name, item in head.inputs.items()},
        "items": funnel(head),
        "sources": counts,
        "rules": head.rules,
        "best": best_examined(artifact),
        "skipped": skipped_row_records(artifact),
        "skipped_steps": skipped_step_records(artifact),
        "folder": f"{artifact.store.url}/{artifact.folder}",
        "num_parts": head.num_parts,
        "at_step": head.at_step,
        "num_files": num_files,
        "size_bytes": head.size_bytes,
        "made": making.document(),
        "versions": head.versions,
        "provenance": head.provenance,
        "metrics": metrics,
        "pictures": [f"{artifact.store.url}/{entry.key}" for entry in drawn],
    }
    command.end(document, then=f"neo trace {artifact.short}")


def _benchmark(artifact: Artifact) -> str | None:
    """The benchmark whose questions an evaluation asked; None for other questions, or where they are gone."""
    asked = artifact.head.inputs.get("questions")
    questions = read_head(artifact.store, asked.stage, asked.fingerprint) if asked else None
    name = questions.recipe.get("benchmark") if questions else None
    return name if isinstance(name, str) else None


def _fork_lines(artifact: Artifact) -> list[str]:
    """The checkpoint of another training that this one began from, and what was changed from there on."""
    fork = fork_of(artifact.head)
    if fork is None:
        return []
    changes = field_changes(fork.recipe, artifact.head.recipe)
    return [f"  {fork}", *(f"    from there on {change}" for change in changes), ""]


def _taken_lines(artifact: Artifact) -> list[str]:
    """How many parts were taken over by reference, and from which artifacts."""
    taken = artifact.head.provenance.get("taken_over", {})
    return [f"  taken over  {number:,} parts of {origin}, by reference" for origin, number in taken.items()]


def _code_lines(artifact: Artifact) -> list[str]:
    """The code of a user's stage, and where the store keeps the texts that made the parts."""
    code = artifact.head.provenance.get("code")
    if not code:
        return []
    keys = [f"{artifact.store.url}/{CODE_FOLDER}/{text}" for text in artifact.head.provenance["code_texts"]]
    return [f"  code        {code['file']} {code['sha256'][:SHOWN_DIGITS]}, kept in {', '.join(keys)}", ""]


def _best_lines(artifact: Artifact) -> list[str]:
    """The state of a training that was the best on held-out rows, where it is not the one that was handed out."""
    best = best_examined(artifact)
    if best is None or best["step"] == artifact.head.at_step:
        return []
    step = step_name(artifact.head)
    return [
        f"  best        step {best['step']:,}, with a held-out loss of {best['loss']:.4g}; "
        f"--from {step}@{best['step']} --set {step}.hand_out={best['step']} makes it the model, and trains nothing",
        "",
    ]


def _fields_table(artifact: Artifact) -> TextTable:
    table = TextTable("recipe and inputs", sentence(""))
    for name, value in flat_fields(artifact.head.recipe):
        table.add(name, value)
    for name, item in artifact.head.inputs.items():
        table.add(Text(name, "cyan"), f"{item.stage}/{item.fingerprint[:SHOWN_DIGITS]}")
    return table


def _funnel(artifact: Artifact) -> list[TextTable]:
    items = artifact.head.items
    if not items.dropped and not items.failed:
        return []
    table = TextTable(number("items"), "verdict", "reason")
    table.add(items.kept, Text("kept", STYLES["committed"]))
    for verdict, reasons in (("dropped", items.dropped), ("failed", items.failed)):
        for reason, num_items in sorted(reasons.items(), key=lambda pair: -pair[1]):
            table.add(num_items, verdict, reason)
    return [table]


def _rules_table(artifact: Artifact) -> list[TextTable | str]:
    """To how many items each rule of a filter was applied, and to how many it was not."""
    rules = artifact.head.rules
    if not rules:
        return []
    table = TextTable(number("items"), "rule", "")
    for rule, counts in rules.items():
        for how, num_items in sorted(counts.items(), key=lambda pair: -pair[1]):
            is_off = how == "no column"
            table.add(num_items, rule, Text(how, "yellow" if is_off else ""))
    return ["", table]


def _skipped_table(artifact: Artifact) -> list[TextTable]:
    skipped = skipped_row_records(artifact)
    if not skipped:
        return []
    table = TextTable("damaged rows left out", number("row"), "of", sentence("samples"))
    for one in skipped:
        of, samples = f"{one['rows'][:SHOWN_DIGITS]}/{one['part']}", ", ".join(one["sample_ids"])
        table.add(f"step {one['step']:,}", one["row"], of, samples)
    return [table]


def _skipped_steps_table(artifact: Artifact) -> list[TextTable]:
    skipped = skipped_step_records(artifact)
    if not skipped:
        return []
    table = TextTable("steps left out", Column("by", goes=2), Column("at", goes=1), sentence("reason"))
    for one in skipped:
        table.add(f"step {one['step']:,}", one["by"], one["at"], one["reason"])
    return [table]


def _numbers_table(metrics: dict[str, float]) -> TextTable:
    table = TextTable("metric", number("value"))
    for name, value in metrics.items():
        table.add(name, f"{value:.6g}")
    return table
