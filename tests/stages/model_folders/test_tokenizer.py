"""A tokenizer comes in as it is, or is built from the files of a slow one, with the same ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from neo_model.inputs.conversation import load_tokenizer
from stages.contract import StageError
from stages.model_folders.folder import ForeignFolder
from stages.model_folders.tokenizer import find_tokenizer
from stages.origins.pinning import pin_source

TEXT = "Héllo   wörld, it's 2026!\n\n  <img> 北京 👍🏽 def f(x):\n\treturn x<|im_end|>"
ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@pytest.fixture
def fast(tmp_path: Path) -> Path:
    """A folder as transformers saves a tokenizer of Qwen3, in the fast form."""
    from tokenizers import models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator([TEXT] * 9, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    model = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=model["vocab"], merges=merges)
    tokenizer.add_tokens(ADDED, special_tokens=True)
    tokenizer.save_pretrained(tmp_path / "fast")
    return tmp_path / "fast"


def folder_at(root: Path) -> ForeignFolder:
    return ForeignFolder(pin_source("mine", [str(root)]))


def slow_of(fast: Path, slow: Path, *, settings: bool) -> Path:
    """The same tokenizer in the files that a slow one has."""
    content = json.loads((fast / "tokenizer.json").read_text())
    slow.mkdir()
    (slow / "vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in content["model"]["merges"])
    (slow / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    names = ("content", "special", "lstrip", "rstrip", "single_word", "normalized")
    if settings:
        added = {str(one["id"]): {name: one[name] for name in names} for one in content["added_tokens"]}
        (slow / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    else:
        (slow / "added_tokens.json").write_text(
            json.dumps({one["content"]: one["id"] for one in content["added_tokens"]})
        )
    return slow


def test_the_fast_form_is_taken_as_it_is(fast: Path, tmp_path: Path) -> None:
    found = find_tokenizer(folder_at(fast), tmp_path / "scratch", 400)
    assert found.content == (fast / "tokenizer.json").read_bytes()
    assert found.ids.image_context == load_tokenizer(fast).token_to_id("<IMG_CONTEXT>")


@pytest.mark.parametrize("settings", [True, False])
def test_the_slow_form_gives_the_same_tokens(settings: bool, fast: Path, tmp_path: Path) -> None:
    slow = slow_of(fast, tmp_path / "slow", settings=settings)
    built = Tokenizer.from_str(find_tokenizer(folder_at(slow), tmp_path / "scratch", 400).content.decode())
    original = Tokenizer.from_file(str(fast / "tokenizer.json"))
    assert built.get_vocab(with_added_tokens=True) == original.get_vocab(with_added_tokens=True)
    assert built.encode(TEXT).ids == original.encode(TEXT).ids
    assert built.decode(built.encode(TEXT).ids, skip_special_tokens=False) == TEXT


def test_ids_that_do_not_follow_are_named(fast: Path, tmp_path: Path) -> None:
    slow = slow_of(fast, tmp_path / "slow", settings=False)
    added = json.loads((slow / "added_tokens.json").read_text())
    (slow / "added_tokens.json").write_text(json.dumps(added | {"<|im_end|>": 350}))
    with pytest.raises(StageError, match=r"token '<\|im_end\|>' has id 350, but \d+ follows"):
        find_tokenizer(folder_at(slow), tmp_path / "scratch", 400)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{}", "model of tokenizer.json is of type None"), (b"not JSON", "tokenizer.json is no JSON")],
)
def test_a_tokenizer_that_cannot_be_read_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(StageError, match=message):
        find_tokenizer(folder_at(tmp_path), tmp_path / "scratch", 400)
