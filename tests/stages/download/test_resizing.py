"""Pictures are made smaller with the bytes that img2dataset's own resizer gives."""

import io
import os
from typing import get_args

import numpy as np
import pytest

from stages.download.resizing import ResizeMode, Resizing

SIZES = [(65, 64), (64, 65), (65, 65), (300, 1), (1, 300), (200, 131), (131, 200), (70, 66), (299, 300), (333, 97)]


@pytest.mark.parametrize("resize_px", [1, 17, 64])
@pytest.mark.parametrize("mode", [mode for mode in get_args(ResizeMode) if mode != "no"])
def test_img2dataset_makes_the_same_bytes(mode: ResizeMode, resize_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    from img2dataset.resizer import Resizer

    witness = Resizer(resize_px, mode, resize_only_if_bigger=True, encode_quality=90)
    resizing = Resizing(mode=mode, resize_px=resize_px, jpeg_quality=90)
    random = np.random.default_rng(0)
    for width_px, height_px in SIZES:
        pixels = random.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
        made, made_w, made_h, _, _, error = witness(
            io.BytesIO(b"P6 %d %d 255\n" % (width_px, height_px) + pixels.tobytes())
        )
        assert error is None
        assert resizing.to_jpeg(pixels, (width_px, height_px)) == (made, made_w, made_h), (width_px, height_px)


def test_what_a_process_prints_is_not_held_back() -> None:
    before = os.fstat(1), os.fstat(2)
    Resizing(mode="border", resize_px=8, jpeg_quality=90).to_jpeg(np.zeros((9, 16, 3), np.uint8), (16, 9))
    assert (os.fstat(1), os.fstat(2)) == before
