"""What people ask about, as the artifacts where it begins: URLs, ids, domains, sources, parts, reasons, artifacts.

Owns how each is found: by the indexes of `neo index` where there are any, else by columns of the tables of all parts,
many side by side. A table that cannot be read is a doubt about its artifact; nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.exposure.holds import Doubts
from pipelines.exposure.wanted import ANY, Hold, Wanted, ids_of, joined
from pipelines.indexes.subjects import SUBJECTS, TABLES
from pipelines.indexes.tables import PartTable
from pipelines.lineage.graph import Node
from pipelines.lineage.sought import Search, Sought
from pipelines.lineage.table_rows import part_tables
from stages.artifacts import kinds
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import DRAW_FILE, ROW_INDEX_FILE, VERDICTS_FILE
from stages.artifacts.learned import slot_of
from stages.formats.read_ahead import ahead
from stages.formats.sample_table import without_reasons
from stages.store.errors import StoreError
from stages.store.reader import NUM_READERS

if TYPE_CHECKING:
    import pyarrow as pa

IsWanted: TypeAlias = "Callable[[pa.Table], pa.BooleanArray]"
"""Says of each row of a table whether it is wanted."""
Nodes: TypeAlias = Mapping[str, Node]
"""Artifacts by their short names."""
VERDICT_TABLES = {kind.kind: VERDICTS_FILE for kind in (kinds.KeptPairs, kinds.KeptClips, kinds.KeptTexts)}
"""The kinds that judge samples, and their table."""
SAMPLE_TABLES = {**TABLES, **VERDICT_TABLES}
"""Every kind with a row and a verdict for each sample, and its table."""

PARTS_FILES = {**SAMPLE_TABLES, kinds.Draw.kind: DRAW_FILE, kinds.Rows.kind: ROW_INDEX_FILE}
"""Every kind of which one part can be asked about, and the table of a part."""
MAX_IDS = 1_000
"""Sample ids that are listed for one value, at most: a picture may be that of millions of samples."""


@dataclass
class Beginnings:
    """Where what is asked about begins, and what of it was found there."""

    holds: dict[str, Hold] = field(default_factory=dict)
    """What artifacts hold by themselves, by their short names."""
    row_parts: dict[str, frozenset[str]] = field(default_factory=dict)
    """Packed rows of which some parts are asked about, and no others, by their short names."""
    num_kept: int = 0
    """Samples that were found and kept, each time that a table has them."""
    verdicts: dict[str, int] = field(default_factory=dict)
    """Number of those that were found and not kept, by verdict and reason: `failed (not_found)`."""
    found: dict[str, dict[str, None]] = field(default_factory=dict)
    """What was typed, as far as a table has it, to the ids of its samples, hex: one more than `MAX_IDS` at most."""

    def begin(self, short: str, hold: Hold) -> None:
        """An artifact holds this by itself."""
        self.holds[short] = joined([self.holds.get(short, {}), hold])

    def samples_of(self, typed: str) -> dict[str, None]:
        """The ids of the samples that something typed led to; ids and digests may be typed in capitals."""
        return self.found.get(typed) or self.found.get(typed.lower()) or {}

    @property
    def num_found(self) -> int:
        """Rows of tables that were found, kept or not."""
        return self.num_kept + sum(self.verdicts.values())


def of_ids(nodes: Nodes, ids: Iterable[bytes]) -> Beginnings:
    """Samples by their ids, wherever samples begin. No table is read: the packed rows say where they are."""
    return of_wanted(nodes, Wanted.of(ids))


def of_wanted(nodes: Nodes, wanted: Wanted) -> Beginnings:
    """As `of_ids`, of ids that are sorted."""
    beginnings = Beginnings()
    for short, node in nodes.items():
        if node.head is not None and node.kind in TABLES and wanted:
            beginnings.begin(short, {ANY: wanted})
    return beginnings


def of_soughts(
    nodes: Nodes, soughts: Sequence[Sought], search: Search, doubts: Doubts, *, keeps_values: bool = False
) -> Beginnings:
    """Samples by name, id, picture or domain, wherever samples begin.

    `found` says what each value led to, if `keeps_values`: a few hundred bytes for each sample that is listed.
    """
    beginnings = Beginnings()
    for short, node in nodes.items():
        if node.head is None or node.kind not in TABLES:
            continue
        artifact = Artifact(node.store, node.head)
        for sought in (one for one in soughts if node.kind in one.kinds):
            columns = SUBJECTS[sought.subject].columns
            try:
                tables = sought.tables(artifact, search)
                rows = _Rows(artifact, tables, columns, sought.is_wanted, keeps_values=keeps_values)
                rows.add_to(beginnings, doubts)
            except StoreError as error:
                doubts.add(short, error)
    return beginnings


def of_part(nodes: Nodes, node: Node, parts: Sequence[str], doubts: Doubts) -> Beginnings:
    """What some parts of an artifact keep, draw or pack, also in artifacts that share the files of these parts.

    Those took a part over, or it was taken over from them: for another attempt at failed rows, a takedown, or a source
    that grew. Raises `KeyError` that names a part which there is not.
    """
    assert node.head is not None
    beginnings = Beginnings()
    tables = {table.part: table for table in part_tables(Artifact(node.store, node.head), PARTS_FILES[node.kind])}
    chosen = [tables[part] for part in parts]
    _begin_at(beginnings, node, chosen, doubts)
    keys = {table.key for table in chosen}
    for other in _sharing(nodes, node):
        assert other.head is not None
        try:
            tables_there = part_tables(Artifact(other.store, other.head), PARTS_FILES[other.kind])
        except StoreError as error:
            doubts.add(other.short, error)
            continue
        shared = Beginnings()
        _begin_at(shared, other, [table for table in tables_there if table.key in keys], doubts)
        for short, hold in shared.holds.items():
            beginnings.begin(short, hold)
        beginnings.row_parts |= shared.row_parts
    return beginnings


def _sharing(nodes: Nodes, node: Node) -> Iterator[Node]:
    """Other artifacts of the same kind that may hold files of a part of this one, by what they say they took over."""
    assert node.head is not None
    owners = {node.short, *node.head.provenance.get("taken_over", ())}
    for other in nodes.values():
        if other.head is None or other.kind != node.kind or other.short == node.short:
            continue
        if not owners.isdisjoint({other.short, *other.head.provenance.get("taken_over", ())}):
            yield other


def _begin_at(beginnings: Beginnings, node: Node, tables: Sequence[PartTable], doubts: Doubts) -> None:
    """What the parts with these tables keep, draw or pack."""
    assert node.head is not None
    if node.kind != kinds.Rows.kind:
        _Rows(Artifact(node.store, node.head), tables, ("sample_id",), _all_rows).add_to(beginnings, doubts)
    elif tables:
        beginnings.begin(node.short, {ANY: Wanted()})
        beginnings.row_parts[node.short] = frozenset(table.part for table in tables)


def of_reason(nodes: Nodes, reason: str, doubts: Doubts) -> Beginnings:
    """Samples that some artifact judged so: its verdict or its reason is `reason`.

    They begin wherever samples begin, since what one artifact dropped another may have kept.
    """
    judged, together = Beginnings(), Wanted.of(())
    for node in nodes.values():
        head = node.head
        if head is None or node.kind not in SAMPLE_TABLES or not _may_have(head, reason):
            continue
        artifact = Artifact(node.store, head)
        try:
            tables = part_tables(artifact, SAMPLE_TABLES[node.kind])
            rows = _Rows(artifact, tables, ("verdict", "reason"), _is(reason), takes_all=True)
            rows.add_to(judged, doubts)
        except StoreError as error:
            doubts.add(node.short, error)
        for wanted in judged.holds.get(node.short, {}).values():
            together |= wanted
    everywhere = Beginnings(num_kept=judged.num_kept, verdicts=judged.verdicts)
    for short, node in nodes.items():
        if node.head is not None and node.kind in TABLES and together:
            everywhere.begin(short, {ANY: together})
    return everywhere


def of_source(nodes: Nodes, source: str) -> Beginnings:
    """All samples of a source: one that a mixture draws from, or one that came from outside."""
    beginnings = Beginnings()
    for short, node in nodes.items():
        if node.head is None:
            continue
        if source in node.outside:
            beginnings.begin(short, {ANY: Wanted()})
        if node.kind == kinds.Rows.kind and source in known_sources(node.head):
            beginnings.begin(short, {source: Wanted()})
    return beginnings


def of_artifacts(chosen: Iterable[Node]) -> Beginnings:
    """All that some artifacts hold."""
    beginnings = Beginnings()
    for node in chosen:
        beginnings.begin(node.short, {ANY: Wanted()})
    return beginnings


def of_makers(nodes: Nodes, maker: str) -> list[Node]:
    """What something made: `STAGE`, `STAGE@NUMBER`, `code=DIGEST` of a stage of a user's, or `PACKAGE==VERSION`."""
    package, is_package, version = maker.partition("==")
    stage, is_numbered, number = maker.partition("@")
    code = maker.removeprefix("code=") if maker.startswith("code=") else ""

    def was_made_so(head: ManifestHead) -> bool:
        if code:
            own = head.provenance.get("code") or {}
            texts = [*head.provenance.get("code_texts", ()), *(one for one in own.values() if isinstance(one, str))]
            return any(text.startswith(code) for text in texts)
        if is_package:
            return head.versions.get(package) == version
        return head.stage == stage and (not is_numbered or str(head.number) == number)

    return [node for node in nodes.values() if node.head is not None and was_made_so(node.head)]


