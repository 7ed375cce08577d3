"""A row as members of a tar: back as it went in, and nothing else accepted."""

import io
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.formats.packed_rows.row_format import DocumentFacts, RowLayoutError, parse_row, row_key, row_members
from stages.formats.tar import TarWriter

JPEG, PNG, WEBP = b"\xff\xd8\xff one", b"\x89PNG two", b"RIFFsizeWEBP three"


def documents(*num_tokens_and_pictures: tuple[int, int]) -> list[DocumentFacts]:
    return [
        DocumentFacts(
            sample_id=bytes([number]) * 16, source="pairs", repetition=0, piece=0, num_tokens=tokens, num_pictures=num
        )
        for number, (tokens, num) in enumerate(num_tokens_and_pictures)
    ]


def members(images: list[bytes] | None = None) -> dict[str, bytes]:
    images = [JPEG, PNG, WEBP] if images is None else images
    return row_members(
        np.arange(10, dtype=np.int32),
        np.arange(10) % 2 == 0,
        documents((6, len(images)), (4, 0)),
        [(2, 2 * number + 2) for number in range(len(images))],
        images,
    )


def tarred(path: Path, members: dict[str, bytes], row: int = 7) -> bytes:
    path.unlink(missing_ok=True)
    with TarWriter(path) as tar:
        tar.add(row_key(row), members)
        size_bytes = tar.size_bytes
    return path.read_bytes()[:size_bytes]


def test_a_row_comes_back_as_it_went_in(tmp_path: Path) -> None:
    row = parse_row(7, tarred(tmp_path / "a.tar", members()))
    assert row.number == 7
    assert row.token_ids.dtype == np.int32 and row.token_ids.tolist() == list(range(10))
    assert row.supervised.dtype == np.bool_ and row.supervised.tolist() == [True, False] * 5
    assert row.document_offsets.tolist() == [0, 6, 10]
    assert row.image_grids.tolist() == [[2, 2], [2, 4], [2, 6]]
    assert row.images == [JPEG, PNG, WEBP]
    assert all(image.readonly for image in row.images) and not row.token_ids.flags.writeable
    assert row.sample_ids == [bytes(16), b"\1" * 16]
    assert row.sources == ["pairs", "pairs"]


def test_members_are_named_by_what_their_bytes_are() -> None:
    wanted = ["00000.jpg", "00001.png", "00002.webp", "00003.bin", "json", "mask.npy", "tokens.npy"]
    assert sorted(members([JPEG, PNG, WEBP, b"?"])) == wanted


@pytest.mark.parametrize("length", [1, 10, 16_384, 999_999])
def test_arrays_are_what_numpy_itself_writes(length: int) -> None:
    ids, marks = np.arange(length, dtype=np.int32), np.ones(length, bool)
    written = row_members(ids, marks, documents((length, 0)), [], [])
    assert written["tokens.npy"] == npy(ids)
    assert written["mask.npy"] == npy(marks)


def test_a_row_of_text_alone_has_no_picture(tmp_path: Path) -> None:
    row = parse_row(7, tarred(tmp_path / "a.tar", members([])))
    assert row.images == [] and row.image_grids.shape == (0, 2)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"payload.pkl": b"\x80\x04."}, "'000000007.payload.pkl' at byte .* is no member of row"),
        ({"tokens.npy": npy(np.array([{"a": 1}] * 10, object))}, r"are no array <i4 of 10"),
        ({"tokens.npy": npy(np.arange(10))}, r"'descr': '<i8'.* are no array <i4 of 10"),
        ({"tokens.npy": npy(np.zeros((5, 2), np.int32))}, "are no array <i4 of 10"),
        ({"mask.npy": npy(np.zeros(9, bool))}, r"are no array \|b1 of 10"),
        ({"tokens.npy": members()["tokens.npy"] + b"more"}, "are no array <i4 of 10"),
        ({"00003.jpg": JPEG}, "lists 3 pictures and holds 4, with sizes of 3"),
        ({"tokens.npy": None}, "row 7 has no member 'tokens.npy'"),
    ],
)
def test_what_is_not_a_row_is_refused_by_name(tmp_path: Path, changed: dict[str, bytes | None], message: str) -> None:
    mixed = {ending: data for ending, data in (members() | changed).items() if data is not None}
    with pytest.raises(RowLayoutError, match=message):
        parse_row(7, tarred(tmp_path / "a.tar", mixed))


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    data = tarred(tmp_path / "a.tar", members([]))
    with pytest.raises(RowLayoutError, match="'000000007.json' at byte .* comes twice"):
        parse_row(7, data + data)


def test_another_row_or_a_cut_one_is_refused(tmp_path: Path) -> None:
    data = tarred(tmp_path / "a.tar", members())
    with pytest.raises(RowLayoutError, match="'000000007.00000.jpg' at byte 0 is no member of row 000000008"):
        parse_row(8, data)
    with pytest.raises(RowLayoutError, match="row 7 is cut: .* bytes are here, its members need"):
        parse_row(7, data[:-512])


@pytest.mark.parametrize("size", [b"-0000001000", b" 0000001000", b"0000_001000", b"00000000009", b"77777777777"])
def test_a_size_that_is_none_is_refused_and_leads_nowhere(tmp_path: Path, size: bytes) -> None:
    data = bytearray(tarred(tmp_path / "a.tar", members()))
    data[512 + 512 + 124 : 512 + 512 + 135] = size  # of the second picture: a negative one would lead back to the first
    with pytest.raises(RowLayoutError):
        parse_row(7, bytes(data))


def test_pictures_come_in_their_order_and_none_is_missing(tmp_path: Path) -> None:
    gap = {("00002.png" if name == "00001.png" else name): data for name, data in members([JPEG, PNG]).items()}
    with pytest.raises(RowLayoutError, match=r"'000000007\.00002\.png' at byte .* is no member"):
        parse_row(7, tarred(tmp_path / "a.tar", gap))


@given(junk=st.binary(max_size=2000))
def test_any_bytes_are_a_row_or_a_clear_refusal(junk: bytes) -> None:
    with pytest.raises(RowLayoutError):
        parse_row(0, junk)


@given(cut=st.integers(0, 3000), value=st.integers(0, 255))
def test_a_changed_byte_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, cut, value) -> None:
    data = bytearray(tarred(tmp_path_factory.getbasetemp() / "b.tar", members()))
    data[cut % len(data)] = value
    with suppress(RowLayoutError):
        parse_row(7, bytes(data))


def test_the_facts_are_plain_json_that_anybody_can_read() -> None:
    facts = json.loads(members()["json"])
    assert facts["documents"][0] == {
        "sample_id": "00" * 16, "source": "pairs", "repetition": 0, "piece": 0, "num_tokens": 6, "num_pictures": 3
    }  # fmt: skip
    assert facts["image_grids"] == [[2, 2], [2, 4], [2, 6]]
