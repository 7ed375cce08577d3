"""Which words are files, and which of them can be opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.asking.media import FilmFile, PictureFile, files_and_question, open_medium
from pipelines.exits import BadCommandError, RefusedError
from stages.video.encoding import encode_film
from stages.video.reader import VideoReader


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    (tmp_path / "What now?").touch()
    return tmp_path


def test_the_last_word_is_the_question_unless_it_names_a_file(folder: Path) -> None:
    assert files_and_question([]) == ([], None)
    assert files_and_question(["a.png"]) == ([Path("a.png")], None)
    assert files_and_question(["a.png", "What is it?"]) == ([Path("a.png")], "What is it?")
    assert files_and_question(["Say it."]) == ([], "Say it.")
    assert files_and_question(["a.png", "What now?"]) == ([Path("a.png"), Path("What now?")], None)
    assert files_and_question(["a.png", "Is b.png alike a.png"]) == ([Path("a.png")], "Is b.png alike a.png")
    assert files_and_question(["x" * 10_000])[1] == "x" * 10_000


@pytest.mark.parametrize("words", [["b.png", "What is it?"], ["a.png", "b.MP4"], ["a.png", "no such/b.mkv"], ["."]])
def test_a_word_that_is_meant_as_a_file_must_be_one(folder: Path, words: list[str]) -> None:
    with pytest.raises(BadCommandError, match=r"is no file|is a folder"):
        files_and_question(words)


def test_files_are_known_by_their_content(tmp_path: Path) -> None:
    film, picture = tmp_path / "film.jpg", tmp_path / "picture.mp4"
    film.write_bytes(encode_film([np.full((64, 96, 3), 99, np.uint8)] * 5, [0.0, 0.1, 0.2, 0.3, 0.4]))
    Image.new("RGB", (30, 20)).save(picture, "PNG")
    with VideoReader() as reader:
        opened = open_medium(film, reader)
        assert isinstance(opened, FilmFile)
        assert (opened.facts.width_px, opened.facts.num_frames) == (96, 5)
        shown = open_medium(picture, reader)
        assert isinstance(shown, PictureFile)
        assert shown.pixels.shape == (20, 30, 3)
        picture.write_bytes(picture.read_bytes()[:50])
        with pytest.raises(RefusedError, match=r"picture\.mp4 is no picture that can be read: truncated"):
            open_medium(picture, reader)