def makers_of(nodes: Nodes) -> set[str]:
    """Every stage with its number, and every package with its version, to compare what was typed with."""
    heads = [node.head for node in nodes.values() if node.head is not None]
    stages = {f"{head.stage}@{head.number}" for head in heads} | {head.stage for head in heads}
    return stages | {f"{package}=={version}" for head in heads for package, version in head.versions.items()}


def known_sources(head: ManifestHead) -> set[str]:
    """Names of the sources in a draw or in packed rows, as its parts recorded them or its inputs are called."""
    drawn = {name.partition(".")[2] for name in head.inputs if slot_of(name) == "sources"}
    return {*head.sources, *drawn}


@dataclass(frozen=True)
class _Rows:
    """The rows of the tables of one artifact that are asked about."""

    artifact: Artifact
    tables: Iterable[PartTable]
    columns: Sequence[str]
    """Columns that say which rows are wanted."""
    is_wanted: IsWanted
    keeps_values: bool = False
    """Whether the values of these columns are noted, with the samples that they led to."""
    takes_all: bool = False
    """Whether samples are taken that were not kept here."""

    def add_to(self, beginnings: Beginnings, doubts: Doubts) -> None:
        """Note what is found, table by table; a table that cannot be read is a doubt."""
        import numpy as np
        import pyarrow.compute as pc

        store, ids = self.artifact.store, list[Any]()
        for rows in map(self._read, self.tables) if store.folder else ahead(self._read, self.tables, NUM_READERS):
            if isinstance(rows, StoreError):
                doubts.add(self.artifact.head.short, rows)
                continue
            if not rows.num_rows:
                continue
            kept = pc.equal(rows["verdict"], "kept") if "verdict" in rows.column_names else None
            num_kept = rows.num_rows if kept is None else pc.sum(kept).as_py() or 0
            beginnings.num_kept += num_kept
            if num_kept < rows.num_rows:
                _count_verdicts(beginnings, rows.filter(pc.invert(kept)))
            if self.keeps_values:
                _keep_values(beginnings, rows, self.columns)
            ids.append(ids_of((rows if kept is None or self.takes_all else rows.filter(kept))["sample_id"]))
        if ids:
            beginnings.begin(self.artifact.head.short, {ANY: Wanted(np.unique(np.concatenate(ids)))})

    def _read(self, table: PartTable) -> pa.Table | StoreError:
        """Ids, verdicts and `columns` of the rows of a table that are wanted, or why it cannot be read."""
        try:
            file = table.open(self.artifact.store)
            names = file.schema_arrow.names
            sought = [name for name in self.columns if name in names]
            read = [name for name in dict.fromkeys(["sample_id", "verdict", "reason", *sought]) if name in names]
            rows = without_reasons(file.read(read, use_threads=False), table.superseded)
            return rows.filter(self.is_wanted(rows.select(sought))) if sought else rows.slice(0, 0)
        except StoreError as error:
            return error
        except (KeyError, OSError, ValueError) as error:  # Arrow's own errors are of these
            return self.artifact.damaged(table.key, f"cannot be read ({error})")


