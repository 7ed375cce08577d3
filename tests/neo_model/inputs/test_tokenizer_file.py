"""A tokenizer of a known family is read as it is; any other one is refused in words before the library sees it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from neo_model.inputs import tokenizer_file
from neo_model.inputs.conversation import ConversationError, encode_text, load_tokenizer
from neo_model.inputs.tokenizer_file import (
    KNOWN_PATTERNS,
    MAX_BLANK_RUN,
    TokenizerError,
    has_endless_blank,
    parse_tokenizer,
    read_tokenizer,
)
from tests.worlds.model_folders import tokenizer as sound_tokenizer

PLAIN: dict[str, Any] = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": None, "post_processor": None, "decoder": None,
    "model": {"type": "BPE", "vocab": {"a": 0, "!": 1}, "merges": []},
}  # fmt: skip


def split_by(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def read(document: Any) -> Tokenizer:
    return parse_tokenizer(json.dumps(document).encode())


@pytest.mark.parametrize("pattern", KNOWN_PATTERNS)
@pytest.mark.parametrize("piece", ["a", "1", " ", "\n", " \n", "!", "'", "'s", "\u0301", "\u00e9", "<|", "a1 !\n"])
def test_known_patterns_do_not_backtrack(pattern: str, piece: str) -> None:
    """A pattern that takes exponential time would end in a panic of the library, or run into the limit of all tests."""
    read({**PLAIN, "pre_tokenizer": split_by(pattern)}).encode(piece * (20_000 // len(piece)) + "!x \n")


@pytest.mark.parametrize(
    ("section", "value", "told"),
    [
        ("pre_tokenizer", split_by("(a+)+$"), r"regular expression '\(a\+\)\+\$', of no known family"),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [split_by("(")]}, "of no known family"),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "(.*)*x"}, "content": ""}, "of no known family"),
        ("normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 50}, "writes 'aaaa"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "has 'Precompiled'; known are BertN"),
        ("normalizer", [], r"normalizer of tokenizer.json is \[\]; it is null or an object with a type"),
        ("decoder", {"type": "\x1b[31m"}, r"has '\\x1b\[31m'; known are"),
        ("model", {"type": "Unigram", "vocab": []}, "of type 'Unigram'; known are BPE, WordLevel, WordPiece"),
        ("model", {"type": "BPE", "dropout": 0.5, "vocab": {}}, "has a dropout"),
        ("model", {"type": "BPE", "vocab": {"a": 2**40}}, "gives 'a' the id 1099511627776; ids are whole numbers"),
        ("model", {"type": "BPE", "vocab": {"a": True}}, "gives 'a' the id True"),
        ("model", {"type": "BPE", "vocab": [], "merges": []}, "vocab of tokenizer.json is no object"),
        ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}, "has 'a', which is no pair of pieces"),
        ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}, "cannot be loaded"),
        ("added_tokens", [{"id": 0, "content": ""}], "a token without content"),
        ("added_tokens", {"a": 0}, "is no list"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_name(section: str, value: Any, told: str) -> None:
    with pytest.raises(TokenizerError, match=told):
        read({**PLAIN, section: value})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "no JSON object"), (b"", "no JSON"), (b"\xff", "no JSON"), (b'{"a": NaN}', "has NaN"),
        (b"[" * 200_000, "no JSON"), (b'{"model": {"vocab": {"a": 0, "a": 1}}}', "the same name twice"),
        (b'{"normalizer": {"type": "Sequence", "a": ' + b"[" * 90 + b"]" * 90 + b"}}", "nested deeper than 24"),
        (b'{"model": {"type": "BPE", "vocab": {"a": ' + b"9" * 5_000 + b"}}}", "no JSON"),
    ],
)  # fmt: skip
def test_what_is_no_tokenizer_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(TokenizerError, match=told):
        parse_tokenizer(content)


def test_a_file_beyond_all_tokenizers_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(PLAIN))
    monkeypatch.setattr(tokenizer_file, "MAX_FILE_BYTES", 10)
    with pytest.raises(TokenizerError, match=r"has [0-9]+ bytes; a tokenizer has at most 10"):
        read_tokenizer(tmp_path / "tokenizer.json")


def test_rules_that_write_text_are_few() -> None:
    rule = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaa"}
    with pytest.raises(TokenizerError, match="5 of which write text"):
        read({**PLAIN, "normalizer": {"type": "Sequence", "normalizers": [rule] * 5}})
    assert len(read({**PLAIN, "normalizer": {"type": "Sequence", "normalizers": [rule] * 4}}).encode("a").ids) == 256


def test_how_a_file_would_pad_and_cut_is_left_out() -> None:
    padding = {
        "strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "a",
    }  # fmt: skip
    assert len(read({**PLAIN, "padding": padding}).encode("a!").ids) == 2


def test_a_sound_tokenizer_gives_the_same_ids() -> None:
    sound = sound_tokenizer()
    again = parse_tokenizer(sound.to_str(pretty=True).encode())
    again.encode_special_tokens = sound.encode_special_tokens
    text = "a red square, 3 blue\n  \u5317\u4eac <img> <|im_end|>"
    assert again.encode(text).ids == sound.encode(text).ids
    assert again.get_vocab(with_added_tokens=True) == sound.get_vocab(with_added_tokens=True)


def test_a_panic_of_the_library_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    panic = type("PanicException", (BaseException,), {})

    def from_str(text: str) -> None:
        raise panic("index out of bounds \x1b[31m")

    monkeypatch.setattr("tokenizers.Tokenizer", type("Broken", (), {"from_str": staticmethod(from_str)}))
    with pytest.raises(TokenizerError, match=r"cannot be loaded: 'index out of bounds \\x1b\[31m'"):
        read(PLAIN)


def test_a_run_of_blanks_that_patterns_give_up_on_is_no_text(tmp_path: Path) -> None:
    """The library panics on runs of some ten million blanks, with the patterns of every family."""
    sound_tokenizer().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert not has_endless_blank("a " * MAX_BLANK_RUN) and not has_endless_blank(" " * MAX_BLANK_RUN)
    with pytest.raises(ConversationError, match="a run of white space of more than 1,000,000 characters"):
        encode_text(tokenizer, "a" + " \n" * MAX_BLANK_RUN)
