"""What a folder of weights needs to be loaded by transformers and by evaluation kits, without this package.

Owns the files beside weights, tokenizer and card: code, and what `config.json`, the processor's and the generation's
settings say. What the base model brought is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from neo_model.config import NeoConfig
from stages.exporting.remote_code import AUTO_MAP, PROCESSOR_MAP, TEMPLATE, remote_code

AUTO_MAP_FIELD: Final = "auto_map"
"""The field of settings that says which code loads what; only what is exported here says anything."""
GENERATION_FILE: Final = "generation_config.json"
PROCESSOR_FILES: Final = ("processor_config.json", "preprocessor_config.json")
"""Settings of the processor, under the names by which transformers of either version looks for it."""
CHAT_TEMPLATE_FILE: Final = "chat_template.jinja"
CHAT_TEMPLATE: Final = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{{- '<img><IMG_CONTEXT></img>' if part['type'] == 'image' else part['text'] -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
"""ChatML as training writes it, where the base model brought no template."""


def make_loadable(folder: Path, config: NeoConfig) -> None:
    """Add to a folder in the released layout what other programs need to load it. The same folder, the same bytes."""
    for name, content in remote_code().items():
        (folder / name).write_bytes(content)
    stated = json.loads((folder / "config.json").read_bytes())
    _write(folder / "config.json", {"template": TEMPLATE, **stated, AUTO_MAP_FIELD: AUTO_MAP})
    processor = {
        "processor_class": PROCESSOR_MAP["AutoProcessor"].split(".")[1],
        AUTO_MAP_FIELD: PROCESSOR_MAP,
        "min_pixels": config.min_pixels_px,
        "max_pixels": config.max_pixels_px,
    }
    for file in folder.glob("*.json"):
        if AUTO_MAP_FIELD in (settings := _stated(file)) and file.name != "config.json":
            # It may name code of another repository, which `trust_remote_code=True`, meant for ours, would run as well.
            _write(file, {name: value for name, value in settings.items() if name != AUTO_MAP_FIELD})
    for name in PROCESSOR_FILES:
        _write(folder / name, {**_stated(folder / name), **processor})
    _write(folder / GENERATION_FILE, _generation(folder))
    if not (folder / CHAT_TEMPLATE_FILE).is_file() and "chat_template" not in _stated(folder / "tokenizer_config.json"):
        (folder / CHAT_TEMPLATE_FILE).write_text(CHAT_TEMPLATE, encoding="utf-8")


def _generation(folder: Path) -> dict[str, Any]:
    """Settings of the base model, or greedy ones; answers end with their turn, where a base model knows none."""
    from neo_model.inputs.conversation import load_tokenizer, special_ids

    ids, given = special_ids(load_tokenizer(folder)), _stated(folder / GENERATION_FILE)
    stated = given.get("eos_token_id") or []
    ends = dict.fromkeys([ids.turn_end, ids.end_of_text, *(stated if isinstance(stated, list) else [stated])])
    return {"do_sample": False, "pad_token_id": ids.end_of_text, **given, "eos_token_id": [*ends]}


def _stated(file: Path) -> dict[str, Any]:
    """The settings that a file of the folder states; {} where there is none."""
    stated = json.loads(file.read_bytes()) if file.is_file() else {}
    return stated if isinstance(stated, dict) else {}


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
