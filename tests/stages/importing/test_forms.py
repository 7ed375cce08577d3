"""The form of a source is guessed from the names of its files, or asked for in words."""

import pytest

from stages.contract import StageError
from stages.importing.forms import guess_form, is_hidden, is_picture, is_tar


@pytest.mark.parametrize(
    ("paths", "form"),
    [
        (["00000.tar", "00000.parquet", "00000_stats.json", "00001.tar", "00001.parquet"], "img2dataset"),
        (["00000/000000000.jpg", "00000/000000000.txt", "00000.parquet", "00000_stats.json"], "img2dataset"),
        (["00000.parquet", "00000_stats.json"], "img2dataset"),
        (["a/shard-000.tar", "a/shard-001.tar.gz", "README.md"], "webdataset"),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "README.md"], "parquet"),
        (["cats/1.jpg", "cats/1.txt", "metadata.jsonl"], "folder"),
        (["train/metadata.parquet", "train/1.PNG"], "folder"),
        ([".cache/x.tar", "a.webp", "__MACOSX/a.tar"], "folder"),
    ],
)
def test_a_form_is_guessed(paths: list[str], form: str) -> None:
    assert guess_form(paths) == form


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "none of the 0 files"),
        (["a.csv", "b.csv"], "none of the 2 files is a tar.*2 csv"),
        (["a.tar", "b.jpg", "c.jpg"], r"several forms \(1 for 'webdataset', 2 for 'folder'\).*form='webdataset'"),
        (["a.tar", "data.parquet"], "several forms"),
    ],
)
def test_a_source_of_no_form_or_several_is_asked_about(paths: list[str], message: str) -> None:
    with pytest.raises(StageError, match=message):
        guess_form(paths)


def test_files_are_told_by_their_endings() -> None:
    assert is_tar("a/B.TAR") and is_tar("x.tgz") and not is_tar("x.tar.zst")
    assert is_picture("a.JPEG") and not is_picture("jpg") and not is_picture("a.txt")
    assert is_hidden("a/.git/x.jpg") and not is_hidden("a/x.jpg")
