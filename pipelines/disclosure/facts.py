"""What the store knows of the data that a model learned from: heads of its lineage, times of runs, domains of URLs.

Owns what is asked of the store for any form. All of it comes from heads and records, but for domains and the length of
clips, which are read from columns of sample tables (`domains.py`). Whether a step fetched from the web stands in the
records of its parts, which count the addresses that they asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pipelines.disclosure.domains import DomainCounts, RankedDomains
from pipelines.evidence.step_times import StepTimes, step_times
from pipelines.exits import RefusedError
from pipelines.indexes.subjects import TABLES, indexed_of
from pipelines.indexes.tables import listed
from pipelines.lineage.graph import lineage_of, step_name
from pipelines.runs.run import Run
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import RawClips, RawPairs, Rows
from stages.artifacts.learned import learned_from
from stages.exporting.statements import FOREIGN_STAGES
from stages.store.errors import StoreError
from stages.store.store import Store
from stages.surfaces.first_few import first_few

WRITING_STAGES: Final = ("caption_pairs", "caption_by_checkpoint")
"""Stages that have a model write text which others learn from."""
ASKED: Final = "num_asked"
"""What the record of a part says of pictures or films that it fetched: how many addresses of the web it asked for."""
FETCHED_KINDS: Final = (RawPairs.kind, RawClips.kind)
"""Kinds of what is fetched by addresses."""
OPT_OUT_REASONS: Final = ("opt_out", "tdm_reserved", "training_refused", "robots_disallowed", "robots_unreachable")
"""Reasons for which content was left out because its server, or its robots.txt, does not want this use."""


@dataclass(frozen=True)
class Entrance:
    """An artifact through which data entered the model from outside."""

    head: ManifestHead
    """What was made of the data first."""
    times: StepTimes
    """When that was, as far as records of its run are there."""

    @property
    def short(self) -> str:
        """Stage and shown digits of the fingerprint."""
        return self.head.short

    @property
    def sources(self) -> dict[str, dict[str, Any]]:
        """The sources that it read: name to place, digest, number of files and size."""
        return dict(self.head.provenance.get("sources", {}))

    @property
    def months(self) -> tuple[str, str] | None:
        """Month and year in which it began and ended, such as `11/2026`; None where that is not recorded."""
        began, ended = self.times.began_seconds, self.times.ended_seconds
        return (month(began), month(ended)) if began is not None and ended is not None else None


def month(seconds: float) -> str:
    """Month and year of a Unix time, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%m/%Y")


def step_rows(heads: Sequence[ManifestHead]) -> list[Sequence[str]]:
    """A table of the steps that items went through, its headings first; [] where there is none."""
    rows: list[Sequence[str]] = [("step", "entered", "kept", "dropped", "failed")]
    for head in heads:
        items = head.items
        if items.total:
            counts = (items.total, items.kept, items.num_dropped, items.num_failed)
            rows.append((head.short, *(f"{number:,}" for number in counts)))
    return rows if len(rows) > 1 else []


def has_asked(artifact: Artifact) -> bool:
    """Whether a part of its own asked for addresses of the web, by the records of its parts, read one at a time."""
    return any(bool(record.made_by.get(ASKED)) for record in artifact.each_part())


