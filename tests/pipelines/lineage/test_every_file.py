"""Every file of a finished store in turn: which level of an audit notices a flipped bit, and that the file is gone.

What must be noticed is written down once, by the kind of file, as the README of `pipelines/lineage` says it. The whole
table is marked `long`; a part of it that a seed draws runs always.
"""

import random
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.long import long
from tests.pipelines.conftest import ROOT, NeoSite
from tests.pipelines.lineage.test_audit import LEVELS, made, trained

__all__ = ["made", "trained"]  # fixtures

SEED = 17
NUM_SAMPLED = 8
"""Files of the default test, of some 110."""
WAYS = ("first bit", "any bit", "last bit", "gone")
AUDITED = "refs/whole/evaluate/0.json"
"""The name that the audit is asked for: without it there is nothing to audit, which the command says."""

UNNOTICED = {
    "artifacts/*/claims/*": WAYS,  # they save work and decide nothing
    "runs/*/attempts/*.beat": WAYS,  # heartbeats
    "runs/*/logs/*": WAYS,  # prints, for people
    "runs/*/lineage.png": WAYS,  # a picture, for people
    "runs/*/steps/*": WAYS,  # times and losses, for people
    "runs/*/attempts/*.ended.json": ("any bit", "gone"),  # an attempt that was killed has none
    "runs/*/attempts/*.json": ("any bit",),  # a letter that still parses
    "runs/*/outbox/*.json": ("any bit",),  # the same, of a message
    "artifacts/*/head.json": ("gone",),  # copies of what the manifest and the records say
    "artifacts/*/phases/*/sheets/*.json": ("gone",),
}
"""What no level claims to notice."""
FILES_OF_PARTS = "artifacts/*/*/attempts/*"


def expected(key: str, way: str) -> set[str]:
    """The levels that must notice the damage."""
    for pattern, ways in UNNOTICED.items():
        if fnmatch(key, pattern):
            return set() if way in ways else set(LEVELS)
    if fnmatch(key, FILES_OF_PARTS):
        return {"size", "full"} if way == "gone" else {"full"}
    return set(LEVELS)


def inflict(path: Path, way: str) -> None:
    data = bytearray(path.read_bytes())
    if way == "gone":
        path.unlink()
    elif data:
        last = 8 * len(data) - 1
        bit = {"first bit": 0, "last bit": last, "any bit": random.Random(f"{SEED} {path.name}").randint(0, last)}[way]
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)


def noticing(site: NeoSite, key: str) -> set[str]:
    """The levels whose findings, remarks or refusal name the file, or the folder of messages that it was one of."""
    levels = set()
    for level in LEVELS:
        said = site.neo("audit", "whole/evaluate", "--level", level, "--json")
        told = [one["key"] for one in said.json.get("findings", ())] + [*said.json.get("remarks", ())]
        told += [said.json.get("error", "")]
        levels |= {level} if any(key in one or one == f"{Path(key).parent}/" for one in told) else set()
        levels |= {level} if key == AUDITED and said.code else set()
    return levels


@pytest.mark.parametrize("share", ["some files", long("every file")])
def test_each_file_of_a_finished_store_in_turn(made: NeoSite, share: str) -> None:
    store = made.folder / "store"
    paths = sorted(path for path in store.rglob("*") if path.is_file())
    assert len(paths) > 100
    if share == "some files":
        paths = [store / "store.json", *random.Random(SEED).sample(paths, NUM_SAMPLED)]
    wrong = []
    for path in paths:
        key, before = path.relative_to(store).as_posix(), path.read_bytes()
        for way in WAYS if before else ("gone",):
            inflict(path, way)
            must, does = expected(key, way), noticing(made, key)
            wrong += [f"{way} of {key}: noticed by {sorted(does)}, not by {sorted(must)}"] if not must <= does else []
            path.write_bytes(before)
    assert wrong == []
    assert made.neo("audit", "whole/evaluate").code == 0, "it is whole again"


def named_on_the_page() -> list[re.Pattern[str]]:
    """The keys that the page of the layout names: `<n>` stands for a name without a slash, `<...>` for anything."""
    keys = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "reference" / "store.md").read_text(), re.MULTILINE)
    parts = [re.split(r"(<[^>]+>)", key) for key in keys]
    held_by = {"<...>": ".+"}
    return [
        re.compile("".join(held_by.get(part, "[^/]+") if part[:1] == "<" else re.escape(part) for part in one))
        for one in parts
    ]


def test_every_file_of_a_store_is_named_on_the_page_of_its_layout(made: NeoSite) -> None:
    (made.folder / "forget.txt").write_text("http://toy.invalid/1.jpg\n")
    assert made.neo("index", "whole/rows").code == 0
    assert made.neo("takedown", str(made.folder / "forget.txt"), "--record", "--reason", "asked").code == 0
    store, named = made.folder / "store", named_on_the_page()
    keys = [path.relative_to(store).as_posix() for path in sorted(store.rglob("*")) if path.is_file()]
    assert [key for key in keys if not any(one.fullmatch(key) for one in named)] == []
    unseen = [one.pattern for one in named if not any(one.fullmatch(key) for key in keys)]
    assert len(unseen) < len(named) / 2, f"the store has too little to compare with: {unseen}"
