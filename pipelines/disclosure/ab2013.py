"""The documentation of training data under California's AB 2013 (Civil Code, section 3111), as far as the store knows.

Owns its twelve items in our words. What is a matter of law or of people (owners, copyright, purchases, personal
information) is left blank: the store holds no such facts.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.disclosure.facts import TrainingFacts, step_rows
from pipelines.disclosure.summary import Entry, FormSection, PublicSummary
from stages.artifacts.fingerprint import SHOWN_DIGITS

FORM = "Training data documentation (California Civil Code, section 3111; AB 2013)"


def ab2013_summary(facts: TrainingFacts) -> PublicSummary:
    """The twelve items of a model."""
    entries = [*_items(facts)]
    sections = [FormSection(f"({number})", entry.asked, [entry]) for number, entry in enumerate(entries, 1)]
    return PublicSummary(form=FORM, subject=f"{facts.target.stage}/{facts.target.fingerprint}", sections=sections)


def _items(facts: TrainingFacts) -> Iterator[Entry]:
    trace = f"neo trace {facts.target.fingerprint[:SHOWN_DIGITS]}"
    places = [("step", "source", "read from")]
    places += [
        (one.short, name, str(source["place"])) for one in facts.entrances for name, source in one.sources.items()
    ]
    yield Entry(
        "Sources or owners of the datasets",
        "The sources that were read; their owners are the provider's to state.",
        query=trace,
        rows=places if len(places) > 1 else (),
    )
    yield Entry("How the datasets further the intended purpose")
    counts = [("step", "items"), *((head.short, f"{head.items.kept:,}") for head in facts.whole)]
    num_kept = sum(head.items.kept for head in facts.whole)
    yield Entry(
        "Number of data points", f"{num_kept:,} items entered and were kept.", query=f"{trace} --json", rows=counts
    )
    kinds = sorted({head.kind for head in facts.whole})
    yield Entry(
        "Types of data points",
        f"Kinds of items: {', '.join(kinds) or 'none'}.",
        query=trace,
        note="RawPairs are pictures with captions, RawClips films with captions, TextDocuments texts, "
        "Conversations questions with answers.",
    )
    yield Entry("Whether any is protected by copyright, trademark or patent, or all is in the public domain")
    yield Entry("Whether datasets were purchased or licensed")
    yield Entry("Whether they include personal information")
    yield Entry("Whether they include aggregate consumer information")
    yield Entry(
        "Cleaning, processing and other modification",
        "Each step that items went through; its purpose is in the recipe (`neo show`).",
        query=trace,
        rows=step_rows(facts.heads),
    )
    yield _period(facts, trace)
    yield Entry("Dates on which the datasets were first used in development")
    written = [head.short for head in facts.written]
    told = f"Yes: {', '.join(written)} had models write captions." if written else "No step generated data."
    yield Entry(
        "Whether synthetic data was generated or is",
        told,
        query=trace,
        note="Whether what was read from outside is synthetic, the store does not know.",
    )


def _period(facts: TrainingFacts, trace: str) -> Entry:
    asked = "Time during which the data was collected, and whether that is ongoing"
    rows = [("step", "began", "ended")]
    rows += [(one.short, *one.months) for one in facts.entrances if one.months is not None]
    if len(rows) == 1:
        return Entry(asked)
    told = "When each step read its source; when that was collected before, its publisher knows."
    return Entry(asked, told, query=trace, rows=rows)
