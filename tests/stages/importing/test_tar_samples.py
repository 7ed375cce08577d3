"""Members become samples as WebDataset groups them, also where they are apart, repeated or cut off."""

import io
import tarfile
from pathlib import Path

import pytest
import webdataset

from stages.download.reasons import Reason
from stages.download.spool import SpooledPicture
from stages.importing.intake import Intake
from stages.importing.reasons import ImportReason
from stages.importing.tar_members import tar_members
from stages.importing.tar_samples import TarContents, key_and_ending, read_samples
from tests.stages.importing.conftest import picture
from tests.stages.importing.test_tar_members import tar_of


def read(data: bytes, intake: Intake) -> TarContents:
    file = io.BytesIO(data)
    return read_samples(file, tar_members(file), intake)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001.jpg", ("0001", "jpg")),
        ("./a/b.c/0001.Seg.PNG", ("a/b.c/0001", "seg.png")),
        ("cat.photo.jpg", ("cat", "photo.jpg")),
        ("._0001.jpg", None),
        ("README", None),
        ("a/.hidden", None),
    ],
)
def test_a_name_is_split_at_the_first_dot_of_its_last_part(name: str, expected: tuple[str, str] | None) -> None:
    assert key_and_ending(name) == expected


def test_what_webdataset_writes_is_read(tmp_path: Path, intake: Intake) -> None:
    with webdataset.ShardWriter(str(tmp_path / "%03d.tar"), maxcount=100, verbose=0) as writer:
        for number in range(5):
            writer.write(
                {
                    "__key__": f"{number:05d}",
                    "png": picture("blue", encoding="PNG"),
                    "txt": f"number {number}",
                    "json": {"n": number},
                    "npy": b"never read",
                    "pyd": b"\x80\x04never unpickled",
                }
            )
    contents = read((tmp_path / "000.tar").read_bytes(), intake)
    assert contents.broken is None and [sample.key for sample in contents.samples] == [f"{n:05d}" for n in range(5)]
    assert all(isinstance(sample.pictures["png"], SpooledPicture) for sample in contents.samples)
    assert contents.samples[3].texts == {"txt": b"number 3", "json": b'{"n": 3}'}


def test_members_that_are_apart_are_one_sample(intake: Intake) -> None:
    contents = read(tar_of({"a.jpg": picture(), "b.jpg": picture(), "a.txt": b"A", "b.txt": b"B"}), intake)
    assert [(sample.key, list(sample.pictures), sample.texts) for sample in contents.samples] == [
        ("a", ["jpg"], {"txt": b"A"}),
        ("b", ["jpg"], {"txt": b"B"}),
    ]


def test_a_repeated_member_begins_a_new_sample_and_captions_are_never_mixed(intake: Intake) -> None:
    first = tar_of({"a.jpg": picture("red"), "a.txt": b"red", "b.jpg": picture("green")})
    contents = read(first + tar_of({"a.jpg": picture("blue"), "a.txt": b"blue"}), intake)
    assert [(sample.key, sample.texts.get("txt")) for sample in contents.samples] == [
        ("a", b"red"),
        ("b", None),
        ("a", b"blue"),
    ]


def test_the_picture_is_the_plain_one_or_the_only_one_or_the_one_that_is_named(intake: Intake) -> None:
    contents = read(
        tar_of(
            {
                "a.jpg": picture(),
                "a.seg.png": picture(encoding="PNG"),
                "b.photo.jpg": picture(),
                "c.0.jpg": picture(),
                "c.1.jpg": picture(),
                "d.txt": b"no picture",
            }
        ),
        intake,
    )
    assert [sample.picture_ending(None) for sample in contents.samples] == [
        "jpg",
        "photo.jpg",
        ImportReason.SEVERAL_PICTURES,
        ImportReason.IMAGE_MISSING,
    ]
    assert [sample.picture_ending("1.jpg") for sample in contents.samples][1:3] == [ImportReason.IMAGE_MISSING, "1.jpg"]


def test_pictures_are_judged_like_downloads(intake: Intake) -> None:
    contents = read(
        tar_of({"a.jpg": b"<html>", "b.jpg": picture()[:-20], "c.png": b"", "d.webp": b"%PDF-1.4 " + b" " * 100}),
        intake,
    )
    assert [next(iter(sample.pictures.values())) for sample in contents.samples] == [
        Reason.NOT_IMAGE,
        Reason.TRUNCATED,
        Reason.EMPTY_BODY,
        Reason.UNSUPPORTED_FORMAT,
    ]


def test_large_members_are_not_read(intake: Intake) -> None:
    intake.max_image_bytes = 100
    contents = read(tar_of({"a.jpg": b"x" * 101, "a.txt": b"y" * (1024 * 1024 + 1)}), intake)
    assert contents.samples[0].pictures["jpg"] is Reason.TOO_LARGE
    assert contents.samples[0].texts["txt"] is ImportReason.CAPTION_TOO_LARGE


def test_links_are_not_followed(intake: Intake) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    assert read(written.getvalue(), intake).samples[0].pictures == {"jpg": ImportReason.NOT_A_FILE}


def test_of_a_tar_that_is_cut_off_the_readable_part_is_kept_and_the_cut_is_named(intake: Intake) -> None:
    photo = picture(size=(200, 200))
    whole = tar_of({"a.jpg": photo, "a.txt": b"A", "b.jpg": photo, "b.txt": b"B"})
    second = whole.index(b"b.jpg") + 512
    contents = read(whole[: second + len(photo) // 2], intake)
    assert contents.broken is not None and contents.broken.reason is ImportReason.TRUNCATED_TAR
    assert isinstance(contents.samples[0].pictures["jpg"], SpooledPicture)
    assert contents.samples[1].pictures == {"jpg": ImportReason.TRUNCATED_TAR}
