"""The form of a source of videos follows from the names of its files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.contract import PinnedFile, PinnedSource, StageError
from stages.cutting.film_names import guess_video_form, stem_of, table_part, text_stems


def source(*paths: str, place: str = "") -> PinnedSource:
    files = tuple(PinnedFile(path=path, size_bytes=1, sha256="") for path in sorted(paths))
    return PinnedSource(name="mine", place=place, files=files)


@pytest.mark.parametrize(
    ("paths", "form"),
    [
        (("a.mp4", "b/c.webm", "b/c.txt", "README.md"), "folder"),
        (("a.mp4", "metadata.jsonl"), "table"),
        (("0.tar", "1.tar", "size.json"), "webdataset"),
        (("list.csv.gz",), "table"),
        (("urls.txt",), "table"),
        (("chat.json",), "table"),
    ],
)
def test_a_form_is_guessed(paths: tuple[str, ...], form: str) -> None:
    assert guess_video_form(source(*paths)) == form


def test_parquet_is_known_by_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": [b"film"]}), tmp_path / "held.parquet")
    pq.write_table(pa.table({"video": ["a.mp4"]}), tmp_path / "named.parquet")
    for name, form in (("held", "parquet"), ("named", "table")):
        path = f"{name}.parquet"
        file = PinnedFile(path=path, size_bytes=(tmp_path / path).stat().st_size, sha256="")
        assert guess_video_form(PinnedSource(name="mine", place=str(tmp_path), files=(file,))) == form


@pytest.mark.parametrize("paths", [("0.tar", "a.mp4"), ("0.tar", "list.csv"), ("picture.png", ".hidden.mp4")])
def test_what_may_be_two_things_or_none_is_asked_about(paths: tuple[str, ...]) -> None:
    with pytest.raises(StageError):
        guess_video_form(source(*paths))


def test_texts_beside_videos_are_no_tables() -> None:
    paths = ("a.mp4", "a.txt", "a.en.srt", "list.jsonl", "b.v1/c.mp4", "b.v1/c.json", "README.txt", "0.tar")
    assert [file.path for file in table_part(source(*paths)).files] == ["list.jsonl"]
    assert [file.path for file in table_part(source("list.txt", "chat.json")).files] == ["chat.json", "list.txt"]


def test_a_text_lies_beside_the_video_of_its_stem() -> None:
    assert stem_of("a.b/c.mp4") == "a.b/c"
    assert stem_of("a.b/c") == "a.b/c"
    assert text_stems("a.b/c.en.srt") == ["a.b/c.en", "a.b/c"]
    assert text_stems("a.b/c.srt") == ["a.b/c"]
