"""Packed rows that are damaged: an audit names the part, and exactly that is made again, with the same bytes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.local import make
from pipelines.lineage.audit import audit
from pipelines.lineage.graph import lineage_of
from pipelines.lineage.repair import repair
from stages.artifacts.kinds import Rows
from stages.artifacts.manifest import Manifest
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.store import Store
from tests.spoil import cut, flip
from tests.worlds.mixture_world import KEPT, LLM, TEXTS, run, spec_of

MIX = mix_samples.bind("mix", MixRecipe(shares={"pairs": 2, "text": 1}), {"pairs": KEPT, "text": TEXTS})
RECIPE = PackRowsRecipe(max_row_tokens=512, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
STEP = pack_rows.bind("rows", RECIPE, MIX, LLM)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    yield make(STEP, Store(tmp_path_factory.mktemp("store")))


def findings_in(rows: Rows) -> tuple:
    lineage = lineage_of(rows.store, rows.manifest.stage, rows.fingerprint)
    return lineage, audit(rows.store, lineage, lambda *_: None).findings


@pytest.mark.parametrize(
    ("phase", "part", "name", "damage"),
    [
        ("write", 1, "rows.tar", flip),
        ("write", 1, "rows.tar", cut),
        ("write", 1, "rows.tar", Path.unlink),
        ("write", 0, "index.parquet", flip),
        ("plan", 0, "planned.bin", flip),
        ("plan", 0, "sample_rows.bin", Path.unlink),
        ("measure", 1, "documents.bin", cut),
    ],
)
def test_a_damaged_part_of_rows_is_made_again_with_the_same_bytes(
    rows: Rows, phase: str, part: int, name: str, damage: Callable[[Path], None]
) -> None:
    record = rows.phase(phase)[part]
    damage(rows.store.folder / record.file(name).key)
    lineage, findings = findings_in(rows)
    assert {finding.part for finding in findings} == {f"{phase}/{record.part}"}
    assert repair(rows.store, lineage, findings).moved
    again = run(spec_of(STEP, rows.store, "run-2"))
    assert isinstance(again, Manifest) and again.content == rows.manifest.content
    made = [(one.phase, one.part) for one in again.parts if one not in rows.parts]
    assert made == [(phase, record.part)]
    assert not findings_in(rows)[1]
    rows.manifest = again
