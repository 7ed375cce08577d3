"""A slice of a folder: captions from tables or texts, what is missing, and paths that lead outside."""

import io
from pathlib import Path
from typing import BinaryIO

import pytest

from stages.contract import PinnedFile, StageError
from stages.download.spool import SpooledPicture
from stages.importing.captions import PairRule
from stages.importing.intake import Intake
from stages.importing.parts import PathRange, import_parts
from stages.importing.picture_folder import FolderSlice, folder_pairs
from stages.importing.reasons import ImportReason
from tests.stages.importing.conftest import picture


class Folder:
    """Files in memory, and which of them were opened."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.opened: list[str] = []

    @property
    def pinned(self) -> list[PinnedFile]:
        return [
            PinnedFile(path=path, size_bytes=len(data), sha256="0" * 64) for path, data in sorted(self.files.items())
        ]

    def open(self, file: PinnedFile) -> BinaryIO:
        self.opened.append(file.path)
        return io.BytesIO(self.files[file.path])

    def ends(
        self, intake: Intake, num_pairs_per_part: int = 100, rule: PairRule | None = None
    ) -> list[tuple[str, object]]:
        """Path of each pair, and its caption or the reason why it has no picture, over all slices."""
        ends: list[tuple[str, object]] = []
        for part in import_parts("folder", self.pinned, {}, num_pairs_per_part):
            task = PathRange.model_validate(part.task["folder"])
            one = FolderSlice(
                pictures=task.pictures, texts=task.texts, tables=task.tables, after=task.after, until=task.until
            )
            pairs, _ = folder_pairs(one, self.open, rule or PairRule(captions="beside"), intake)
            ends += [(p.path, p.caption if isinstance(p.outcome, SpooledPicture) else str(p.outcome)) for p in pairs]
        return ends


@pytest.mark.parametrize("num_pairs_per_part", [1, 2, 100])
def test_every_picture_row_and_text_ends_once(intake: Intake, num_pairs_per_part: int) -> None:
    folder = Folder(
        {
            "train/a.jpg": picture(),
            "train/deep/b.jpg": picture(),
            "train/c.jpg": picture(),
            "train/metadata.jsonl": b'{"file_name": "a.jpg", "text": "A"}\n'
            b'{"file_name": "./deep//b.jpg", "text": "B"}\n'
            b'{"file_name": "../../etc/passwd", "text": "x"}\n{"file_name": "/etc/passwd", "text": "y"}\n'
            b'{"file_name": "gone.jpg", "text": "z"}\n{"file_name": "a.jpg", "text": "A again"}\nnot json\n'
            b'{"file_name": "C:\\\\x.jpg", "text": "w"}\n{"text": "nameless"}\n',
            "plain/d.jpg": picture(),
            "plain/d.txt": b"D",
            "plain/alone.txt": b"no picture",
            ".hidden/e.jpg": picture(),
        }
    )
    assert sorted(map(str, folder.ends(intake, num_pairs_per_part))) == sorted(
        map(
            str,
            [
                ("plain/alone", "image_missing"),
                ("plain/d.jpg", b"D"),
                ("train/../../etc/passwd", "path_outside"),
                ("train//etc/passwd", "path_outside"),
                ("train/C:/x.jpg", "path_outside"),
                ("train/a.jpg", "A"),
                ("train/a.jpg", "A again"),
                ("train/c.jpg", ImportReason.NO_CAPTION),
                ("train/deep/b.jpg", "B"),
                ("train/gone.jpg", "image_missing"),
                ("train/metadata.jsonl#6", "image_missing"),
                ("train/metadata.jsonl#8", "image_missing"),
            ],
        )
    )
    assert not any("etc" in path for path in folder.opened)


def test_the_table_of_the_innermost_folder_counts(intake: Intake) -> None:
    folder = Folder(
        {
            "a/1.jpg": picture(),
            "metadata.csv": b"file_name,caption\na/1.jpg,outer\n",
            "a/metadata.csv": b"file_name,caption\n1.jpg,inner\n",
        }
    )
    assert folder.ends(intake) == [("a/1.jpg", "inner")]


def test_letters_in_two_spellings_are_one_name(intake: Intake) -> None:
    folder = Folder({"cafe\u0301.jpg": picture(), "metadata.csv": "file_name,caption\ncaf\u00e9.jpg,C\n".encode()})
    assert folder.ends(intake) == [("caf\u00e9.jpg", "C")]


def test_a_text_may_be_json_or_a_named_ending(intake: Intake) -> None:
    folder = Folder({"a.b.jpg": picture(), "a.b.json": b'{"blip": "of json"}'})
    assert folder.ends(intake, rule=PairRule(captions="beside", columns={"caption": "blip"})) == [
        ("a.b.jpg", "of json")
    ]


def test_a_table_without_names_is_refused_in_words(intake: Intake) -> None:
    folder = Folder({"1.jpg": picture(), "metadata.csv": b"image,caption\n1.jpg,C\n"})
    with pytest.raises(StageError, match=r"no column 'file_name'.*'image', 'caption'.*columns=\{'image': 'image'\}"):
        folder.ends(intake)
    assert folder.ends(intake, rule=PairRule(captions="beside", columns={"image": "image"})) == [("1.jpg", "C")]


def test_a_text_that_is_too_large_is_not_read(intake: Intake, tmp_path: Path) -> None:
    folder = Folder({"1.jpg": picture(), "1.txt": b"x" * (1024 * 1024 + 1)})
    assert folder.ends(intake) == [("1.jpg", ImportReason.CAPTION_TOO_LARGE)] and "1.txt" not in folder.opened
