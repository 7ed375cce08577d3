"""Tars are read by others as they were written here, and their bytes depend on their members alone."""

import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.formats.tar import TarWriter


def write(path: Path, samples: dict[str, dict[str, bytes]]) -> dict[str, dict[str, int]]:
    with TarWriter(path) as tar:
        return {key: tar.add(key, members) for key, members in samples.items()}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=6))
def test_the_standard_library_reads_what_was_written_where_it_was_said_to_be(
    tmp_path_factory: pytest.TempPathFactory, images: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("tar") / "pairs.tar"
    samples = {f"{n:05d}": {"txt": b"a caption", "jpg": image} for n, image in enumerate(images)}
    offsets = write(path, samples)
    data = path.read_bytes()
    with tarfile.open(path, "r:") as tar:
        read = {member.name: (member, tar.extractfile(member).read()) for member in tar}
    assert list(read) == [f"{key}.{ending}" for key in samples for ending in ("jpg", "txt")]
    for key, members in samples.items():
        for ending, content in members.items():
            member, found = read[f"{key}.{ending}"]
            start = offsets[key][ending]
            assert found == content == data[start : start + len(content)]
            assert (member.mtime, member.uid, member.gid, member.mode, member.uname) == (0, 0, 0, 0o644, "")


def test_two_writers_give_the_same_bytes(tmp_path: Path) -> None:
    samples = {"a": {"txt": b"x", "jpg": b"y" * 700}, "b": {"jpg": b"", "json": b"{}"}}
    write(tmp_path / "one.tar", samples)
    write(tmp_path / "two.tar", {key: dict(reversed(members.items())) for key, members in samples.items()})
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize("key", ["a.b", "../x", "", "a/b", "x" * 81, "ä"])
def test_a_key_that_readers_would_mistake_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="tar key"):
        write(tmp_path / "pairs.tar", {key: {"jpg": b""}})


def test_samples_come_once_and_in_order(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "pairs.tar") as tar:
        tar.add("b", {"jpg": b""})
        for key in ("b", "a"):
            with pytest.raises(ValueError, match="come after 'b'"):
                tar.add(key, {"jpg": b""})


def test_an_ending_is_lower_case_and_short(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "pairs.tar") as tar, pytest.raises(ValueError, match="tar member"):
        tar.add("a", {"JPG": b""})
