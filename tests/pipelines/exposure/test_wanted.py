"""Sets of sample ids, as sorted arrays: their algebra is that of sets, and ids that end in zeros are whole ids."""

import random

import numpy as np
import pyarrow as pa
import pytest

from pipelines.exposure.wanted import ANY, Wanted, ids_of, joined, places_in

CHANCE = random.Random(7)
IDS = [CHANCE.randbytes(14) + bytes(2) if number % 2 else CHANCE.randbytes(16) for number in range(40)]


def in_full(wanted: Wanted) -> set[bytes]:
    assert wanted.ids is not None
    return {one.tobytes() for one in wanted.ids.view("V16")}


def test_they_are_joined_and_asked_as_sets_are() -> None:
    one, other = Wanted.of(IDS[:20]), Wanted.of(IDS[10:30])
    assert in_full(one | other) == set(IDS[:30])
    assert (one | Wanted()).is_every and (Wanted() | one).is_every and Wanted()
    assert not Wanted.of([]) and in_full(Wanted.of([]) | one) == set(IDS[:20])
    asked = ids_of(pa.array(IDS, pa.binary(16)))
    assert one.holds(asked).tolist() == [sample in IDS[:20] for sample in IDS]
    assert Wanted().holds(asked).all() and not Wanted.of([]).holds(asked).any()


def test_sources_are_joined_apart_and_empty_ones_are_left_out() -> None:
    found = joined([{"pairs": Wanted.of(IDS[:2])}, {"pairs": Wanted.of(IDS[1:3]), ANY: Wanted.of([])}])
    assert {source: in_full(wanted) for source, wanted in found.items()} == {"pairs": set(IDS[:3])}


def test_ids_are_read_from_slices_and_from_columns_of_any_binary() -> None:
    sliced = pa.chunked_array([pa.array(IDS[:5], pa.binary(16)).slice(2), pa.array(IDS[5:7], pa.binary(16)).slice(1)])
    assert [one.tobytes() for one in ids_of(sliced).view("V16")] == [*IDS[2:5], IDS[6]]
    assert [one.tobytes() for one in ids_of(pa.array(IDS, pa.binary())).view("V16")] == IDS
    assert len(ids_of(pa.chunked_array([], pa.binary(16)))) == 0
    with pytest.raises(ValueError, match="1 rows have no sample id"):
        ids_of(pa.array([IDS[0], None], pa.binary(16)))


def test_places_are_those_of_a_sorted_list() -> None:
    ids = Wanted.of(IDS[:20]).ids
    assert ids is not None
    wanted = np.array(IDS, ids.dtype)
    assert [ids[place] if place >= 0 else None for place in places_in(ids, wanted)] == [
        one if sample in IDS[:20] else None for one, sample in zip(wanted, IDS, strict=True)
    ]
    assert places_in(ids[:0], wanted).tolist() == [-1] * 40


@pytest.mark.parametrize("wrong", [IDS[0].hex().encode(), b"", IDS[0][:15]])
def test_an_id_of_another_length_is_refused_and_never_cut(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=f"it has {len(wrong)} bytes, not 16"):
        Wanted.of([IDS[1], wrong])
