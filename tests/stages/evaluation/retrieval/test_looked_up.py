"""Equal pictures and equal captions are one, whose vector lies in a file."""

from pathlib import Path

import numpy as np

from stages.evaluation.retrieval.looked_up import _Distinct


def test_distinct_vectors_lie_in_a_file_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    kept = _Distinct(tmp_path / "vectors")
    assert kept.add([b"a", b"b", b"a"], np.arange(6, dtype=np.float32).reshape(3, 2)) == [0, 1, 0]
    assert kept.add([], np.zeros((0, 0), np.float32)) == []
    assert kept.add([b"b", b"c"], np.full((2, 2), 9, np.float32)) == [1, 2]
    assert kept.vectors().tolist() == [[0, 1], [2, 3], [9, 9]]