def _count_verdicts(beginnings: Beginnings, rows: pa.Table) -> None:
    counted = rows.group_by(["verdict", "reason"]).aggregate([([], "count_all")]).to_pylist()
    for row in counted:
        ending = f"{row['verdict']} ({row['reason']})" if row["reason"] else str(row["verdict"])
        beginnings.verdicts[ending] = beginnings.verdicts.get(ending, 0) + row["count_all"]


def _keep_values(beginnings: Beginnings, rows: pa.Table, columns: Sequence[str]) -> None:
    """Which values led to which samples."""
    ids = [one.hex() for one in rows["sample_id"].to_pylist()]
    for column in set(columns) & set(rows.column_names):
        for value, sample in zip(rows[column].to_pylist(), ids, strict=True):
            spelled = value.hex() if isinstance(value, bytes) else value
            known = beginnings.found.setdefault(spelled, {}) if spelled else {}
            if len(known) <= MAX_IDS:
                known[sample] = None


def _may_have(head: ManifestHead, reason: str) -> bool:
    """Whether the counts of an artifact have a verdict or a reason."""
    items = [phase.items for phase in head.phases]
    verdicts = {
        "kept": any(one.kept for one in items),
        "dropped": any(one.dropped for one in items),
        "failed": any(one.failed for one in items),
    }
    return verdicts.get(reason, any(reason in {**one.dropped, **one.failed} for one in items))