class TrainingFacts:
    """What a model learned from. Its domains are counted when they are first asked for."""

    def __init__(self, store: Store, stage: str, fingerprint: str, scratch: Path) -> None:
        """`scratch` is an empty folder for what does not fit in memory. Raises `RefusedError` where the lineage has
        gaps: a summary of a part would mislead."""
        lineage = lineage_of(store, stage, fingerprint)
        if lineage.missing:
            gone = first_few([node.short for node in lineage.missing], 3)
            raise RefusedError(
                f"of what {lineage.target.short} was made of, {gone} cannot be read: no summary of the rest is made",
                then=f"neo audit {fingerprint[:SHOWN_DIGITS]}",
            )
        heads = [node.head for node in lineage.nodes if node.head is not None]
        reached = learned_from(heads, heads[-1].fingerprint)
        self.store, self.target = store, heads[-1]
        self.heads: Sequence[ManifestHead] = [head for head in heads if head.fingerprint in reached]
        """Heads of all that it learned from, inputs before their readers."""
        self._scratch = scratch
        self._times: dict[str, dict[str, StepTimes]] = {}

    @property
    def short(self) -> str:
        """The model, as people type it."""
        return self.target.short

    @cached_property
    def entrances(self) -> list[Entrance]:
        """Where data entered: artifacts that read a source, or nothing at all; base models are not among them."""
        entered = [head for head in self.heads if head.provenance.get("sources") or not head.inputs]
        return [Entrance(head, self._time_of(head)) for head in entered if head.stage not in FOREIGN_STAGES]

    @property
    def whole(self) -> list[ManifestHead]:
        """Artifacts in which samples begin, each sample once: where one extends or retries another, which it holds by
        reference, it alone."""
        begun = [head for head in self.heads if head.kind in TABLES]
        held = {(head.kind, item.fingerprint) for head in begun for item in head.identity_inputs.values()}
        return [head for head in begun if (head.kind, head.fingerprint) not in held]

    @property
    def models(self) -> list[ManifestHead]:
        """Models that were taken over from outside, and trained on: what they had learned from is not in the store."""
        return [head for head in self.heads if head.stage in FOREIGN_STAGES]

    @property
    def written(self) -> list[ManifestHead]:
        """Artifacts with text that a model wrote."""
        return [head for head in self.heads if head.stage in WRITING_STAGES]

    @cached_property
    def crawled(self) -> list[Entrance]:
        """The entrances whose content was fetched from the web, by a step of the lineage itself."""
        return [entrance for entrance in self.entrances if entrance.head.fingerprint in self._fetched]

    @cached_property
    def _fetched(self) -> set[str]:
        """Fingerprints of what asked for addresses of the web, and of what holds parts of that by reference."""
        fetched: set[str] = set()
        for head in self.heads:  # inputs before their readers
            if head.kind in FETCHED_KINDS:
                held = {item.fingerprint for item in head.identity_inputs.values()}
                if held & fetched or has_asked(Artifact(self.store, head)):
                    fetched.add(head.fingerprint)
        return fetched

    @property
    def num_images(self) -> int:
        """Pictures that entered and were kept, before filters and repetitions."""
        return sum(head.items.kept for head in self.whole if head.kind == RawPairs.kind)

    @property
    def num_clips(self) -> int:
        """Clips that entered and were kept."""
        return sum(head.items.kept for head in self.whole if head.kind == RawClips.kind)

    @property
    def num_tokens(self) -> int | None:
        """Tokens of the packed sequences, those of pictures included; None where nothing was packed."""
        rows = [head for head in self.heads if head.kind == Rows.kind]
        return sum(int(one.get("tokens", 0)) for head in rows for one in head.sources.values()) if rows else None

    @property
    def num_opted_out(self) -> Counter[str]:
        """Reason to the number of URLs that were left out for it, of `OPT_OUT_REASONS`."""
        counts: Counter[str] = Counter()
        for head in self.whole:
            for reasons in (head.items.dropped, head.items.failed):
                counts.update({name: number for name, number in reasons.items() if name in OPT_OUT_REASONS})
        return counts

    def carried(self, column: str) -> Counter[str]:
        """Value of `licence` or `language` to the number of drawings of samples that carry it; '' for none."""
        counts: Counter[str] = Counter()
        for head in self.heads:
            for columns in head.carried.values():
                counts.update(columns.get(column, {}))
        return counts

    @property
    def last_month(self) -> str | None:
        """Month and year in which data last entered; None where it is not recorded of any entrance."""
        ended = [one.times.ended_seconds for one in self.entrances if one.times.ended_seconds is not None]
        return month(max(ended)) if ended else None

    @cached_property
    def _counts(self) -> tuple[DomainCounts, DomainCounts]:
        """Sums by domain: of what steps of the lineage fetched, and of what others had fetched."""
        fetched, others = DomainCounts(self._folder("fetched")), DomainCounts(self._folder("others"))
        for head in self.whole:
            indexed = indexed_of(head)
            if indexed is not None and head.kind in FETCHED_KINDS:
                tables = listed(Artifact(self.store, head), indexed)
                each = (tables[number] for number in range(len(tables)))
                (fetched if head.fingerprint in self._fetched else others).add_tables(self.store, each)
        return fetched, others

    def _folder(self, name: str) -> Path:
        folder = self._scratch / name
        folder.mkdir()
        return folder

    @cached_property
    def domains(self) -> RankedDomains:
        """Domains that steps of the lineage fetched content from, by size."""
        return self._counts[0].ranked()

    @cached_property
    def domains_of_others(self) -> RankedDomains:
        """Domains of addresses that what was read from outside carries, by size: others had fetched it."""
        return self._counts[1].ranked()

    @property
    def clip_hours(self) -> float:
        """Length of all clips that entered and were kept, in hours."""
        return sum(counts.seconds for counts in self._counts) / 3600

    def _time_of(self, head: ManifestHead) -> StepTimes:
        run = str(head.provenance.get("run", ""))
        if run not in self._times:
            try:
                self._times[run] = step_times(Run(self.store, run)) if run else {}
            except StoreError:  # the history of runs may be gone; what they made is not
                self._times[run] = {}
        return self._times[run].get(step_name(head), StepTimes())
