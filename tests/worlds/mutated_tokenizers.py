"""Mutations of the files of a tokenizer: of any value at any depth, and hostile rules in the places of lawful ones."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

from tests.worlds.mutated_configs import HOSTILE

RULES: tuple[Any, ...] = (
    {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": "(?:a|aa)*b|(a*)*\\1"}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed", "invert": True},
    {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False},
    {"type": "Split", "pattern": {"Regex": r"\s+"}, "behavior": "MergedWithNext", "invert": True},
    {"type": "Replace", "pattern": {"Regex": "(.*)*x"}, "content": ""},
    {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100_000},
    {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaa"}] * 30},
    {"type": "Prepend", "prepend": "x" * 10**6}, {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {"type": "Metaspace", "replacement": "", "prepend_scheme": "always", "split": True}, {"type": "Digits"},
    {"type": "Strip", "content": "a", "start": 2**60, "stop": 2**60}, {"type": "FixedLength", "length": 0},
    {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [],
     "special_tokens": {}},
    {"type": "Unigram", "unk_id": 7, "vocab": [["a", -1e308], ["", float("inf")]]},
    {"type": "BPE", "dropout": 0.5, "vocab": {"a": 0}, "merges": []},
    {"type": "BPE", "vocab": {}, "merges": [["", ""]]},
    {"direction": "Right", "strategy": {"Fixed": 10**9}, "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0,
     "pad_token": "x"},
    {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 2**40},
    [{"id": 0, "content": "", "special": True}], [{"id": 2**40, "content": "a", "special": True}],
    {"0": {"content": "a", "lstrip": "yes"}}, {"-1": {"content": "a"}}, {"9" * 5_000: {"content": "a"}}, {"0": None},
)  # fmt: skip
"""Parts of tokenizers that take for ever, write for ever, panic or run at random."""


def mutated_json(document: Any, rng: random.Random) -> bytes:
    """A document with one to three mutations; at times it is cut, or has a name twice."""
    changed = deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _mutate(changed, rng)
    content = json.dumps(changed).encode()
    match rng.randrange(12):
        case 0:
            return content[: rng.randrange(len(content))]
        case 1:
            return b'{"model": {"type": "BPE"}, ' + content[1:]
        case 2:
            return content.replace(b'"', b"\xff", 1)
    return content


def mutated_lines(lines: list[str], rng: random.Random) -> bytes:
    """Merges with mutated lines."""
    changed = list(lines)
    for _ in range(rng.choice((1, 2, 5))):
        changed[rng.randrange(len(changed))] = rng.choice(("", "a", "a b c", " ", "\x00 \x00", "x" * 5_000, "q \u202e"))
    return "\n".join(changed).encode() + rng.choice((b"", b"\n", b"\xff", b"\r\n\r\n"))


def _mutate(document: Any, rng: random.Random) -> None:
    """Change one value at a place to which each level leads with the same chance."""
    place = document
    while True:
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not names:
            return
        name = rng.choice(names)
        if isinstance(place[name], dict | list) and place[name] and rng.random() < 0.7:
            place = place[name]
            continue
        match rng.randrange(6):
            case 0:
                del place[name]
            case 1:
                place[name] = {name: place[name]} if isinstance(place, dict) else [place[name]] * 2
            case 2 | 3:
                place[name] = deepcopy(rng.choice(RULES))
            case _:
                place[name] = rng.choice(HOSTILE)
        return