def _is(reason: str) -> Callable[[pa.Table], pa.BooleanArray]:
    def wanted(table: pa.Table) -> pa.BooleanArray:
        import pyarrow.compute as pc

        hits = [pc.fill_null(pc.equal(column, reason), fill_value=False) for column in table.columns]
        found = hits[0]
        for other in hits[1:]:
            found = pc.or_(found, other)
        return found.combine_chunks() if hasattr(found, "combine_chunks") else found

    return wanted


def _all_rows(table: pa.Table) -> pa.BooleanArray:
    import numpy as np
    import pyarrow as pa

    return pa.array(np.ones(table.num_rows, bool))


def reasons_of(nodes: Nodes) -> set[str]:
    """Every verdict and reason that artifacts counted, to compare a typed one with."""
    items = [phase.items for node in nodes.values() if node.head is not None for phase in node.head.phases]
    return {"kept", "dropped", "failed", *(name for one in items for name in {**one.dropped, **one.failed})}


def sources_of(nodes: Nodes) -> set[str]:
    """Every source that a mixture draws from, and every one that came from outside."""
    heads: Iterator[ManifestHead] = (node.head for node in nodes.values() if node.head is not None)
    inside = {name for head in heads for name in known_sources(head)}
    return inside | {name for node in nodes.values() for name in node.outside}


def part_names(node: Node) -> list[str]:
    """The parts of an artifact that can be asked about."""
    assert node.head is not None
    return [table.part for table in part_tables(Artifact(node.store, node.head), PARTS_FILES[node.kind])]
