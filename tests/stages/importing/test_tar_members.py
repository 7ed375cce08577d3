"""Tars of every dialect are read member by member, and a cut or a damaged header is noticed wherever it lies."""

import gzip
import io
import tarfile
from typing import BinaryIO

import pytest

from stages.importing.reasons import ImportReason
from stages.importing.tar_members import TarBrokenError, TarMember, read_member, tar_members

MEMBERS = {
    "plain.txt": b"a" * 700,
    "empty.txt": b"",
    "block.txt": b"b" * 512,
    "ordner/" + "x" * 150 + "/straße.txt": b"c" * 10,
    "last.txt": b"d" * 513,
}


def tar_of(members: dict[str, bytes], dialect: int = tarfile.PAX_FORMAT) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=dialect) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


def contents(file: BinaryIO) -> tuple[dict[str, bytes], TarBrokenError | None]:
    """What can be read of a tar, and how it broke off."""
    read = {}
    try:
        for member in tar_members(file):
            read[member.name] = read_member(file, member)
    except TarBrokenError as error:
        return read, error
    return read, None


@pytest.mark.parametrize("dialect", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_read_with_their_long_names(dialect: int) -> None:
    assert contents(io.BytesIO(tar_of(MEMBERS, dialect))) == (MEMBERS, None)


def test_a_tar_compressed_with_gzip_is_streamed() -> None:
    packed = gzip.compress(tar_of(MEMBERS))
    with gzip.open(io.BytesIO(packed)) as file:
        assert contents(file) == (MEMBERS, None)
    with gzip.open(io.BytesIO(packed[:-40])) as file:
        read, error = contents(file)
    assert error is not None and error.reason is ImportReason.TRUNCATED_TAR
    assert read.items() <= MEMBERS.items()


def test_a_size_that_ustar_cannot_hold_is_read_from_the_extended_header() -> None:
    info = tarfile.TarInfo("large.bin")
    info.size = 9 * 2**30
    head = info.tobuf(tarfile.PAX_FORMAT)
    (member,) = [next(tar_members(io.BytesIO(head)))]
    assert (member.name, member.size_bytes, member.offset) == ("large.bin", 9 * 2**30, len(head))
    assert next(tar_members(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT)))).size_bytes == 9 * 2**30


def test_links_are_members_without_a_file_and_folders_are_none() -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, kind in {"a.jpg": tarfile.SYMTYPE, "b": tarfile.DIRTYPE, "c.jpg": tarfile.LNKTYPE}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert [(member.name, member.is_file) for member in tar_members(io.BytesIO(written.getvalue()))] == [
        ("a.jpg", False),
        ("c.jpg", False),
    ]


def test_tars_that_were_appended_to_each_other_are_read_to_the_end() -> None:
    both = tar_of({"a.txt": b"1"}) + tar_of({"b.txt": b"2"})
    assert contents(io.BytesIO(both)) == ({"a.txt": b"1", "b.txt": b"2"}, None)


def test_a_cut_is_noticed_wherever_it_lies() -> None:
    """What is read is a prefix of the members, each of them whole; every cut before the end mark is named."""
    whole = tar_of(MEMBERS)
    end = len(whole.rstrip(b"\0"))
    end += -end % 512
    for cut in range(0, end, 100):
        read, error = contents(io.BytesIO(whole[:cut]))
        assert error is not None and error.reason is ImportReason.TRUNCATED_TAR, cut
        assert list(read.items()) == list(MEMBERS.items())[: len(read)]
    assert contents(io.BytesIO(whole[: end + 512])) == (MEMBERS, None)


def test_the_member_that_is_cut_is_named() -> None:
    _, error = contents(io.BytesIO(tar_of({"a.txt": b"1" * 600})[: 512 + 100]))
    assert error is not None and error.name == "a.txt"


def test_a_damaged_header_is_no_end() -> None:
    whole = bytearray(tar_of({"a.txt": b"1", "b.txt": b"2", "c.txt": b"3"}))
    whole[1024:1030] = b"\xff" * 6
    read, error = contents(io.BytesIO(bytes(whole)))
    assert read == {"a.txt": b"1"} and error is not None and error.reason is ImportReason.DAMAGED_TAR


def test_what_is_no_tar_at_all_is_damaged() -> None:
    _, error = contents(io.BytesIO(b"GIF89a" * 200))
    assert error is not None and error.reason is ImportReason.DAMAGED_TAR


def test_an_extended_header_that_is_too_large_or_senseless_is_damage() -> None:
    for content in (b"99999 path=x\n", b"x path=y\n", b"0 path=y\n", b"14 size=-1abc\n"):
        info = tarfile.TarInfo("pax")
        info.type, info.size = tarfile.XHDTYPE, len(content)
        data = info.tobuf(tarfile.USTAR_FORMAT) + content.ljust(512, b"\0") + tar_of({"a.txt": b"1"})
        _, error = contents(io.BytesIO(data))
        assert error is not None and error.reason is ImportReason.DAMAGED_TAR, content
    info.size = 2**33 - 1
    _, error = contents(io.BytesIO(info.tobuf(tarfile.USTAR_FORMAT)))
    assert error is not None and error.reason is ImportReason.DAMAGED_TAR


def test_a_stretch_of_a_tar_is_walked_from_header_to_header() -> None:
    file = io.BytesIO(tar_of(MEMBERS))
    members: list[TarMember] = list(tar_members(file))
    stretch = list(tar_members(file, members[1].header_offset, members[3].header_offset))
    assert stretch == members[1:3]
