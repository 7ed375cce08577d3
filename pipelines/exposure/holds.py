"""What each artifact of a store may hold of what is asked about, and of which nothing can be said, inputs first.

Owns the walk along inputs. Verdicts and draws hand on what they read, since the rows in the end say which samples they
hold; conversations hand on their own ids in place of the pictures and clips that they are about. An input that was only
compared with, or kept out, hands on nothing. What is damaged makes all that was made of it doubtful.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipelines.exposure.wanted import ANY, Hold, Wanted, ids_of, joined, of_any
from pipelines.lineage.finders import DRAWING_STAGE, DRAWN_INPUT
from pipelines.lineage.graph import Node, step_name
from pipelines.lineage.table_rows import part_tables, tables_of
from stages.artifacts import kinds
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import CONVERSATIONS_FILE
from stages.artifacts.learned import NOT_HELD_INPUTS, slot_of
from stages.artifacts.records import InputRecord
from stages.store.errors import DiskFullError, StoreDeniedError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from pipelines.exposure.wanted import Ids

WEIGHTS: Final = frozenset(
    one.kind for one in (kinds.PreBuffer, kinds.Checkpoint, kinds.ExportedCheckpoint, kinds.BaseLlm, kinds.ModelFolder)
)
"""The kinds of artifacts that are weights."""
ABOUT_COLUMNS: Final[Mapping[str, str]] = {
    kinds.RawPairs.kind: "image_ids",
    kinds.KeptPairs.kind: "image_ids",
    kinds.RawClips.kind: "clip_ids",
    kinds.KeptClips.kind: "clip_ids",
}
"""Kind of an input of conversations to the column that names its samples."""
EXAMINED_SLOTS: Final = frozenset({"heldout_rows", "questions"})
"""Inputs of a training that it is examined on, also where manifests of before count them among what it is made of."""
PASSING: Final = (DiskFullError, StoreDeniedError, StoreUnavailableError)
"""Errors of a store that say nothing of what lies in it: the command ends with them."""


@dataclass
class Doubts:
    """Of which artifacts something could not be read, and why, by their short names."""

    reasons: dict[str, list[str]] = field(default_factory=dict)

    def add(self, short: str, error: StoreError | str) -> None:
        """Something of an artifact cannot be read. Raises errors that say nothing of what lies in the store."""
        if isinstance(error, PASSING):
            raise error
        known = self.reasons.setdefault(short, [])
        if str(error) not in known:
            known.append(str(error))

    def of(self, shorts: Iterable[str]) -> list[str]:
        """The reasons of these artifacts, each once."""
        return list(dict.fromkeys(why for one in shorts for why in self.reasons.get(one, ())))


@dataclass(frozen=True)
class Holds:
    """What artifacts may hold of what is asked about. All are known by their short names."""

    nodes: Mapping[str, Node]
    """The artifacts, inputs first."""
    holds: Mapping[str, Hold]
    """What those may hold that may hold any."""
    doubts: Doubts
    """What could not be read on the way."""
    row_parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Packed rows of which some parts are asked about, and no others."""

    def behind(self, shorts: Iterable[str]) -> list[str]:
        """These artifacts and all that they hold something of, missing ones among them."""
        found, waiting = dict[str, None](), list(shorts)
        while waiting:
            one = waiting.pop()
            if one not in found:
                found[one] = None
                node = self.nodes.get(one)
                waiting += [short_of(item) for item in held_inputs(node.head).values()] if node and node.head else []
        return list(found)


def spread(
    nodes: Iterable[Node],
    beginnings: Mapping[str, Hold],
    doubts: Doubts,
    row_parts: Mapping[str, frozenset[str]] | None = None,
) -> Holds:
    """What each artifact may hold, where `beginnings` says which hold something by themselves."""
    ordered = {node.short: node for node in inputs_first(nodes)}
    holds: dict[str, Hold] = {}
    note_missing(ordered, doubts)
    for short, node in ordered.items():
        if node.head is None:
            continue
        hold = joined([beginnings.get(short, {}), _handed_on(node, ordered, holds, doubts)])
        if hold:
            holds[short] = hold
    return Holds(ordered, holds, doubts, row_parts or {})


def note_missing(nodes: Mapping[str, Node], doubts: Doubts) -> None:
    """Artifacts that cannot be read, and those that others held something of and that are gone, are doubts."""
    for short, node in nodes.items():
        if node.head is None and not node.is_absent:
            doubts.add(short, node.why_no_head)
        for name, item in held_inputs(node.head).items() if node.head is not None else ():
            given = nodes.get(short_of(item))
            if given is None or given.is_absent:
                why = "is not in the store" if given is None else "has no manifest"
                doubts.add(short_of(item), f"{short_of(item)}, which {short} read as {name}, {why}")


