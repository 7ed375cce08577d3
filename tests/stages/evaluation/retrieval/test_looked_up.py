"""Equal pictures and equal captions are one, whose vector lies in a file."""

from pathlib import Path

import numpy as np
import pytest

from stages.artifacts.kinds import Checkpoint
from stages.artifacts.manifest import Manifest, manifest_bytes, manifest_key
from stages.artifacts.records import ItemBalance, PartRecord
from stages.contract import Fork
from stages.evaluation.retrieval.looked_up import _Distinct, trained_for_retrieval
from stages.store.store import Store


def test_distinct_vectors_lie_in_a_file_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    kept = _Distinct(tmp_path / "vectors")
    assert kept.add([b"a", b"b", b"a"], np.arange(6, dtype=np.float32).reshape(3, 2)) == [0, 1, 0]
    assert kept.add([], np.zeros((0, 0), np.float32)) == []
    assert kept.add([b"b", b"c"], np.full((2, 2), 9, np.float32)) == [1, 2]
    assert kept.vectors().tolist() == [[0, 1], [2, 3], [9, 9]]


def fork(weight: float | None, begun_from: Fork | None = None) -> Fork:
    recipe = {} if weight is None else {"contrastive_weight": weight}
    return Fork(
        stage="tune_end_to_end", fingerprint="b" * 64, at_step=3, content="c", recipe=recipe, inputs={}, course=(),
        begun_from=begun_from,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("weight", "begins", "expected"),
    [
        (0.0, None, False),
        (0.5, None, True),
        (0.0, fork(0.5), True),
        (0.0, fork(0.0, fork(0.5)), True),
        (0.0, fork(None, fork(0.0)), False),
    ],
)
def test_what_a_fork_takes_over_counts_as_its_training(
    tmp_path: Path, weight: float, begins: Fork | None, *, expected: bool
) -> None:
    store, name = Store(tmp_path), "a" * 64
    manifest = Manifest(
        kind="Checkpoint", stage="tune_end_to_end", number=1, fingerprint=name, recipe={"contrastive_weight": weight},
        inputs={}, parts=(PartRecord(phase="p", part="0"),), items=ItemBalance(), content=name, versions={},
        provenance={} if begins is None else {"fork": begins.model_dump(mode="json")},
    )  # fmt: skip
    store.create(manifest_key("tune_end_to_end", name), manifest_bytes(manifest))
    assert trained_for_retrieval(Checkpoint(store, manifest)) is expected
