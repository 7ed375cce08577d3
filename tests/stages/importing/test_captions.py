"""The text beside a picture is found in the plain text first, then in the JSON, or where the recipe says."""

import pytest

from stages.formats.sample_table import ItemReason
from stages.importing.captions import PairRule, caption_of, caption_of_name, url_of
from stages.importing.reasons import ImportReason


@pytest.mark.parametrize(
    ("texts", "wanted", "expected"),
    [
        ({"txt": b"plain", "json": b'{"caption": "other"}'}, None, b"plain"),
        ({"caption": b"plain"}, None, b"plain"),
        ({"json": b'{"caption": "of json", "text": "second"}'}, None, "of json"),
        ({"json": b'{"TEXT": "laion"}'}, None, "laion"),
        ({"json": b'"a bare string"'}, None, "a bare string"),
        ({"json": b'{"blip": "named"}', "txt": b"plain"}, "blip", "named"),
        ({"json": b'{"captions": {"blip": "deep"}}'}, "captions.blip", "deep"),
        ({"json": b'{"a.b": "flat"}'}, "a.b", "flat"),
        ({"blip.txt": b"member", "txt": b"plain"}, "blip.txt", b"member"),
        ({}, None, ImportReason.NO_CAPTION),
        ({"txt": b"plain"}, "blip", ImportReason.NO_CAPTION),
        ({"json": b'{"caption": null}'}, None, ImportReason.NO_CAPTION),
        ({"json": b"[1, 2]"}, None, ImportReason.NO_CAPTION),
        ({"json": b'{"caption": ["a", "b"]}'}, None, ImportReason.CAPTION_UNREADABLE),
        ({"json": b"{"}, None, ImportReason.CAPTION_UNREADABLE),
        ({"json": b"\xff"}, None, ImportReason.CAPTION_UNREADABLE),
        ({"json": b"[" * 100_000}, None, ImportReason.CAPTION_UNREADABLE),
        ({"json": ImportReason.CAPTION_TOO_LARGE}, None, ImportReason.CAPTION_TOO_LARGE),
    ],
)
def test_a_caption_is_found(
    texts: dict[str, bytes | ItemReason], wanted: str | None, expected: str | bytes | ItemReason
) -> None:
    assert caption_of(texts, wanted) == expected


def test_a_caption_may_be_the_name_of_the_picture_or_nothing() -> None:
    texts: dict[str, bytes | ItemReason] = {"txt": b"plain"}
    assert PairRule(captions="file_name").caption(texts, "a/grinning-face_2") == "grinning face 2"
    assert PairRule(captions="none").caption(texts, "a") == ""
    assert caption_of_name("emoji/grinning-face.64.png") == "grinning face"


def test_a_web_address_is_taken_from_the_json() -> None:
    assert url_of({"json": b'{"url": "https://a.example/1.jpg"}'}) == "https://a.example/1.jpg"
    assert url_of({"json": b'{"url": "no address"}'}) is url_of({"json": b"{"}) is url_of({"txt": b"x"}) is None
