"""A header says what a file holds, and a file that is not what its header says is noticed without reading it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neo_model.weights.headers import HeaderError, read_header


@pytest.fixture
def written(tmp_path: Path) -> Path:
    tensors = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.ones(5, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    return tmp_path / "model.safetensors"


def header_of(content: bytes) -> dict:
    return read_header(io.BytesIO(content), len(content), "model.safetensors")


def test_the_bytes_of_a_tensor_lie_where_the_header_says(written: Path) -> None:
    entries = header_of(written.read_bytes())
    assert {name: (entry.dtype, entry.shape) for name, entry in entries.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("BF16", (5,)),
    }
    content, tensors = written.read_bytes(), load_file(written)
    for name, entry in entries.items():
        assert content[entry.begin : entry.end] == tensors[name].view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("num_bytes", [0, 4, 9, 60, -1])
def test_a_file_that_is_cut_off_is_named(written: Path, num_bytes: int) -> None:
    with pytest.raises(HeaderError, match=r"model\.safetensors .*cut off"):
        header_of(written.read_bytes()[:num_bytes])


def test_bytes_after_the_last_tensor_are_named(written: Path) -> None:
    with pytest.raises(HeaderError, match="longer than its header says"):
        header_of(written.read_bytes() + b"more")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"not JSON at all, but some text", "header cannot be read"),
        (b'["a list"]', "header cannot be read"),
        (json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}).encode(), "header cannot be read"),
        (json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}).encode(), "8 bytes, in 4 bytes"),
    ],
)
def test_what_is_no_header_is_named(header: bytes, message: str) -> None:
    with pytest.raises(HeaderError, match=message):
        header_of(len(header).to_bytes(8, "little") + header)


def test_a_pickle_is_no_safetensors_file() -> None:
    with pytest.raises(HeaderError, match="no safetensors file"):
        header_of(b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01" * 10)
