"""The public summary of training content that Article 53(1)(d) of Regulation (EU) 2024/1689 asks for.

Owns the sections of the European Commission's template (of 24 July 2025; C(2025) 8311) in our words, and which of
them the store can answer. The template's ranges and shares are facts of it; every figure names its command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.disclosure.domains import RankedDomains
from pipelines.disclosure.facts import Entrance, TrainingFacts, step_rows
from pipelines.disclosure.summary import Entry, FormSection, PublicSummary
from stages.artifacts.fingerprint import SHOWN_DIGITS

FORM = "Public summary of training content (Regulation (EU) 2024/1689, Article 53(1)(d))"
MAX_SHOWN = 1000
"""Domains that stand in the document itself; the file beside it has all that the template asks for."""
SHARE, SME_SHARE, SME_AT_MOST = 0.10, 0.05, 1000
"""Share of all domains that is listed; of small and medium enterprises, and how many at the most."""
RANGES = {
    "text": ("tokens", (1e9, 1e13), ("less than 1 billion", "1 billion to 10 trillion", "more than 10 trillion")),
    "image": ("images", (1e6, 1e9), ("less than 1 million", "1 million to 1 billion", "more than 1 billion")),
    "video": ("hours", (1e4, 1e6), ("less than 10,000", "10,000 to 1 million", "more than 1 million")),
}
"""Modality to its unit, and the bounds and words of the ranges that the template offers."""


def size_range(modality: str, number: float) -> str:
    """The range of the template that a size is in.

    >>> size_range("image", 2_000_000)
    '1 million to 1 billion images'
    """
    unit, (low, high), words = RANGES[modality]
    return f"{words[0] if number < low else words[1] if number <= high else words[2]} {unit}"


def eu_summary(facts: TrainingFacts, *, is_sme: bool, ref: str) -> PublicSummary:
    """The summary of a model. `ref` is what was typed for it, which its commands repeat."""
    sections = (
        FormSection("1.1", "Provider", [Entry("Name and contact of the provider"), Entry("Authorised representative")]),
        FormSection("1.2", "Model", [*_model(facts)]),
        FormSection("1.3", "Modalities, size and further characteristics", [*_modalities(facts)]),
        FormSection("2.1", "Publicly available datasets", [*_datasets(facts, ref, is_sme=is_sme)]),
        FormSection("2.2", "Private datasets of third parties", _private()),
        FormSection("2.3", "Data crawled and scraped", [*_crawled(facts, ref, is_sme=is_sme)]),
        FormSection(
            "2.4", "Data of users", [Entry("Whether interactions with users, or with other services, were used")]
        ),
        FormSection("2.5", "Synthetic data", [*_synthetic(facts)]),
        FormSection("2.6", "Other sources", [Entry("Sources of none of these kinds")]),
        FormSection("3.1", "Reservations of rights", [*_reservations(facts)]),
        FormSection("3.2", "Removal of illegal content", [*_removed(facts)]),
        FormSection("3.3", "Further information", [*_processing(facts)]),
    )
    return PublicSummary(form=FORM, subject=f"{facts.target.stage}/{facts.target.fingerprint}", sections=sections)


def _model(facts: TrainingFacts) -> Iterator[Entry]:
    yield Entry("Versioned name of the model")
    rows = [("model", "read from"), *((head.short, _places(head.provenance)) for head in facts.models)]
    told = "It was trained from the models below; what those had learned from is not in this store."
    none = "It was trained from no other model that the store knows."
    yield Entry(
        "Models that it depends on",
        told if facts.models else none,
        query=f"neo trace {facts.target.fingerprint[:SHOWN_DIGITS]}",
        rows=rows if facts.models else (),
    )
    yield Entry("Date on which it was placed on the Union market")


def _modalities(facts: TrainingFacts) -> Iterator[Entry]:
    trace = f"neo trace {facts.target.fingerprint[:SHOWN_DIGITS]} --json"
    if facts.num_tokens is not None:
        text = f"{size_range('text', facts.num_tokens)} ({facts.num_tokens:,} tokens of packed sequences)"
        note = "Tokens that stand for pictures are counted with those of text. A model that it grew on had its own."
        yield Entry("Text: size", text, query=trace, note=note)
    else:
        yield Entry("Text: size")
    if facts.num_images:
        note = "Pictures that entered and were kept, before filters and without repetitions."
        image = f"{size_range('image', facts.num_images)} ({facts.num_images:,} pictures)"
        yield Entry("Images: size", image, query=trace, note=note)
    else:
        yield Entry("Images: size", "none", query=trace)
    if facts.num_clips:
        hours = facts.clip_hours
        video = f"{size_range('video', hours)} ({hours:,.1f} hours in {facts.num_clips:,} clips)"
        yield Entry("Video: size", video, query=trace, note="Lengths are summed over the column `end_seconds`.")
    else:
        yield Entry("Video: size", "none", query=trace)
    yield Entry("Audio: size", "none", note="No stage reads sound.")
    yield Entry("Types of content of each modality")
    last = facts.last_month
    ongoing = "The store knows until when data entered it; whether more is still collected, it does not."
    yield Entry("Latest date of acquisition", last, query=trace if last else "", note=ongoing if last else "")
    yield _carried(facts, "language", "Linguistic characteristics")


def _carried(facts: TrainingFacts, column: str, asked: str) -> Entry:
    counts = facts.carried(column)
    stated = {value: number for value, number in counts.items() if value}
    if not stated:
        return Entry(asked)
    rows = [(column, "drawings"), *((value, f"{number:,}") for value, number in counts.most_common(50) if value)]
    told = f"{len(stated):,} values are carried by samples, counted once for each drawing; "
    told += f"{counts['']:,} drawings carry none."
    return Entry(asked, told, query=f"neo trace {facts.target.fingerprint[:SHOWN_DIGITS]} --json", rows=rows)


def _datasets(facts: TrainingFacts, ref: str, *, is_sme: bool) -> Iterator[Entry]:
    read = [one for one in facts.entrances if one.sources]
    told = "Every source that was read is listed. Which of them are publicly available, the store does not know."
    headings = ("source", "read from", "files", "bytes", "digest", "kept", "command")
    rows = [headings, *(row for entrance in read for row in _source_rows(entrance))]
    yield Entry(
        "Datasets that were used",
        told if read else "No source was read from outside.",
        query=f"neo trace {facts.target.fingerprint[:SHOWN_DIGITS]}",
        rows=rows if read else (),
    )
    yield Entry("Large public datasets among them, and links to them")
    yield _carried(facts, "licence", "Licences that samples carry")
    if facts.domains_of_others.num_urls:
        asked = "Domains of what others had fetched, by size of content"
        yield _top_domains(asked, facts.domains_of_others, ref, is_sme=is_sme)


def _source_rows(entrance: Entrance) -> Iterator[Sequence[str]]:
    for name, source in entrance.sources.items():
        sizes = (f"{source['num_files']:,}", f"{source['size_bytes']:,}", str(source["digest"])[:SHOWN_DIGITS])
        yield (name, str(source["place"]), *sizes, f"{entrance.head.items.kept:,}", f"neo show {entrance.short}")


def _private() -> list[Entry]:
    return [
        Entry("Datasets licensed by rightsholders or their representatives"),
        Entry("Datasets of other third parties"),
    ]


def _crawled(facts: TrainingFacts, ref: str, *, is_sme: bool) -> Iterator[Entry]:
    crawled = facts.crawled
    if not crawled:
        told = "No step of this lineage recorded that it asked for an address of the web."
        others = "What was read from outside carries addresses of the web: others had fetched it. Domains: 2.1."
        has_others = facts.domains_of_others.num_urls > 0
        yield Entry("Whether crawlers were used", told, query=f"neo trace {ref}", note=others if has_others else "")
        return
    from stages.download.engines.interface import USER_AGENT

    yield Entry(
        "Whether crawlers were used",
        "Yes: content was fetched from the addresses that tables name; no links were followed from page to page.",
        query=f"neo trace {ref}",
    )
    yield Entry(
        "Names of the crawlers, and who runs them",
        f"User agent: {USER_AGENT}",
        note="As this version sends it. Who ran it: the provider.",
    )
    yield Entry("Purposes of the crawlers")
    rows = [("step", "began", "ended", "entered", "kept", "robots.txt", "opt-outs that are respected")]
    for one in crawled:
        began, ended = one.months or ("not recorded", "not recorded")
        counts = (f"{one.head.items.total:,}", f"{one.head.items.kept:,}")
        manners = (str(one.head.recipe.get("robots", "")), ", ".join(one.head.recipe.get("opt_outs", ())) or "none")
        rows.append((one.short, began, ended, *counts, *manners))
    yield Entry(
        "Behaviour of the crawlers, and period",
        "As the recipe of each step states:",
        rows=rows,
        query=f"neo show {crawled[0].short}",
        note="Sign-in pages, paywalls and captchas are not passed: "
        "a page that is no picture or film is dropped with a reason.",
    )
    yield Entry("Types of content and of sites")
    yield _top_domains("Domains by size of content", facts.domains, ref, is_sme=is_sme)


def num_listed(domains: RankedDomains, *, is_sme: bool) -> int:
    """Domains that the template asks for."""
    share, at_most = (SME_SHARE, SME_AT_MOST) if is_sme else (SHARE, None)
    return domains.num_listed(share, at_most)


def _top_domains(asked: str, domains: RankedDomains, ref: str, *, is_sme: bool) -> Entry:
    number = num_listed(domains, is_sme=is_sme)
    shown = domains.top(min(number, MAX_SHOWN))
    rule = "5% of all, 1,000 at the most, as for small and medium enterprises" if is_sme else "10% of all"
    told = f"{domains.num_domains:,} domains, {domains.num_urls:,} addresses, {domains.size_bytes:,} bytes. "
    told += f"The {number:,} with the most content ({rule}):"
    note = (
        "" if number <= MAX_SHOWN else f"The first {MAX_SHOWN:,} stand here, all of them in the file beside this one."
    )
    rows = [
        ("domain", "bytes", "addresses"),
        *((one.domain, f"{one.size_bytes:,}", f"{one.num_urls:,}") for one in shown),
    ]
    sme = " --sme" if is_sme else ""
    return Entry(asked, told, query=f"neo disclose {ref} --eu{sme} --to FILE.html", rows=rows, note=note)


def _synthetic(facts: TrainingFacts) -> Iterator[Entry]:
    if not facts.written:
        yield Entry(
            "Synthetic data",
            "No step had a model write text or make pictures.",
            query=f"neo trace {facts.short}",
            note="Whether what was read from outside is synthetic, the store does not know.",
        )
        return
    rows = [("step", "model", "captions", "command")]
    for head in facts.written:
        model = str(head.recipe.get("model") or ", ".join(item.stage for item in head.inputs.values()))
        rows.append((head.short, model, f"{head.items.kept:,}", f"neo show {head.short}"))
    yield Entry("Synthetic data", "Models wrote captions of pictures:", query=f"neo show {rows[1][0]}", rows=rows)


def _reservations(facts: TrainingFacts) -> Iterator[Entry]:
    yield Entry("Whether the provider signed the Code of Practice")
    if not facts.crawled:
        yield Entry("Measures to respect reservations of rights")
        return
    counts = facts.num_opted_out
    rows = [("reason", "addresses"), *((name, f"{number:,}") for name, number in sorted(counts.items()))]
    told = (
        f"{sum(counts.values()):,} addresses were left out because their server, or its robots.txt, reserves this use."
    )
    note = (
        "What servers said stands beside each kept sample, in `robots_txt` and `usage_headers`. Further measures are "
    )
    yield Entry(
        "Measures to respect reservations of rights",
        told,
        query=f"neo show {facts.crawled[0].short}",
        rows=rows if counts else (),
        note=f"{note}the provider's to state.",
    )


def _removed(facts: TrainingFacts) -> Iterator[Entry]:
    rows = [("step", "reason", "items")]
    for head in facts.heads:
        if head.stage.startswith(("filter_", "dedup_")):
            rows += [(head.short, name, f"{number:,}") for name, number in sorted(head.items.dropped.items())]
    yield Entry("Measures to keep illegal content out")
    if len(rows) > 1:
        yield Entry(
            "What filters left out, by reason", "For whatever purpose:", query=f"neo show {rows[1][0]}", rows=rows
        )


def _processing(facts: TrainingFacts) -> Iterator[Entry]:
    yield Entry(
        "Steps of processing",
        "Each step that items went through:",
        rows=step_rows(facts.heads),
        query=f"neo trace {facts.target.fingerprint[:SHOWN_DIGITS]}",
    )


def _places(provenance: dict[str, object]) -> str:
    sources = provenance.get("sources", {})
    return ", ".join(str(one["place"]) for one in sources.values()) if isinstance(sources, dict) else ""
