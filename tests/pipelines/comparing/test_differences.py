"""What differs between two runs, or two artifacts, from their heads."""

from pathlib import Path

import pytest

from pipelines.comparing.differences import compare
from pipelines.comparing.sides import Side, side_of
from stages.store.reader import StoreReader
from tests.pipelines.conftest import NeoSite
from tests.pipelines.garbage.stores import two_runs
from tests.pipelines.planning.test_large_chain import STAGE, asked, commit_chain  # noqa: F401


@pytest.fixture
def sides(site: NeoSite) -> tuple[NeoSite, Side, Side]:
    old, new = two_runs(site)
    return site, side_of(site.store, old), side_of(site.store, new)


def test_each_step_is_the_same_or_says_what_differs(sides: tuple[NeoSite, Side, Side]) -> None:
    site, old, new = sides
    found = compare(site.store, old, new)
    by_step = {one.step: one for one in found.steps}
    assert [one.step for one in found.of("same")] == ["pairs"]
    (change,) = by_step["kept"].recipe
    assert (change.field, change.before, change.after) == ("min_width_px", "13", "15")
    assert by_step["kept"].counts, "another width keeps others"
    assert by_step["mix"].reads_changed == ("kept",) and not by_step["mix"].recipe
    assert [str(one) for one in found.settings] == ['kept.min_width_px: (absent) -> "15"']


def test_an_artifact_is_compared_along_its_lineage(sides: tuple[NeoSite, Side, Side]) -> None:
    site, old, new = sides
    one, other = (side_of(site.store, side.steps[-1].fingerprint[:12]) for side in (old, new))
    assert one.kind == other.kind == "Rows"
    assert [step.relation for step in compare(site.store, one, other).steps] == ["same", *["differs"] * 3]
    assert all(step.relation == "same" for step in compare(site.store, one, one).steps)
    shorter = side_of(site.store, old.steps[0].fingerprint[:12])
    assert {step.relation for step in compare(site.store, one, shorter).steps} == {"same", "only_in_a"}
    assert {step.relation for step in compare(site.store, shorter, one).steps} == {"same", "only_in_b"}


def test_ten_times_the_parts_cost_the_same(asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    costs = []
    for num_parts in (200, 2000):
        store, request = commit_chain(tmp_path / str(num_parts), num_parts)
        asked.clear()
        last = f"{STAGE}/{request.steps[-1].fingerprint[:12]}"
        one, other = side_of(store, last), side_of(store, f"{STAGE}/{request.steps[0].fingerprint[:12]}")
        compare(store, one, other)
        costs.append((asked["requests"], asked["bytes"]))
    (few, few_bytes), (many, many_bytes) = costs
    assert few == many and many_bytes < few_bytes + 400
    assert StoreReader is not None
