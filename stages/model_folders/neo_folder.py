"""Judges a folder that is to be a checkpoint: a NEO in any published form, whole, with its depth and tokens known.

The released forms differ in `config.json` alone. It is written anew in the training kit's form, in which nothing is
left to defaults, with all that the folder states besides; the original is kept beside the model. Weights stay as they
are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from stages.contract import PartDraft, StageError
from stages.model_folders.folder import CONFIG_FILE, ForeignFolder
from stages.model_folders.head import same_values
from stages.model_folders.inspection import check_number_of_layers, head_in_words, keep_folder, refusing
from stages.model_folders.tokenizer import TOKENIZER_JSON, find_tokenizer
from stages.model_folders.weights import find_weights

if TYPE_CHECKING:
    from neo_model.config import NeoConfig
    from neo_model.inputs.conversation import SpecialIds
    from neo_model.weights.headers import TensorEntry

ORIGINAL_CONFIG_FILE: Final = "original_config.json"
"""The `config.json` of the folder as it was, beside `model/`."""
OWN_NAMES: Final = frozenset(("model_type", "architectures", "auto_map", "tie_word_embeddings"))
"""Fields of `config.json` that are written anew, whatever a folder states."""
_ID_FIELDS: Final = {
    "img_start_token_id": "image_start",
    "img_context_token_id": "image_context",
    "img_end_token_id": "image_end",
}
"""Field of `config.json` to the token whose id it holds."""


def inspect_neo(
    folder: ForeignFolder, draft: PartDraft, *, published: str | None, num_prebuffer_layers: int | None, own_head: bool
) -> None:
    """Copy the settings of a NEO folder and record its facts. Raises `StageError` in words for any other folder.

    `published` is the name of the published size that it must have; `num_prebuffer_layers` is the depth of the
    pre-Buffer where `config.json` does not say it; `own_head` takes a stored output head that contradicts a tied
    configuration.
    """
    from neo_model.config import NeoConfig
    from neo_model.config_fields import integer
    from neo_model.weights.architectures import check_is_neo
    from neo_model.weights.head import is_tied, states_tied
    from neo_model.weights.partition import parameter_shapes
    from neo_model.weights.released import EMBEDDING, HEAD
    from neo_model.weights.tensor_report import check_tensors

    stated = folder.read_config()
    with refusing(folder):
        check_is_neo(stated, {})
        weights = find_weights(folder)
        check_is_neo(stated, weights.entries)
        completed = with_sizes(stated, weights.entries)
        num_rows = integer(completed["llm_config"], "vocab_size", "vocab_size")
        tokenizer = find_tokenizer(folder, draft.scratch / "tokenizer", num_rows)
        completed |= _image_ids(folder, stated, tokenizer.ids)
        config = NeoConfig.from_released(completed, num_prebuffer_layers=num_prebuffer_layers)
        check_number_of_layers(folder, weights, config.num_layers)
        is_stored = {HEAD, EMBEDDING} <= weights.entries.keys()
        tied = is_tied(
            states_tied(stated),
            is_stored=is_stored,
            differs=lambda: not same_values(folder, weights, HEAD, EMBEDDING),
            own_head=own_head,
        )
        config = replace(config, tied=tied)
        _check_depth(folder, config, published)
        entries = {name: entry for name, entry in weights.entries.items() if not (tied and name == HEAD)}
        check_tensors(entries, parameter_shapes(config), what="the folder")
    instead = {CONFIG_FILE: _json_bytes(with_own_fields(completed, config))}
    if TOKENIZER_JSON not in folder.files:
        instead[TOKENIZER_JSON] = tokenizer.content
    draft.path(ORIGINAL_CONFIG_FILE).write_bytes(folder.read(CONFIG_FILE))
    head = head_in_words(tied=tied, is_stored=is_stored)
    keep_folder(draft, folder, weights, head=head, instead=instead, further=_facts(stated, config))


def with_sizes(stated: Mapping[str, Any], entries: Mapping[str, TensorEntry]) -> dict[str, Any]:
    """`config.json` with the sizes that it leaves to the defaults of its class, taken from the tensors.

    A configuration inside another is written without the values that its class has by default: a published 9B may
    lack its width of 4,096. What is stated is never changed.
    """
    completed = deepcopy(dict(stated))
    completed["vision_config"] = vision = completed.get("vision_config") or {}
    llm = completed["llm_config"]
    for section, name, value in _sizes_of(entries, llm):
        if section == "llm" and llm.get(name) is None:
            llm[name] = value
        if section == "vision" and vision.get(name) is None:
            vision[name] = value
    return completed


def with_own_fields(completed: Mapping[str, Any], config: NeoConfig) -> dict[str, Any]:
    """`config.json` in the training kit's form, with the values and the further fields that a folder states.

    Names of classes are those of the kit, because a folder may be mislabelled; code is not taken over, so neither is
    `auto_map`. Where what it states would make another model, only its further fields are kept.
    """
    from neo_model.config import NeoConfig
    from neo_model.weights.head import states_tied

    written = config.to_released()
    stated = {name: value for name, value in completed.items() if name not in OWN_NAMES}
    for section in ("llm_config", "vision_config"):
        own = {name: value for name, value in (stated.get(section) or {}).items() if name not in OWN_NAMES}
        stated[section] = own
    together = _overlaid(written, stated)
    if states_tied(together) == config.tied and NeoConfig.from_released(together) == config:
        return together
    return _overlaid(stated, written)


def _overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of both, those of `above` where both have one; sections field by field, None never."""
    fields = dict(below)
    for name, value in above.items():
        under = fields.get(name)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            fields[name] = _overlaid(under, value)
        elif value is not None or name not in fields:
            fields[name] = value
    return fields


