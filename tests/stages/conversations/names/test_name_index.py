"""Pictures are found by name among many parts and ranges, each name once, and in few bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.contract import Part
from stages.conversations.names.name_index import (
    NAME_SLOT_BITS,
    IndexedRange,
    NameIndex,
    NameIndexFacts,
    NameRange,
    gather_names,
    name_digest,
    write_entries,
)
from stages.conversations.names.picture_names import PICTURE_LAYOUT, PictureNames
from stages.store.store import Store


class Draft:
    """A folder in which a part's files lie, and its facts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = {}
        folder.mkdir()

    def path(self, name: str) -> Path:
        return self.folder / name

    def fact(self, **facts: Any) -> None:
        self.facts |= facts


def listed(store: Store, part: str, names: list[str]) -> str:
    """The key of a `names.bin` with these names, whose sample ids say from which part and row they are."""
    entries = np.zeros(len(names), PICTURE_LAYOUT.dtype)
    for number, name in enumerate(names):
        entries[number] = (name_digest(name), f"{part}{number}".encode().rjust(16, b"_"), number, 7)
    path = Path(store.url) / f"{part}.bin"
    write_entries(entries, NAME_SLOT_BITS, 0, path)
    return path.name


@pytest.mark.parametrize("num_ranges", [1, 4, 1024])
@pytest.mark.parametrize("num_names", [0, 1, 5000])
def test_every_name_is_found_in_whichever_range_it_is(tmp_path: Path, num_ranges: int, num_names: int) -> None:
    store = Store(tmp_path)
    names = [f"http://a.test/{number}.jpg" for number in range(num_names)]
    keys = [listed(store, "b", names[:3000]), listed(store, "a", [*names[2990:], "twice", "twice"])]
    ranges = []
    size = 2**NAME_SLOT_BITS // num_ranges
    for number in range(num_ranges):
        draft = Draft(tmp_path / f"range{number}")
        task = NameRange(first_slot=number * size, until_slot=(number + 1) * size)
        gather_names(Part(name="p", task=task.dump()), draft, PICTURE_LAYOUT, store, keys)  # type: ignore[arg-type]
        ranges.append(IndexedRange(f"range{number}/pictures.bin", NameIndexFacts(**draft.facts).num_bits))
    found = PictureNames(NameIndex(store, PICTURE_LAYOUT, tuple(ranges))).find({*names, "absent", "twice"})
    assert found.keys() == {*names, "twice"}
    assert found["twice"].sample_id.lstrip(b"_") == f"a{len(names[2990:])}".encode()
    for number, name in enumerate(names[:2995]):
        assert found[name].sample_id.lstrip(b"_") == f"b{number}".encode()
        assert (found[name].width_px, found[name].height_px) == (number, 7)


def test_one_name_is_found_by_little_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    draft = Draft(tmp_path / "all")
    key = listed(store, "a", [str(number) for number in range(40_000)])
    whole = NameRange(first_slot=0, until_slot=2**NAME_SLOT_BITS)
    gather_names(Part(name="p", task=whole.dump()), draft, PICTURE_LAYOUT, store, [key])  # type: ignore[arg-type]
    one = IndexedRange("all/pictures.bin", NameIndexFacts(**draft.facts).num_bits)
    sizes: list[int] = []

    read_range = Store.read_range

    def counted(store: Store, key: str, offset: int, size_bytes: int) -> bytes:
        sizes.append(size_bytes)
        return read_range(store, key, offset, size_bytes)

    monkeypatch.setattr(Store, "read_range", counted)
    assert PictureNames(NameIndex(store, PICTURE_LAYOUT, (one,))).find(["777"]).keys() == {"777"}
    assert sum(sizes) < 100_000
