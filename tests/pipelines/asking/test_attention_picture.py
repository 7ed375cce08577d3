"""Words are made of tokens, heat lies where it belongs, and what is drawn says what it is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neo_model.live_chat import WatchedAnswer
from pipelines.asking.attention_picture import (
    AttendedPicture,
    attention_picture,
    check_drawing,
    draw_attention,
    heated,
    picture_share,
    word_spans,
)
from pipelines.exits import BadCommandError


def attended(name: str, size: tuple[int, int] = (64, 96), num_tokens: int = 3, seed: int = 0) -> AttendedPicture:
    height, width = size
    heat = np.random.default_rng(seed).random((num_tokens, height // 32, width // 32), np.float32) / 50
    return AttendedPicture(name=name, pixels=np.full((height, width, 3), 120, np.uint8), heat=heat)


def test_words_are_made_of_tokens() -> None:
    assert word_spans(["A", " r", "ed", "\n", "car"]) == [
        ("A", slice(0, 1)),
        ("red", slice(1, 3)),
        ("car", slice(3, 5)),
    ]
    assert word_spans(["", " "]) == [] and word_spans([]) == []


def test_the_share_of_a_picture_is_the_mean_over_the_tokens_of_a_word() -> None:
    picture = attended("a")
    expected = (picture.heat[1].sum() + picture.heat[2].sum()) / 2
    assert picture_share(picture, slice(1, 3)) == pytest.approx(float(expected), rel=1e-5)


def test_heat_lies_on_its_patch_and_the_picture_stays_visible() -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, ::2] = 255
    heat = np.zeros((2, 3), np.float32)
    heat[1, 2] = 1
    drawn = np.asarray(heated(pixels, heat, (96, 64)), int)
    warm, cold = drawn[32:, 64:], np.concatenate([drawn[:32].reshape(-1, 3), drawn[32:, :64].reshape(-1, 3)])
    assert warm.mean() > cold.mean() + 40 and len(np.unique(cold, axis=0)) == 2
    assert abs(warm[:, ::2].mean() - warm[:, 1::2].mean()) > 30, "the stripes can be seen below the heat"


def test_a_drawing_has_a_band_for_each_picture_and_a_panel_for_each_word() -> None:
    pieces = ["one", " two", " three"]
    one = attention_picture("What?", pieces, [attended("a.png")])
    two = attention_picture("What?", pieces, [attended("a.png"), attended("b.png", (320, 32), seed=1)])
    assert one == attention_picture("What?", pieces, [attended("a.png")]), "the same bytes"
    sizes = [Image.open(io.BytesIO(drawn)).size for drawn in (one, two)]
    assert sizes[0][0] == sizes[1][0] == 1320 and sizes[1][1] > sizes[0][1] + 400, "the second picture is tall"


def test_long_answers_are_cut_and_empty_ones_refused() -> None:
    pieces = [f" word{number}" for number in range(40)]
    drawn = attention_picture("What?", pieces, [attended("a.png", num_tokens=40)])
    assert Image.open(io.BytesIO(drawn)).size[1] < 800
    with pytest.raises(ValueError, match="no words"):
        attention_picture("What?", [""], [attended("a.png", num_tokens=1)])


def test_an_answer_without_words_is_no_error_and_draws_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    assert draw_attention(path, "What?", WatchedAnswer("", ("", " "), ()), []) is None
    assert not path.exists()


def test_what_cannot_be_written_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(BadCommandError, match=r"--show-attention /proc/x\.png cannot be written: "):
        check_drawing(Path("/proc/x.png"), has_question=True)
    new, old = tmp_path / "new.png", tmp_path / "old.png"
    old.write_bytes(b"drawn before")
    for path in (new, old):
        check_drawing(path, has_question=True)
    assert not new.exists() and old.read_bytes() == b"drawn before"
