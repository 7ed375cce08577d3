"""Pictures of a request are opened within limits, which hold before a pixel is decoded."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from neo_model.inputs import pictures
from pipelines.serving.chat_request import ChatRequest
from pipelines.serving.errors import ProtocolError
from pipelines.serving.messages import read_messages
from pipelines.serving.prompts import PreparedRequest, RequestLimits, prepare
from tests.pipelines.serving.conftest import Loaded
from tests.pipelines.serving.served_models import data_uri, picture_part, user

LIMITS = RequestLimits(max_tokens=200, max_new_tokens=50, max_pictures=3, max_body_bytes=10**6, max_cache_tokens=300)
RED = data_uri((200, 0, 0), (400, 300))


def prepared(talker: Loaded, *parts: Any, **options: Any) -> PreparedRequest:
    model, tokenizer = talker
    request = ChatRequest(model="m", messages=read_messages([user(*parts)]), **options)
    return prepare(request, tokenizer, model.config, LIMITS)


def refusal(talker: Loaded, *parts: Any, **options: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        prepared(talker, *parts, **options)
    assert caught.value.status == 400
    return caught.value


def test_pictures_share_pixels_as_in_training(talker: Loaded) -> None:
    """The model of this test takes 1,024 to 8,192 pixels: 8 tokens for one picture or for each of two, then less."""
    sizes = [
        [height * width // 4 for height, width in prepared(talker, *[picture_part(RED)] * number, "?").prompt.grids]
        for number in (1, 2, 3)
    ]
    assert [len(one) for one in sizes] == [1, 2, 3]
    assert sizes[0] == sizes[1][:1] and max(sizes[0]) <= 8 and max(sizes[2]) <= 5


def test_an_answer_has_what_is_left_or_what_is_asked_for(talker: Loaded) -> None:
    assert prepared(talker, "Hello").max_new_tokens == 50
    assert prepared(talker, "Hello", max_new_tokens=7).max_new_tokens == 7
    long = prepared(talker, "x" * 170)
    assert len(long.prompt.token_ids) + long.max_new_tokens == 200
    assert "51: an answer has at most 50" in str(refusal(talker, "Hello", max_new_tokens=51))


def test_what_is_too_long_is_refused_before_a_pixel_is_decoded(talker: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(pictures, "open_pixels", decode)
    for error in (
        refusal(talker, picture_part(RED), "x" * 200),
        refusal(talker, picture_part(RED), "x" * 200 * 129),
        refusal(talker, picture_part(RED), "x" * 150, max_new_tokens=50),
    ):
        assert error.code == "context_length_exceeded" and "at most 200 tokens in all" in str(error)
    assert "4 pictures: at most 3" in str(refusal(talker, *[picture_part(RED)] * 4, "?"))
    several = refusal(talker, "x" * 100, num_answers=8)
    assert several.param == "n" and "lower n or max_tokens" in str(several)


def bomb() -> str:
    """A header that states 100,000 x 100,000 pixels."""
    encoded = io.BytesIO()
    Image.new("L", (8, 8)).save(encoded, "PNG")
    data = bytearray(encoded.getvalue())
    data[16:24] = (100_000).to_bytes(4) * 2
    return f"data:image/png;base64,{base64.b64encode(bytes(data)).decode()}"


WRONG = {
    "https://example.org/a.png": ("invalid_image_url", "this server opens no addresses"),
    "file:///etc/passwd": ("invalid_image_url", "this server opens no addresses"),
    "data:image/png,abc": ("invalid_image_url", "is not in base64"),
    "data:image/png;base64,a*b": ("invalid_base64_image", "no base64"),
    "data:image/png;base64,": ("image_parse_error", "not_image"),
    "data:image/svg+xml;base64,PHN2Zz4=": ("image_parse_error", "not_image"),
    RED[:302]: ("image_parse_error", "cannot be read"),
    bomb(): ("image_parse_error", "cannot be read"),
    data_uri((0, 0, 0), (2000, 2)): ("image_parse_error", "too_elongated"),
}


@pytest.mark.parametrize("url", WRONG, ids=lambda url: url[:30])
def test_what_is_no_picture_is_refused_in_words(talker: Loaded, url: str) -> None:
    code, words = WRONG[url]
    error = refusal(talker, "Look:", picture_part(url))
    assert (error.code, error.param) == (code, "messages[0].content[1].image_url.url")
    assert words in str(error) and len(str(error)) < 300
