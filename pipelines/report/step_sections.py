"""The section of one step in a report: what it made, of what, by which rules, with its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.lineage.contents import counts_of_sources, lines_of_sources
from pipelines.lineage.graph import describe_counts
from pipelines.planning.request import FrozenStep
from pipelines.report.charts import step_anchor
from pipelines.report.facts import RunFacts, changed_fields
from pipelines.report.markup import Markup, bar, code, pairs, size, step_link, table
from pipelines.report.pictures import Embedder
from pipelines.report.sections import MAX_REASONS, MAX_ROWS
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.surfaces.markup import markup_text


def of_step(facts: RunFacts, step: FrozenStep, embedder: Embedder) -> Iterator[str]:
    """The lines of a step's section."""
    yield f'<h3 id="{step_anchor(step.name)}">{markup_text(step.name)}</h3>'
    head, known = facts.heads.get(step.name), facts.history.steps.get(step.name)
    inputs = [step_link(item.step) for item in step.inputs.values()]
    origin = "" if head is None or facts.is_made_here(step.name) else str(head.provenance.get("attempt", "?"))
    yield pairs(
        [
            ("stage", f"{step.stage} {step.number}, makes {step.makes}"),
            ("artifact", code(head.short) if head else "not committed"),
            ("holds", f"{describe_counts(head)}, {size(head.size_bytes)}" if head else ""),
            ("reused, made by", origin),
            ("content", code(head.content) if head else ""),
            ("reads", Markup(", ".join(inputs)) if inputs else ""),
            ("why it did not end well", known.reason if known else ""),
        ]
    )
    changed = changed_fields(step)
    if changed:
        rows = [(code(name), code(text)) for name, text in list(changed.items())[:MAX_ROWS]]
        yield f"<details><summary>{len(changed):,} fields that are not at their defaults</summary>"
        yield f"{table(('', ''), rows)}</details>"
    if head is not None:
        yield from _counts(head)
        yield from embedder.of_artifact(Artifact(facts.run.store, head))
    for name, (at_step, key) in sorted((known.pictures if known else {}).items()):
        yield embedder.figure(key, f"{name} after {at_step:,} steps")


def _counts(head: ManifestHead) -> Iterator[str]:
    """Items by reason, counts by source, and how rules were applied."""
    if head.items.dropped or head.items.failed:
        yield str(bar(head.items))
        rows = [("kept", "", f"{head.items.kept:,}")]
        rows += _by_reason("dropped", head.items.dropped)
        rows += _by_reason("failed", head.items.failed)
        yield table(("", "reason", "items"), rows, numbers=(2,))
    names, *lines = lines_of_sources(counts_of_sources(head))
    if lines:
        yield table(names, lines[:MAX_ROWS], numbers=range(1, len(names)))
    if head.rules:
        rules = [
            (code(rule), how, f"{number:,}") for rule, of in head.rules.items() for how, number in sorted(of.items())
        ]
        yield table(("rule", "how it was applied", "items"), rules[:MAX_ROWS], numbers=(2,))


def _by_reason(verdict: str, reasons: Mapping[str, int]) -> list[tuple[str, str, str]]:
    ordered = sorted(reasons.items(), key=lambda one: -one[1])
    rows = [(verdict, reason, f"{number:,}") for reason, number in ordered[:MAX_REASONS]]
    left = ordered[MAX_REASONS:]
    return [*rows, (verdict, f"{len(left)} other reasons", f"{sum(n for _, n in left):,}")] if left else rows
