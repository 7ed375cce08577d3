"""The page of a run itself: tags when an attempt begins; data sets, models and totals when it ends.

Owns the calls that fill it; `run_contents.py` has what is said, `run_pages.py` decides when.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from pipelines.report.facts import committed_heads, read_facts
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import Run
from pipelines.runs.submissions import asked_by
from pipelines.tracking import page_contents, run_contents
from pipelines.tracking.client import PageClient, dataset_input, to_metrics
from pipelines.tracking.datasets import artifact_dataset, outside_dataset
from pipelines.tracking.models import LoggedModels
from stages.artifacts.head import ManifestHead

log = logging.getLogger(__name__)
MAX_MESSAGES_OF_REPORT: Final = 20_000
"""Messages of a run beyond which its report is left to `neo report`: each delivery of an end would read all of them."""
REPORT_TAG: Final = "neo.report"
"""Tag of a run's page that says why it has no report."""


@dataclass(frozen=True)
class RunSummary:
    """Fills the page of one run."""

    pages: PageClient
    run: Run

    @cached_property
    def heads(self) -> dict[str, ManifestHead]:
        """The committed artifacts of the run, by step."""
        return committed_heads(self.run)

    def origin_tags(self, attempt: int) -> dict[str, str]:
        """Who began an attempt, with which code, where; {} where its record is lost."""
        record = self.run.attempt(attempt)
        if record is None:
            return {}
        return run_contents.origin_tags(record, asked_by(self.run, record), self.run.request)

    def begin(self, page: str, attempt: int) -> dict[str, str]:
        """Add the parameters that differ from defaults, and the sources; returns the tags of the attempt."""
        known = self.pages.read(page).data.params
        changed = run_contents.changed_parameters(self.run.request)
        self.pages.log(page, parameters={name: text for name, text in changed.items() if name not in known})
        sources = [
            dataset_input(outside_dataset(name, source.model_dump(mode="json")), run_contents.OUTSIDE)
            for name, source in self.run.request.sources.items()
        ]
        if sources:
            self.pages.mlflow.log_inputs(page, datasets=sources, models=[])
        return self.origin_tags(attempt)

    def end(self, page: str, message: Message) -> None:
        """Add the data that models learned from and were examined on, the models, and totals."""
        request, heads = self.run.request, self.heads
        contexts: dict[str, str] = {}
        for step, context in run_contents.contexts_of_data(request, heads):
            contexts.setdefault(step, context)
        datasets = [
            dataset_input(artifact_dataset(heads[step], self.run.store, page_contents.counts(heads[step])), context)
            for step, context in contexts.items()
        ]
        if datasets:
            self.pages.mlflow.log_inputs(page, datasets=datasets, models=[])
        LoggedModels(self.pages, request.pipeline).list_on(
            page, [head.fingerprint for head in heads.values() if head.holds_model]
        )
        made = [name for name, head in heads.items() if head.provenance.get("run") == self.run.name]
        numbers = run_contents.totals(heads, made, message.attempt, self._seconds(message))
        self.pages.log(page, metrics=to_metrics(numbers, message.at_seconds, None))

    def note(self, outcome: str, attempt: int, link: Callable[[str], str]) -> dict[str, str]:
        """The tag that holds the note of the page."""
        text = page_contents.run_note(self.run.request, outcome, link, self.origin_tags(attempt))
        return {"mlflow.note.content": text}

    def log_report(self, page: str) -> None:
        """Add the report of the run to its page; a tag of the page says why it has none.

        No message waits for a report: one that cannot be made, or is of too many messages, is left to `neo report`.
        """
        from pipelines.report.lineage_svg import lineage_svg
        from pipelines.report.page import report_page

        missing = f"`neo report {self.run.name}` makes the report"
        if Outbox(self.run.store, self.run.name).num_messages() > MAX_MESSAGES_OF_REPORT:
            self.pages.log(page, tags={REPORT_TAG: f"{missing}: the run has too many messages for one here"})
            return
        files: dict[str, str] = {}
        try:
            facts = read_facts(self.run)
            if facts.lineage is not None:
                files[page_contents.LINEAGE_NAME] = lineage_svg(facts.lineage)
            files["report.html"] = report_page(facts)
        except Exception as error:
            log.warning("the report of %s cannot be made: %s", self.run.name, error)
            self.pages.log(page, tags={REPORT_TAG: f"{missing}; here it failed: {type(error).__name__}: {error}"})

        def write(folder: Path) -> None:
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8")

        if files:
            self.pages.log_files(page, write)

    def _seconds(self, message: Message) -> float:
        """Seconds that all attempts took up to the one that this message ends. Attempts that overlap count twice."""
        ends = {number: end for number, end in enumerate(self.run.ends(message.attempt - 1), start=1) if end}
        spans = [
            end.stopped_at_seconds - record.at_seconds
            for record in self.run.first_attempts(message.attempt - 1)
            if (end := ends.get(record.number)) is not None
        ]
        last = self.run.attempt(message.attempt)
        return sum(spans) + (message.at_seconds - last.at_seconds if last is not None else 0.0)
