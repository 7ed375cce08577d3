"""The sections of a report about the whole run. Each gives lines of HTML, and none where there is nothing to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pipelines.lineage.graph import describe_counts
from pipelines.report.charts import curves_svg, spelled, step_anchor, timeline_svg
from pipelines.report.facts import RunFacts
from pipelines.report.history import Curve, StepHistory
from pipelines.report.lineage_svg import lineage_svg
from pipelines.report.markup import Markup, bar, code, pairs, size, step_link, table
from pipelines.runs.submissions import asked_by
from pipelines.screen.progress import clock_time
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.surfaces.first_few import first_few
from stages.surfaces.markup import markup_text

MAX_REASONS: Final = 12
"""Reasons of one step that are listed, the most frequent."""
MAX_ROWS: Final = 400
"""Lines of one table; a graph may have any number of steps, and a run any number of attempts."""
CHARTS: Final = {
    "loss on training rows": ("loss", "loss/"),
    "loss on held-out rows": ("heldout/loss", "heldout/loss/"),
    "accuracy on held-out rows": ("heldout/accuracy", "heldout/accuracy/"),
    "learning rate": ("learning_rate", "learning_rate/"),
    "norm of the gradient": ("gradient_norm", "gradient_norm/"),
    "tokens per second": ("tokens_per_second", "tokens_per_second/"),
}
"""Title of a chart to the metric that it shows, and to the prefix of its parts."""
MAX_CURVES_OF_CHART: Final = 8


def overview(facts: RunFacts) -> Iterator[str]:
    """Who asked for what, and how it ended."""
    request, first = facts.request, facts.attempts[0][0] if facts.attempts else None
    asked = asked_by(facts.run, first) if first else None
    ended = facts.attempts[-1][1] if facts.attempts else None
    made = sum(facts.is_made_here(step.name) for step in request.steps)
    yield pairs(
        [
            ("pipeline", request.pipeline),
            ("typed", code(request.command)),
            ("state", f"{facts.state}{f': {ended.reason}' if ended and ended.reason else ''}"),
            ("steps", f"{len(request.steps)}: {made} made here, {len(facts.heads) - made} reused, "
             f"{len(request.steps) - len(facts.heads)} not committed"),
            ("begun", f"{spelled(first.at_seconds)} UTC" if first else ""),
            ("ended", f"{spelled(ended.stopped_at_seconds)} UTC" if ended else ""),
            ("by", asked.user if asked else ""),
            ("code", _commit(asked.commit, asked.is_changed) if asked else ""),
            ("store", facts.run.store.url),
        ]
    )  # fmt: skip
    for setting in request.settings:
        yield f"<p>{code(f'--set {setting}')}</p>"


def _commit(commit: str, is_changed: bool) -> str:
    return f"commit {commit}{', with changes to tracked files' if is_changed else ''}" if commit else ""


def steps(facts: RunFacts) -> Iterator[str]:
    """A line for each step: how it ended, its time, its artifact and what that holds."""
    rows = []
    for step in facts.request.steps[:MAX_ROWS]:
        known, head = facts.history.steps.get(step.name), facts.heads.get(step.name)
        ended = _how_ended(known, is_committed=head is not None)
        tone = "good" if head else "trouble" if ended == "failed" else "faint"
        rows.append(
            (
                step_link(step.name),
                Markup(f'<span class="{tone}">{markup_text(ended)}</span>'),
                clock_time(known.working_seconds) if known and known.working_seconds else "",
                clock_time(known.waiting_seconds) if known and known.waiting_seconds else "",
                size(head.size_bytes) if head else "",
                describe_counts(head) if head else (known.reason if known else ""),
            )
        )
    yield table(("step", "ended", "worked", "waited", "size", "holds"), rows, numbers=(2, 3, 4))
    if len(facts.request.steps) > MAX_ROWS:
        yield f"<p>{len(facts.request.steps) - MAX_ROWS:,} steps more.</p>"


def _how_ended(known: StepHistory | None, *, is_committed: bool) -> str:
    """How a step ended, in words; of one that was cut off, how its last stretch of time did."""
    if known is not None and known.outcome:
        return known.outcome
    if is_committed:
        return "committed"
    if known is None or not known.spans:
        return "not begun"
    return known.spans[-1].outcome or "not ended"


def timeline(facts: RunFacts) -> Iterator[str]:
    """What each step did over time, over all attempts."""
    drawn = timeline_svg(facts.history, [step.name for step in facts.request.steps])
    if not drawn:
        return
    yield (
        '<p class="faint">By the clocks of the machines that recorded it, from the first record on.'
        '<span class="key" style="background:#4c8fd0"></span>worked'
        '<span class="key" style="background:#e3b64a"></span>waited for another run'
        '<span class="key" style="background:#d98a3a"></span>waited for machines'
        '<span class="key" style="background:#c0392b"></span>failed'
        '<span class="key" style="background:#8c96a5"></span>interrupted. Point at a bar to read it.</p>'
    )
    yield f'<div class="scroll">{drawn}</div>'
    left_out = sum(one.num_more_spans for one in facts.history.steps.values())
    if left_out:
        yield f"<p>{left_out:,} later stretches are not drawn.</p>"


def funnel(facts: RunFacts) -> Iterator[str]:
    """Kept, dropped and failed items of each step that counts them, and why."""
    rows: list[tuple[object, ...]] = []
    heads = ((step.name, facts.heads[step.name]) for step in facts.request.steps if step.name in facts.heads)
    counted = [(name, head.items) for name, head in heads if head.items.total]
    for name, items in counted[:MAX_ROWS]:
        numbers = (f"{one:,}" for one in (items.total, items.kept, items.num_dropped, items.num_failed))
        rows.append((step_link(name), *numbers, bar(items), _reasons(items.dropped, items.failed)))
    if rows:
        yield (
            '<p class="faint">Every item that entered a step ended as one of:<span class="key kept"></span>kept'
            '<span class="key dropped"></span>dropped<span class="key failed"></span>failed.</p>'
        )
        names = ("step", "entered", "kept", "dropped", "failed", "", "most frequent reasons")
        yield table(names, rows, numbers=(1, 2, 3, 4))
    if len(counted) > MAX_ROWS:
        yield f"<p>{len(counted) - MAX_ROWS:,} steps more that count items.</p>"


def _reasons(dropped: Mapping[str, int], failed: Mapping[str, int]) -> str:
    ordered = sorted([*dropped.items(), *failed.items()], key=lambda one: -one[1])
    told = [f"{reason} {number:,}" for reason, number in ordered]
    return first_few(told, 3)


def scores(facts: RunFacts) -> Iterator[str]:
    """What evaluations measured: accuracy by kind of question, beside blind answers and guessing."""
    for step, numbers in facts.scores.items():
        yield f"<h3>{step_link(step)}</h3>"
        kinds = ["", *(name.removeprefix("num_questions_") for name in numbers if name.startswith("num_questions_"))]
        rows = [row for kind in kinds if (row := _accuracy(numbers, kind))]
        if rows:
            names = ("questions", "number", "accuracy", "95% interval", "with other pictures", "guessing")
            yield table(names, rows, numbers=(1, 2, 3, 4, 5))
        told = ("accuracy", "chance", "num_questions")
        others = [(name, f"{value:,.4g}") for name, value in numbers.items() if not name.startswith(told)]
        if others:
            listed = table(("", ""), others[:MAX_ROWS])
            yield f"<details><summary>{len(others):,} numbers more</summary>{listed}</details>"


def _accuracy(numbers: Mapping[str, float], kind: str) -> tuple[object, ...] | None:
    """One line of the table of accuracies; None where there is no accuracy of this kind ('' is all)."""
    end = f"_{kind}" if kind else ""
    if f"accuracy{end}" not in numbers:
        return None

    def told(name: str) -> str:
        return f"{numbers[name]:.3f}" if name in numbers else ""

    low, high = told(f"accuracy{end}_low"), told(f"accuracy{end}_high")
    number = f"{numbers[f'num_questions{end}']:,.0f}" if f"num_questions{end}" in numbers else ""
    interval = f"{low} to {high}" if low and high else ""
    return kind or "all", number, told(f"accuracy{end}"), interval, told(f"accuracy_blind{end}"), told(f"chance{end}")


def curves(facts: RunFacts) -> Iterator[str]:
    """Losses and rates of each training over optimizer steps."""
    for step in facts.request.steps:
        known = facts.history.steps.get(step.name)
        drawn = [chart for chart in charts_of(known.curves) if chart] if known else []
        if drawn:
            yield f"<h3>{step_link(step.name)}</h3>"
            yield f'<div class="charts">{"".join(drawn)}</div>'


def charts_of(curves: Mapping[str, Curve]) -> Iterator[str]:
    """The charts of one training, those of `CHARTS` alone: '' for one without a point."""
    for title, (whole, prefix) in CHARTS.items():
        names = [name for name in curves if name == whole or name.startswith(prefix)]
        names = [name for name in names if name == whole] + sorted(name for name in names if name != whole)
        shown = names[:MAX_CURVES_OF_CHART]
        more = f" (and {len(names) - len(shown):,} more)" if len(names) > len(shown) else ""
        yield curves_svg(title + more, {name: curves[name].drawn for name in shown})


def resources(facts: RunFacts) -> Iterator[str]:
    """The machine of each attempt, and what trainings took."""
    rows = []
    for record, end in facts.attempts[-MAX_ROWS:]:
        origin = record.origin
        span = clock_time(end.stopped_at_seconds - record.at_seconds) if end else ""
        rows.append(
            (
                str(record.number),
                f"{spelled(record.at_seconds)} UTC",
                span,
                f"{end.outcome}{': ' + end.reason if end.reason else ''}" if end else "not ended",
                f"{record.host}, site {record.site}{', job ' + record.job if record.job else ''}",
                origin.hardware if origin and origin.num_cpus else "not recorded",
                ", ".join(f"{name} {text}" for name, text in origin.versions.model_dump().items())
                if origin and origin.versions
                else "",
            )
        )
    names = ("attempt", "begun", "took", "ended", "driver on", "hardware of the driver", "versions")
    yield table(names, rows, numbers=(0, 2))
    spent = [row for step in facts.request.steps if (row := _spent(facts, step.name))]
    if spent:
        columns = ("training", "seconds a step", "tokens per second", "most memory", "waited for data")
        yield f"<h3>Trainings</h3>{table(columns, spent, numbers=(1, 2, 3, 4))}"


def _spent(facts: RunFacts, step: str) -> tuple[object, ...] | None:
    """What a training took, by the last report of each metric; None for what is no training."""
    known = facts.history.steps.get(step)
    if known is None or "seconds_per_step" not in known.curves:
        return None

    def last(name: str) -> float | None:
        curve = known.curves.get(name)
        return curve.last[1] if curve and curve.last else None

    seconds, tokens, waited = last("seconds_per_step"), last("tokens_per_second"), last("data_wait")
    memory = known.curves.get("memory_bytes")
    return (
        step_link(step),
        f"{seconds:.3g}" if seconds is not None else "",
        f"{tokens:,.0f}" if tokens is not None else "",
        size(memory.largest) if memory and memory.last else "",
        f"{waited:.1%}" if waited is not None else "",
    )


def sources(facts: RunFacts) -> Iterator[str]:
    """The sources that the run's steps read, with size and digest."""
    rows = [
        (
            name,
            first_few(source.uri, 5),
            f"{source.num_files:,}",
            size(source.size_bytes),
            f"{source.num_rows:,}" if source.num_rows is not None else "",
            source.digest[:SHOWN_DIGITS],
        )
        for name, source in list(facts.request.sources.items())[:MAX_ROWS]
    ]
    if rows:
        yield table(("source", "where it lay", "files", "size", "rows", "digest"), rows, numbers=(2, 3, 4, 5))


def lineage(facts: RunFacts) -> Iterator[str]:
    """The lineage of everything that the run made, zoomable without a script; boxes lead to the steps of this run."""
    found = facts.lineage
    if found is None:
        return
    anchors = {head.fingerprint: f"#{step_anchor(name)}" for name, head in facts.heads.items()}
    yield '<p class="faint">From what came in, at the top, to what came out. Boxes of this run lead to its steps.</p>'
    for number, label in enumerate(("fit the page", "full size", "large"), start=1):
        checked = " checked" if number == 1 else ""
        yield f'<input type="radio" name="zoom" id="zoom{number}"{checked}><label for="zoom{number}">{label}</label>'
    yield f'<div class="zoom">{lineage_svg(found, lambda fingerprint: anchors.get(fingerprint, ""))}</div>'


def warnings(facts: RunFacts) -> Iterator[str]:
    """What went wrong and was dealt with."""
    history = facts.history
    if history.warnings:
        yield table(("", "step", ""), [(spelled(at), step, text) for at, step, text in history.warnings])
    if history.num_warnings > len(history.warnings):
        yield f"<p>{history.num_warnings - len(history.warnings):,} warnings more.</p>"
