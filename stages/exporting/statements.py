"""What a card states of a model: gathered from its lineage in the store, and from its publisher.

Owns how terms and languages are found where the publisher names none. Reads heads, one small record of each model that
was taken over from outside, and one small file of each evaluation: no rows, and of no artifact all parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stages.artifacts.ancestry import ancestry
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead, files_root_of
from stages.artifacts.kinds import METRICS_FILE, Checkpoint, Evaluation
from stages.artifacts.learned import learned_from
from stages.artifacts.manifest import read_parts
from stages.contract import PartFacts, StageError
from stages.exporting.card_metadata import Statements, Terms, common_languages
from stages.exporting.lineage import ExportLineage
from stages.exporting.scores import Measured
from stages.store.store import Store

HUB_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
"""Name of an owner, a model or a data set on a model hub."""
FOREIGN_STAGES: Final = ("fetch_llm", "import_checkpoint")
"""Stages that take a model over from outside: their first part records the terms that its folder states."""


class StatedTerms(PartFacts):
    """What the inspection of a model folder records of its terms."""

    licence: str | None = None
    """Identifier of the licence, as the README of the folder states it."""
    licence_link: str | None = None
    """Address of the licence, where the README gives one."""


def read_lineage(checkpoint: Checkpoint, evaluations: Mapping[str, Evaluation]) -> ExportLineage:
    """The lineage of a checkpoint and of its evaluations, in the order of their names.

    Raises `StoreError` where an ancestor is missing or was made again with other content.
    """
    chain = ancestry(checkpoint)
    known = {head.fingerprint for head in chain}
    examining: list[ManifestHead] = []
    for _, evaluation in sorted(evaluations.items()):
        further = [head for head in ancestry(evaluation) if head.fingerprint not in known]
        known |= {head.fingerprint for head in further}
        examining += further
    measured = [_measured(name, evaluation) for name, evaluation in sorted(evaluations.items())]
    learned = learned_from(chain, checkpoint.fingerprint)
    foreign = [head for head in chain if head.stage in FOREIGN_STAGES and head.fingerprint in learned]
    grown_on = {head.fingerprint: _terms(checkpoint.store, head) for head in foreign}
    # A head of before has no root, and costs its manifest: 40 MB for 39,000 parts.
    files_roots = {head.fingerprint: files_root_of(checkpoint.store, head) for head in [*chain, *examining]}
    return ExportLineage(
        chain=chain, examining=examining, measured=measured, grown_on=grown_on, files_roots=files_roots
    )


def statements(
    lineage: ExportLineage,
    *,
    title: str,
    licence: str | None,
    licence_link: str | None,
    base_models: Sequence[str],
    languages: Sequence[str],
    datasets: Sequence[str],
    limits: Sequence[str],
) -> Statements:
    """What the publisher states, with terms and languages of the lineage where the publisher names none.

    Terms are taken over where all models that it grew on state the same.
    """
    terms = Terms(name=licence, link=licence_link)
    stated = set(lineage.grown_on.values())
    if licence is None and len(stated) == 1:
        (shared,) = stated
        terms = Terms(name=shared.name, link=licence_link or shared.link)
    carried = [
        columns for head in lineage.chain if head.fingerprint in lineage.learned for columns in head.carried.values()
    ]
    return Statements(
        title=title,
        terms=terms,
        base_models=tuple(base_models),
        languages=tuple(languages) or common_languages(carried),
        datasets=tuple(datasets),
        limits=tuple(limits),
    )


def _measured(name: str, evaluation: Evaluation) -> Measured:
    entry = evaluation.find_file(METRICS_FILE)
    questions = evaluation.head.inputs.get("questions")
    if entry is None or questions is None:
        raise StageError(f"evaluation {name!r} ({evaluation!r}) holds no {METRICS_FILE}, or reads no `questions`")
    asked = evaluation.input("questions", Artifact).head
    numbers: dict[str, Any] = evaluation.read_json(entry)
    return Measured(
        name=name,
        benchmark=asked.recipe.get("benchmark"),
        evaluation=evaluation.fingerprint,
        questions=questions.content,
        numbers=numbers,
    )


def _terms(store: Store, head: ManifestHead) -> Terms:
    for record in read_parts(store, head.stage, head.fingerprint):
        stated = StatedTerms.of(record)
        return Terms(name=stated.licence, link=stated.licence_link)
    return Terms()