def inputs_first(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes, each after its inputs."""
    known = {node.short: node for node in nodes}
    done = set[str]()
    for start in known:
        waiting = [(start, False)]
        while waiting:
            short, is_left = waiting.pop()
            if is_left and short not in done:
                done.add(short)
                yield known[short]
            elif short in known and short not in done:
                waiting.append((short, True))
                head = known[short].head
                waiting += [(short_of(item), False) for item in head.inputs.values()] if head else []


def relevant(nodes: Mapping[str, Node], short: str) -> dict[str, Node]:
    """What the answer about an artifact rests on: it, what was made of these weights at once, and all that these were
    made of."""
    same = {short, *same_weights(nodes, short)}
    children = [
        node.short
        for node in nodes.values()
        if node.head and not same.isdisjoint(map(short_of, node.head.inputs.values()))
    ]
    found, waiting = set[str](), [short, *children]
    while waiting:
        one = waiting.pop()
        if one not in found and one in nodes:
            found.add(one)
            head = nodes[one].head
            waiting += [short_of(item) for item in head.inputs.values()] if head else []
    return {one: node for one, node in nodes.items() if one in found}


def same_weights(nodes: Mapping[str, Node], short: str) -> list[str]:
    """Artifacts that hold the weights of this one: a checkpoint and its exports, by their short names."""
    one = nodes.get(short)
    whole = (_exported(one) if one is not None else "") or short
    return [whole, *(node.short for node in nodes.values() if _exported(node) == whole)]


def _exported(node: Node) -> str:
    """The short name of the checkpoint that an artifact is an export of; '' where it is none."""
    if node.head is None or node.kind != kinds.ExportedCheckpoint.kind or "checkpoint" not in node.head.inputs:
        return ""
    return short_of(node.head.inputs["checkpoint"])


def short_of(item: InputRecord) -> str:
    """The short name of what was read: `pack_rows/3f2a9c01d4e5`."""
    return f"{item.stage}/{item.fingerprint[:SHOWN_DIGITS]}"


def named(head: ManifestHead) -> str:
    """An artifact in sentences: `kept (filter_pairs/3f2a9c01d4e5)`."""
    return f"{step_name(head)} ({head.short})"


def held_inputs(head: ManifestHead) -> dict[str, InputRecord]:
    """The inputs of which an artifact holds something, by name: none that it was only compared with or examined on, or
    whose scores it states."""
    is_training = "rows_per_step" in head.recipe
    return {
        name: item
        for name, item in head.identity_inputs.items()
        if (head.stage, slot_of(name)) not in NOT_HELD_INPUTS and not (is_training and slot_of(name) in EXAMINED_SLOTS)
    }


def _handed_on(node: Node, nodes: Mapping[str, Node], holds: Mapping[str, Hold], doubts: Doubts) -> Hold:
    """What the inputs of an artifact hand on to it."""
    head = node.head
    assert head is not None
    held = {name: nodes[short_of(item)] for name, item in held_inputs(head).items() if short_of(item) in nodes}
    given = {name: holds[one.short] for name, one in held.items() if one.short in holds and one.kind not in WEIGHTS}
    if head.kind == kinds.Draw.kind and head.stage == DRAWING_STAGE:
        return joined({name.removeprefix(DRAWN_INPUT): of_any(hold)} for name, hold in given.items())
    if head.kind != kinds.Conversations.kind or not given:
        return joined(given.values())
    columns = {name: ABOUT_COLUMNS.get(held[name].kind) for name in given}
    talks = [hold for name, hold in given.items() if columns[name] is None]
    about = {
        column: of_any(joined(given[name] for name in given if columns[name] == column))
        for column in filter(None, set(columns.values()))
    }
    try:
        return joined([*talks, {ANY: conversations_about(Artifact(node.store, head), about)}])
    except StoreError as error:
        doubts.add(node.short, error)
        return joined(talks)


def conversations_about(conversations: Artifact, about: Mapping[str, Wanted]) -> Wanted:
    """The conversations that name a sample in a column, for each column of `about`. Raises `StoreError`."""
    import numpy as np
    import pyarrow.compute as pc

    found: list[Ids] = []
    tables = part_tables(conversations, CONVERSATIONS_FILE)
    for table in tables_of(conversations.store, tables, ["sample_id", *about]) if about else ():
        own = ids_of(table["sample_id"])
        for column in set(about) & set(table.column_names):
            # The columns are lists: rows [[a, b], [c]] have the flat ids [a, b, c] and the parents [0, 0, 1].
            lists = table[column].combine_chunks()
            parents = pc.list_parent_indices(lists).to_numpy()
            found.append(own[parents[about[column].holds(ids_of(lists.flatten()))]])
    return Wanted(np.unique(np.concatenate(found))) if found else Wanted.of(())
