"""The external sort: every record comes out once, in order, however many buckets there are."""

from pathlib import Path

import numpy as np
import pytest

from stages.formats import external_sort
from stages.formats.external_sort import Buckets, order_of

FIELDS = [("key", "<u4"), ("tie", "<u4")]


@pytest.mark.parametrize("records_per_bucket", [7, 100, 10_000])
def test_records_come_out_sorted_whatever_the_buckets(
    records_per_bucket: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_sort, "RECORDS_PER_BUCKET", records_per_bucket)
    records = np.zeros(1000, FIELDS)
    records["key"] = np.random.default_rng(0).integers(0, 300, 1000)
    records["tie"] = np.arange(1000)[::-1]
    with Buckets(tmp_path / "b", FIELDS, num_keys=300, num_records=1000) as buckets:
        for piece in np.split(records, [400, 900]):
            buckets.add(piece, piece["key"])
        read = np.concatenate([bucket.take(order_of(bucket["key"], bucket["tie"])) for bucket in buckets.drain()])
    assert read.tolist() == sorted(records.tolist())
    assert list((tmp_path / "b").iterdir()) == []


def test_equal_keys_are_ordered_by_the_others() -> None:
    first, second = np.array([2, 1, 2, 1], np.uint64), np.array([1, 9, 0, 8])
    assert order_of(first, second).tolist() == [3, 1, 2, 0]