def _sizes_of(entries: Mapping[str, TensorEntry], llm: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Section, field and value of each size that the tensors tell."""
    layer = "language_model.model.layers.0"
    numbers = {name.split(".")[3] for name in entries if name.startswith("language_model.model.layers.")}
    told = [
        ("llm", "vocab_size", "language_model.model.embed_tokens.weight", 0),
        ("llm", "hidden_size", "language_model.model.embed_tokens.weight", 1),
        ("llm", "head_dim", f"{layer}.self_attn.q_norm.weight", 0),
        ("llm", "intermediate_size", f"{layer}.mlp.up_proj.weight", 0),
        ("vision", "hidden_size", "vision_model.embeddings.patch_embedding.weight", 0),
    ]
    found = [(section, name, entries[key].shape[axis]) for section, name, key, axis in told if key in entries]
    stated = llm.get("head_dim")  # where it is no number, reading the configuration says so
    width = stated if isinstance(stated, int) else next((value for _, name, value in found if name == "head_dim"), 0)
    for name, key in (("num_attention_heads", "q_proj"), ("num_key_value_heads", "k_proj")):
        entry = entries.get(f"{layer}.self_attn.{key}.weight")
        if entry is not None and width:
            found.append(("llm", name, entry.shape[0] // width))
    return [*found, ("llm", "num_hidden_layers", len(numbers))]


def _image_ids(folder: ForeignFolder, stated: Mapping[str, Any], ids: SpecialIds) -> dict[str, int]:
    """The ids of the image tokens, by the tokenizer. Raises `StageError` where `config.json` states others."""
    from neo_model.config_fields import shown

    of_tokenizer = {field: int(getattr(ids, token)) for field, token in _ID_FIELDS.items()}
    for field, number in of_tokenizer.items():
        said = stated.get(field)
        if said is not None and str(said) != str(number):
            raise StageError(
                f"{folder}: {field} is {shown(said)} in {CONFIG_FILE}, and {number} in the tokenizer: one of the two "
                "files belongs to another model"
            )
    return of_tokenizer


def _check_depth(folder: ForeignFolder, config: NeoConfig, published: str | None) -> None:
    from neo_model.published import NEO_CONFIGS

    if config.num_prebuffer_layers == 0:
        raise StageError(
            f"{folder}: {CONFIG_FILE} says extra_num_layers 0, a pre-Buffer of 0 layers, which is no NEO: write the "
            f"number of its pre-Buffer layers there, from 1 to {config.num_layers}"
        )
    if published is None:
        return
    names = ("hidden", "num_layers", "num_prebuffer_layers", "num_heads", "num_kv_heads", "head_dim", "ffn")
    expected = NEO_CONFIGS[published]
    differences = [
        f"{name} {getattr(config, name)} instead of {getattr(expected, name)}"
        for name in (*names, "vocab_size")
        if getattr(config, name) != getattr(expected, name)
    ]
    if differences:
        raise StageError(f"{folder} has not the sizes of {published}: {', '.join(differences)}")


def _facts(stated: Mapping[str, Any], config: NeoConfig) -> dict[str, Any]:
    return {
        "architecture": "neo",
        "model_type": stated.get("model_type"),
        "num_layers": config.num_layers,
        "num_prebuffer_layers": config.num_prebuffer_layers,
        "depth_is_stated": stated["llm_config"].get("extra_num_layers") is not None,
        "hidden": config.hidden,
        "theta_t": config.theta_t,
        "theta_patch": config.theta_patch,
    }


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
