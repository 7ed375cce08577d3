"""The model card of an exported checkpoint, in Markdown: what it is, what it learned from, what it was examined on.

Owns the sections and their order. It holds nothing in which two undisturbed runs could differ: no times, hosts or run
names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.exporting.card_metadata import Statements, Terms, front_matter, own_name
from stages.exporting.lineage import ExportLineage, num_drawn_by_source
from stages.exporting.scores import Measured, Score, scores_of
from stages.surfaces.markdown import code, escaped, table

if TYPE_CHECKING:
    from neo_model.config import NeoConfig

HOW_TO_LOAD = """\
```python
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = "."
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True).eval()
content = [{"type": "image", "path": "picture.jpg"}, {"type": "text", "text": "\\nWhat do you see?"}]
messages = [{"role": "user", "content": content}]
inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
made = model.generate(**inputs, max_new_tokens=64, do_sample=False)
print(processor.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

Text that spells a special token, such as `<|im_end|>`, is text here, as it was in training; a prompt that is written as
text and tokenised by other means makes it special.
"""


def model_card(stated: Statements, config: NeoConfig, num_parameters: int, lineage: ExportLineage) -> str:
    """The README of an exported checkpoint, in Markdown with the front matter that model hubs read."""
    sections = (
        front_matter(stated, lineage.measured),
        f"# {escaped(stated.title)}\n",
        _introduction(config, num_parameters),
        "## How to load it\n",
        "With this folder as the working directory, and `transformers` (4.57 or 5), `torch` and `pillow` installed:\n",
        HOW_TO_LOAD,
        "## Scores\n",
        *_scores(lineage.measured),
        "## What it learned from\n",
        *_learned(lineage),
        "## What it was only examined on\n",
        *_examined(lineage),
        "## Terms\n",
        *_terms(stated.terms, lineage),
        "## Limits\n",
        *_limits(stated, config, lineage),
        "## What it was made from\n",
        "Each row was made from rows above it; `lineage.json` holds the same in full, with every recipe.\n",
        "It lists the digest of every file here too: `neo verify .` compares them, without a network.\n",
        table(("stage", "made", "fingerprint", "content", "read"), _chain_rows(lineage.heads)),
        f"`neo trace {lineage.checkpoint.fingerprint[:SHOWN_DIGITS]}` follows this down to single samples.\n",
        "## Recipes\n",
        *_recipes(lineage.heads),
    )
    return "\n".join(sections)


def _introduction(config: NeoConfig, num_parameters: int) -> str:
    sizes = (
        ("parameters", f"{num_parameters:,}"),
        ("layers", f"{config.num_layers}, the first {config.num_prebuffer_layers} of them the pre-Buffer"),
        ("width", f"{config.hidden}, feed-forward {config.ffn}"),
        ("heads", f"{config.num_heads} for queries, {config.num_kv_heads} for keys and values, {config.head_dim} wide"),
        ("vocabulary", f"{config.vocab_size:,} rows, {'tied' if config.tied else 'with a head of its own'}"),
        ("pictures", f"{config.min_pixels_px:,} to {config.max_pixels_px:,} pixels, one token for 32 x 32"),
    )
    return (
        "A native vision-language model of the NEO family (arXiv 2510.14979): one stack of decoder layers reads\n"
        "pixels and words alike, without a vision encoder in front of it. Files and tensor names are those of the\n"
        f"released NEO checkpoints.\n\n{table(('size', ''), sizes)}"
    )


def _scores(measured: Sequence[Measured]) -> Iterator[str]:
    if not measured:
        yield "It was exported without an evaluation: no score is known.\n"
        return
    yield (
        "Measured by greedy generation. The interval is two-sided, 95%: Wilson's, for the number of independent\n"
        "questions that would tell as much as these, of which some share pictures. Of a score that is no mean of\n"
        "questions that number is found by leaving out groups of pictures (jackknife). *Blind* is the same question\n"
        "with another's pictures; *chance* is the most frequent answer, given always. Of *pairs*, R@k is the share of\n"
        "pictures with a right caption among the k nearest, and of captions with a right picture; *chance* is then a\n"
        "random order.\n"
    )
    rows = (_score_row(one, score) for one in measured for score in scores_of(one))
    yield table(("questions", "kind", "metric", "score", "95%", "blind", "chance", "asked"), rows)


def _score_row(one: Measured, score: Score) -> tuple[str, ...]:
    interval = "" if score.interval is None else f"{score.interval[0]:.3f} to {score.interval[1]:.3f}"
    named = (code(one.name), code(score.of) if score.of else "all", score.metric)
    asked = "" if score.num_questions is None else f"{score.num_questions:,}"
    return (*named, f"{score.value:.3f}", interval, _share(score.blind), _share(score.chance), asked)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _learned(lineage: ExportLineage) -> Iterator[str]:
    heads = [head for head in lineage.chain if head.fingerprint in lineage.learned]
    yield "Every item that entered a step ended as kept, dropped or failed, with a reason:\n"
    yield table(("step", "entered", "kept", "dropped", "failed"), _funnel(heads))
    for head in heads:
        if drawn := num_drawn_by_source(head):
            shares = ", ".join(f"{count:,} from {code(source)}" for source, count in drawn.items())
            yield f"{_named(head)} drew {shares}.\n"
    for column in ("licence", "language"):
        if rows := [*_carried_rows(heads, column)]:
            yield f"The {column} that samples carry, in the words of their source, counted once for each drawing:\n"
            yield table(("draw", "source", column, "drawings"), rows)


def _carried_rows(heads: Sequence[ManifestHead], column: str) -> Iterator[tuple[str, ...]]:
    for head in heads:
        for source, columns in head.carried.items():
            for value, number in columns.get(column, {}).items():
                yield _named(head), code(source), code(value) if value else "not stated", f"{number:,}"


def _examined(lineage: ExportLineage) -> Iterator[str]:
    rows = [
        (
            _named(head),
            f"{head.items.kept:,}",
            ", ".join(use.value for use in lineage.otherwise[head.fingerprint]),
            "**yes**" if head.fingerprint in lineage.learned else "no",
        )
        for head in lineage.heads
        if head.fingerprint in lineage.otherwise
    ]
    if not rows:
        yield "Nothing: it was neither examined nor measured on anything that is recorded, and nothing was kept out.\n"
        return
    yield "These told how good it is, or were kept away from it. It learned from those whose last column says so:\n"
    yield table(("step", "items", "used", "learned from as well"), rows)


def _terms(terms: Terms, lineage: ExportLineage) -> Iterator[str]:
    link = f", {code(terms.link)}" if terms.link else ""
    if terms.name and not own_name(terms.name):
        yield f"What it grew on states a licence of its own and no name of it{link}.\n"
    else:
        yield f"Licence: {code(terms.name)}{link}.\n" if terms.name else "No licence is stated for this model.\n"
    grown_on = [
        (_named(head), code(stated.name) if stated.name else "not stated", code(stated.link) if stated.link else "")
        for head in lineage.chain
        if (stated := lineage.grown_on.get(head.fingerprint)) is not None
    ]
    if grown_on:
        yield "Models that it grew on, and what their folders state:\n"
        yield table(("model", "licence", "address"), grown_on)


def _limits(stated: Statements, config: NeoConfig, lineage: ExportLineage) -> Iterator[str]:
    sides = f"{config.min_pixels_px:,} or more than {config.max_pixels_px:,}"
    lines = [
        f"Pictures of fewer pixels than {sides} are resized, so small print in large pictures may be lost.",
        "It answers whether or not it knows; nothing it says is checked.",
        *(["No score is known."] if not lineage.measured else []),
        *map(escaped, stated.limits),
    ]
    yield "".join(f"- {line}\n" for line in lines)


def _funnel(heads: Sequence[ManifestHead]) -> Iterator[tuple[str, ...]]:
    for head in heads:
        items = head.items
        if items.total:
            counts = (f"{items.total:,}", f"{items.kept:,}", _reasons(items.dropped), _reasons(items.failed))
            yield (_named(head), *counts)


def _reasons(counts: Mapping[str, int]) -> str:
    """The sum and the count of each reason: 12 (`too_small` 9, `too_elongated` 3)."""
    if not counts:
        return "0"
    each = ", ".join(f"{code(reason)} {count:,}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{sum(counts.values()):,} ({each})"


def _chain_rows(heads: Sequence[ManifestHead]) -> Iterator[tuple[str, ...]]:
    for head in heads:
        read = ", ".join(code(f"{name} {item.fingerprint[:SHOWN_DIGITS]}") for name, item in head.inputs.items())
        made = (code(f"{head.stage} ({head.number})"), code(head.kind))
        yield (*made, head.fingerprint[:SHOWN_DIGITS], head.content[:SHOWN_DIGITS], read)


def _recipes(heads: Sequence[ManifestHead]) -> Iterator[str]:
    for head in heads:
        # No line of it begins with a backtick, so nothing in it can end the block.
        recipe = json.dumps(head.recipe, indent=2, sort_keys=True, ensure_ascii=False)
        yield f"{_named(head)}\n\n```json\n{recipe}\n```\n"


def _named(head: ManifestHead) -> str:
    return code(f"{head.stage} {head.fingerprint[:SHOWN_DIGITS]}")
