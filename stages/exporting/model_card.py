"""Describes an exported checkpoint: a model card in Markdown for people, and its lineage as JSON for programs.

Pure functions of the heads of artifacts. They hold nothing in which two undisturbed runs could differ: no times, hosts
or run names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import Draw

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


def lineage_document(chain: Sequence[ManifestHead]) -> dict[str, Any]:
    """The chain as plain JSON: for each artifact its stage, digests, recipe, inputs and item balance.

    `chain` begins with the first inputs and ends with the checkpoint. `drawn` is empty for all kinds but Draw.
    """
    return {
        "checkpoint": chain[-1].fingerprint,
        "artifacts": [
            {
                "stage": manifest.stage,
                "number": manifest.number,
                "kind": manifest.kind,
                "fingerprint": manifest.fingerprint,
                "content": manifest.content,
                "recipe": manifest.recipe,
                "inputs": {name: item.model_dump() for name, item in manifest.inputs.items()},
                "items": manifest.items.model_dump(),
                "drawn": num_drawn_by_source(manifest),
            }
            for manifest in chain
        ],
    }


def num_drawn_by_source(head: ManifestHead) -> dict[str, int]:
    """Drawings that a Draw made from each of its sources; empty for other kinds."""
    counts = head.sources if head.kind == Draw.kind else {}
    return {source: int(counted["drawn"]) for source, counted in counts.items()}


def model_card(title: str, config: NeoConfig, num_parameters: int, chain: Sequence[ManifestHead]) -> str:
    """The README of an exported checkpoint, in Markdown with the front matter that model hubs read.

    `chain` begins with the first inputs and ends with the checkpoint.
    """
    sections = (
        _front_matter(),
        f"# {title}\n",
        _introduction(config, num_parameters),
        "## How to load it\n",
        "With this folder as the working directory, and `transformers` (4.57 or 5), `torch` and `pillow` installed:\n",
        HOW_TO_LOAD,
        "## What it learned from\n",
        "Every item that entered a step ended as kept, dropped or failed, with a reason:\n",
        _table(("step", "entered", "kept", "dropped", "failed"), _funnel(chain)),
        *_draws(chain),
        "## What it was made from\n",
        "Each row was made from rows above it; `lineage.json` holds the same in full, with every recipe.\n",
        _table(("stage", "made", "fingerprint", "content", "read"), _chain_rows(chain)),
        f"`neo trace {chain[-1].fingerprint[:SHOWN_DIGITS]}` follows this down to single samples.\n",
        "## Recipes\n",
        *_recipes(chain),
    )
    return "\n".join(sections)


def _front_matter() -> str:
    return "---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\ntags:\n- neo\n- custom_code\n---\n"


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
        f"released NEO checkpoints.\n\n{_table(('size', ''), sizes)}"
    )


def _funnel(chain: Sequence[ManifestHead]) -> Iterator[tuple[str, ...]]:
    for manifest in chain:
        items = manifest.items
        if items.total:
            counts = (f"{items.total:,}", f"{items.kept:,}", _reasons(items.dropped), _reasons(items.failed))
            yield (f"{manifest.stage} {manifest.fingerprint[:SHOWN_DIGITS]}", *counts)


def _reasons(counts: Mapping[str, int]) -> str:
    """The sum and the count of each reason: `12 (too_small 9, too_elongated 3)`."""
    if not counts:
        return "0"
    each = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{sum(counts.values()):,} ({each})"


def _draws(chain: Sequence[ManifestHead]) -> Iterator[str]:
    for manifest in chain:
        drawn = num_drawn_by_source(manifest)
        if drawn:
            shares = ", ".join(f"{count:,} from {source}" for source, count in drawn.items())
            yield f"`{manifest.stage} {manifest.fingerprint[:SHOWN_DIGITS]}` drew {shares}.\n"


def _chain_rows(chain: Sequence[ManifestHead]) -> Iterator[tuple[str, ...]]:
    for manifest in chain:
        read = ", ".join(f"{name} {item.fingerprint[:SHOWN_DIGITS]}" for name, item in manifest.inputs.items())
        stage = f"{manifest.stage} ({manifest.number})"
        yield stage, manifest.kind, manifest.fingerprint[:SHOWN_DIGITS], manifest.content[:SHOWN_DIGITS], read


def _recipes(chain: Sequence[ManifestHead]) -> Iterator[str]:
    for manifest in chain:
        recipe = json.dumps(manifest.recipe, indent=2, sort_keys=True, ensure_ascii=False)
        yield f"`{manifest.stage} {manifest.fingerprint[:SHOWN_DIGITS]}`\n\n```json\n{recipe}\n```\n"


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
