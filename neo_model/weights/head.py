"""Whether the output head of a model folder is its embedding table, and what to do with a head that is stored as well.

Owns one rule for NEO and Qwen3 folders. `tie_word_embeddings` in `config.json` says that the head is the table; many
folders store the head as a tensor of its own all the same. A stored head that equals the table to the bit is the
table. One that differs contradicts its configuration, and is not taken without being asked for: transformers 4
computes with the table then, transformers 5 with the stored head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from neo_model.config_fields import flag, mapping


class HeadError(ValueError):
    """A stored output head contradicts the configuration beside it; the message says what to do."""


def states_tied(config: Mapping[str, Any]) -> bool | None:
    """Whether `config.json` says that the head is the embedding table. None where its two sections disagree.

    A NEO configuration may say it outside, inside `llm_config`, or in both; nowhere means that it is not. Raises
    ConfigError where it is neither true nor false.
    """
    name = "tie_word_embeddings"
    said = {flag(one, name) for one in (config, mapping(config, "llm_config")) if one.get(name) is not None}
    return None if len(said) > 1 else said == {True}


def is_tied(stated: bool | None, *, is_stored: bool, differs: Callable[[], bool], own_head: bool = False) -> bool:
    """Whether the head of a folder is its embedding table.

    `stated` is what `states_tied` gives, `is_stored` whether the folder has a tensor for the head; `differs` compares
    this tensor with the table, and is called only where it matters. `own_head` takes a head that differs from the
    table although the configuration says tied. Raises HeadError where such a head is found and not asked for.
    """
    if not is_stored:
        return stated is not False
    if stated is False:
        return False
    if not differs():
        return True
    if stated and not own_head:
        raise HeadError(
            "config.json says that the output head is the embedding table (tie_word_embeddings true), but the folder "
            "stores a head that differs from it; transformers 4 would compute with the table, transformers 5 with the "
            "stored head. Set own_head=True to take the stored head, or remove its tensor from the folder"
        )
    return False
