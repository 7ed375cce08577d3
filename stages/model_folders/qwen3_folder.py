"""Judges a folder that is to be the language model: a plain dense Qwen3, whole, with room for NEO's tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from stages.contract import PartDraft, StageError
from stages.model_folders.folder import CONFIG_FILE, ForeignFolder
from stages.model_folders.head import same_values
from stages.model_folders.inspection import check_number_of_layers, head_in_words, keep_folder, refusing
from stages.model_folders.tokenizer import TOKENIZER_JSON, find_tokenizer
from stages.model_folders.weights import FoundWeights, find_weights

if TYPE_CHECKING:
    from neo_model.config import NeoConfig

_TABLE, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_PLACEHOLDER_IDS: Final = {"image_start_id": 0, "image_context_id": 1, "image_end_id": 2}
"""Ids of the image tokens where only sizes are compared."""


def inspect_qwen3(folder: ForeignFolder, draft: PartDraft, *, published: str | None, own_head: bool) -> None:
    """Copy the settings of a Qwen3 folder and record its facts. Raises `StageError` in words for any other folder.

    `published` is the name of the published model whose sizes it must have; `own_head` takes a stored output head
    that contradicts a tied configuration.
    """
    from neo_model.config import NeoConfig
    from neo_model.weights.architectures import check_is_qwen3
    from neo_model.weights.head import is_tied, states_tied

    stated = folder.read_config()
    with refusing(folder):
        check_is_qwen3(stated, {})
        sizes = NeoConfig.from_qwen3(stated, num_prebuffer_layers=0, **_PLACEHOLDER_IDS)
        _check_published(folder, stated, published)
        weights = find_weights(folder)
        check_is_qwen3(stated, weights.entries)
        check_number_of_layers(folder, weights, sizes.num_layers)
        is_stored = {_HEAD, _TABLE} <= weights.entries.keys()
        tied = is_tied(
            states_tied(stated),
            is_stored=is_stored,
            differs=lambda: not same_values(folder, weights, _HEAD, _TABLE),
            own_head=own_head,
        )
        _check_shapes(weights, sizes, tied=tied)
    tokenizer = find_tokenizer(folder, draft.scratch / "tokenizer", sizes.vocab_size)
    instead = {} if TOKENIZER_JSON in folder.files else {TOKENIZER_JSON: tokenizer.content}
    if tied != bool(stated.get("tie_word_embeddings", False)):
        instead[CONFIG_FILE] = (json.dumps(stated | {"tie_word_embeddings": tied}, indent=2) + "\n").encode()
    head = head_in_words(tied=tied, is_stored=is_stored)
    further = {
        "architecture": "qwen3",
        "num_layers": sizes.num_layers,
        "hidden": sizes.hidden,
        "theta_t": sizes.theta_t,
    }
    keep_folder(draft, folder, weights, head=head, instead=instead, further=further)


def _check_shapes(weights: FoundWeights, sizes: NeoConfig, *, tied: bool) -> None:
    """Raise TensorMismatchError for tensors that do not fit. An untied model may lack a head: it gets the table's."""
    from neo_model.weights.qwen3 import qwen3_shapes
    from neo_model.weights.tensor_report import check_tensors

    expected = qwen3_shapes(replace(sizes, tied=tied or _HEAD not in weights.entries))
    entries = {name: entry for name, entry in weights.entries.items() if not (tied and name == _HEAD)}
    check_tensors(entries, expected, what="the folder")


def _check_published(folder: ForeignFolder, stated: dict[str, Any], published: str | None) -> None:
    from neo_model.config_fields import shown
    from neo_model.published import QWEN3_CONFIGS, SIZE_FIELDS

    if published is None:
        return
    expected = QWEN3_CONFIGS[published]
    differences = [
        f"{name} {shown(stated.get(name))} instead of {expected[name]}"
        for name in SIZE_FIELDS
        if name in expected and stated.get(name, expected[name]) != expected[name]
    ]
    if differences:
        raise StageError(f"{folder} has not the sizes of {published}: {', '.join(differences)}")
