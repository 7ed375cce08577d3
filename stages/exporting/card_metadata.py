"""The front matter of a model card: what model hubs read and filter by, in the form that they accept.

Owns which licence, base models, languages and data sets the card states, and the scores as `model-index`. Written by
huggingface_hub's own classes, read back by them before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from stages.contract import StageError
from stages.exporting.scores import OVERALL, PAIRS, UNTRAINED_PAIRS, Measured, Score, scores_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK: Final = "image-text-to-text"
"""What the model does, by the name that model hubs have for it."""
MIN_LANGUAGE_SHARE: Final = 0.01
"""Share of the samples with a language that a language must have to be stated of the model."""
LANGUAGE_CODE: Final = r"[a-z]{2,3}"
"""ISO 639-1, 639-2 or 639-3."""
_LICENCES: Final = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0
    cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl
    gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr
    mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
    deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma
    unknown other
"""
HUB_LICENCES: Final = frozenset(_LICENCES.split())
"""Licences that model hubs list by name; any other is stated as `other`, with its name and a link."""
LICENCE_FILES: Final = ("LICENSE", "LICENSE.md")
"""Files beside the weights that model hubs take as the link of a licence."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Under which terms a model stands: those of one model that it grew on, or as its publisher states them."""

    name: str | None = None
    """Identifier of the licence, such as `apache-2.0`."""
    link: str | None = None
    """Address of the terms, or name of the file beside the weights that holds them."""


@dataclass(frozen=True, kw_only=True)
class Statements:
    """What the publisher of a model states of it."""

    title: str
    """Headline of the card, and name of the model beside its scores."""
    terms: Terms = Terms()
    """Its licence."""
    base_models: tuple[str, ...] = ()
    """Models that it grew on, as `OWNER/NAME`."""
    languages: tuple[str, ...] = ()
    """Codes of the languages that it reads and writes."""
    datasets: tuple[str, ...] = ()
    """Data sets that it learned from, as `OWNER/NAME` or `NAME`."""
    limits: tuple[str, ...] = ()
    """Sentences about what it is not good for."""


def front_matter(stated: Statements, measured: Sequence[Measured] = ()) -> str:
    """The front matter with its two lines of dashes. Raises `StageError` where huggingface_hub reads it otherwise."""
    from huggingface_hub import ModelCard, ModelCardData

    named, name, link = _licence(stated.terms)
    data: Any = ModelCardData(
        license=named,
        license_name=name,
        license_link=link,
        base_model=_listed(stated.base_models),
        datasets=_listed(stated.datasets),
        language=_listed(stated.languages),
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["neo", "custom_code"],
        model_name=stated.title if measured else None,
        eval_results=[*_results(measured)] or None,
    )
    text = f"---\n{data.to_yaml()}\n---\n"
    if ModelCard(text).data.to_yaml() != data.to_yaml():
        raise StageError(
            f"the front matter of the card is not read back as written; change its title: {stated.title!r}"
        )
    return text


def common_languages(carried: Iterable[Mapping[str, Mapping[str, int]]]) -> tuple[str, ...]:
    """The languages that samples carry, most frequent first, of those that are codes and not rare.

    `carried` are counts by column and value, of each source of each draw.
    """
    counts: dict[str, int] = {}
    for columns in carried:
        for value, number in columns.get("language", {}).items():
            if re.fullmatch(LANGUAGE_CODE, value.lower()):
                counts[value.lower()] = counts.get(value.lower(), 0) + number
    least = MIN_LANGUAGE_SHARE * sum(counts.values())
    return tuple(sorted((code for code in counts if counts[code] >= least), key=lambda code: (-counts[code], code)))


def linked(stated: Statements, files: Collection[str]) -> Statements:
    """The same, where no address of an unlisted licence is stated with its text in the folder, which holds `files`."""
    if stated.terms.name is None or stated.terms.link is not None or is_listed(stated.terms.name):
        return stated
    return replace(stated, terms=replace(stated.terms, link=next((one for one in LICENCE_FILES if one in files), None)))


def is_listed(licence: str) -> bool:
    """Whether model hubs list a licence by this name."""
    return licence.lower() in HUB_LICENCES - {"other"}


def own_name(licence: str) -> str:
    """A licence that no hub lists as a hub takes its name, in letters, digits, `-.`; '' where it is none.

    >>> own_name("My Licence 2"), own_name("other")
    ('my-licence-2', '')
    """
    slug = re.sub(r"[^a-z0-9.-]+", "-", licence.lower()).strip("-.")
    return "" if slug == "other" else slug


def _licence(terms: Terms) -> tuple[str | None, str | None, str | None]:
    """Licence, name and link as a hub takes them: a name that it lists, or `other` with a name and a link.

    A hub wants both with `other`. Where the name or the link of such a licence is not known, it is `unknown`.

    >>> _licence(Terms(name="My Licence 2", link="LICENSE"))
    ('other', 'my-licence-2', 'LICENSE')
    """
    if terms.name is None:
        return None, None, None
    if is_listed(terms.name):
        return terms.name.lower(), None, terms.link
    name = own_name(terms.name)
    return ("other", name, terms.link) if name and terms.link else ("unknown", None, terms.link)


def _listed(values: Sequence[str]) -> list[str] | None:
    return [*values] or None


def _results(measured: Iterable[Measured]) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    for one in measured:
        for score in scores_of(one):
            if score.of in {"", PAIRS, UNTRAINED_PAIRS}:
                yield EvalResult(
                    task_type=TASK,
                    dataset_type=one.benchmark or one.name,
                    dataset_name=one.name,
                    # Two evaluations on one benchmark stay apart by it.
                    dataset_config=one.name if one.benchmark not in (None, one.name) else None,
                    dataset_args={"evaluation": one.evaluation, "questions": one.questions},
                    metric_type=score.metric,
                    metric_name=OVERALL[score.metric],
                    metric_value=round(score.value, 4),
                    metric_args=_with_interval(score),
                )


def _with_interval(score: Score) -> dict[str, Any]:
    found: dict[str, Any] = {} if score.num_questions is None else {"num_questions": score.num_questions}
    if score.of == UNTRAINED_PAIRS:
        found["trained_for_retrieval"] = False
    if score.interval is not None:
        low, high = score.interval
        found |= {"low_95": round(low, 4), "high_95": round(high, 4)}
    return found
