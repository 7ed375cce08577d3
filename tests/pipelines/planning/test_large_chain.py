"""Plans, lineage and reports of a chain ask the store for the same, however many parts its artifacts have."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.lineage.graph import all_heads, describe_counts, lineage_of
from pipelines.planning.plan import decide
from pipelines.planning.request import FrozenStep, PlannedInput, Request
from pipelines.running.summary import committed_steps
from stages.artifacts.head import head_bytes, head_key, head_of
from stages.artifacts.manifest import Manifest, content_digest, manifest_bytes, manifest_key
from stages.artifacts.records import FileEntry, InputRecord, ItemBalance, PartRecord, total
from stages.store.reader import StoreReader
from stages.store.store import Store

NUM_LINKS = 4
STAGE = "extend"
ASKED = ("read", "read_range", "size_bytes", "keys", "folders")
FEW_DIGITS_BYTES = 200
"""Numbers in the heads of more parts have a few digits more."""


def links(num_parts: int) -> Iterator[Manifest]:
    """Manifests of artifacts, each made from the one before; their parts have no data."""
    file = FileEntry(name="samples.parquet", key="none", size_bytes=500, sha256="a" * 64)
    items = ItemBalance(kept=90, failed={"gone": 10})
    names = (f"{number:06d}" for number in range(num_parts))
    parts = tuple(PartRecord(phase="write", part=name, files=(file,), items=items) for name in names)
    for number in range(NUM_LINKS):
        before = InputRecord(stage=STAGE, fingerprint=f"{number - 1}" * 64, content=content_digest(parts))
        yield Manifest(
            kind="RawPairs",
            stage=STAGE,
            number=1,
            fingerprint=f"{number}" * 64,
            recipe={},
            inputs={"before": before} if number else {},
            items=total(part.items for part in parts),
            content=before.content,
            versions={},
            provenance={"step": f"link_{number}"},
            parts=parts,
        )


def step_of(manifest: Manifest) -> FrozenStep:
    """The step that made a link."""
    number = int(manifest.fingerprint[0])
    inputs = {
        name: PlannedInput(step=f"link_{number - 1}", stage=item.stage, fingerprint=item.fingerprint)
        for name, item in manifest.inputs.items()
    }
    return FrozenStep(
        name=f"link_{number}", import_path="", stage=STAGE, number=1, makes=manifest.kind, recipe={},
        fingerprint=manifest.fingerprint, inputs=inputs,
    )  # fmt: skip


def commit_chain(folder: Path, num_parts: int) -> tuple[Store, Request]:
    """Commit all links; returns the store, and the request that all of them answer."""
    store, manifests = Store(folder), list(links(num_parts))
    for manifest in manifests:
        data = manifest_bytes(manifest)
        store.create(manifest_key(STAGE, manifest.fingerprint), data)
        store.create(head_key(STAGE, manifest.fingerprint), head_bytes(head_of(data)))
    steps = tuple(map(step_of, manifests))
    return store, Request(pipeline="chain", request="chain", targets=(steps[-1].name,), steps=steps)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what is asked of any store: requests, and bytes of the answers."""
    counted: Counter[str] = Counter()

    def count(method: Any) -> Any:
        def ask(*arguments: Any, **options: Any) -> Any:
            answer = method(*arguments, **options)
            counted.update(requests=1, bytes=len(answer) if isinstance(answer, bytes) else 0)
            return answer

        return ask

    for name in ASKED:
        monkeypatch.setattr(StoreReader, name, count(getattr(StoreReader, name)))
    return counted


def plan(store: Store, request: Request) -> None:
    assert decide(request, store).to_make == ()


def lineage(store: Store, request: Request) -> None:
    nodes = lineage_of(store, STAGE, request.steps[-1].fingerprint).nodes
    assert len([describe_counts(node.head) for node in nodes if node.head]) == NUM_LINKS


def report(store: Store, request: Request) -> None:
    assert len(committed_steps(decide(request, store), store)) == NUM_LINKS


def whole_store(store: Store, request: Request) -> None:
    assert len(list(all_heads(store))) == len(request.steps)


@pytest.mark.parametrize(
    ("read", "num_requests"),
    [(plan, 8), (lineage, 8), (report, 16), (whole_store, 10)],
    ids=["plan", "lineage", "report", "store"],
)
def test_ten_times_the_parts_cost_the_same(read: Any, num_requests: int, asked: Counter[str], tmp_path: Path) -> None:
    costs: list[tuple[int, int]] = []
    for num_parts in (200, 2000):
        made = commit_chain(tmp_path / str(num_parts), num_parts)
        asked.clear()
        read(*made)
        costs.append((asked["requests"], asked["bytes"]))
    (few_requests, few_bytes), (many_requests, many_bytes) = costs
    assert few_requests == many_requests == num_requests
    assert 0 <= many_bytes - few_bytes < FEW_DIGITS_BYTES
