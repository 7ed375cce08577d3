"""From the JSON of a request to what is asked for: every field, and an error that names the wrong one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from neo_model.sampling import Sampling
from pipelines.serving.chat_request import ChatRequest, read_request
from pipelines.serving.errors import ProtocolError

HELLO = [{"role": "user", "content": "Hello"}]


def read(**fields: Any) -> ChatRequest:
    return read_request(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


def test_defaults_are_one_greedy_answer_in_one_piece() -> None:
    asked = read()
    assert asked == ChatRequest(model="m", messages=asked.messages)
    assert read(temperature=0, top_p=0.5, seed=4).sampling is None
    assert read(**dict.fromkeys(("n", "max_tokens", "temperature", "seed", "stop", "stream", "tools"))) == asked


def test_every_field_is_read() -> None:
    asked = read(n=2, temperature=0.7, top_p=0.9, top_k=-1, seed=-1, repetition_penalty=1.1, stop="x", max_tokens=5)
    assert asked.sampling == Sampling(seed=2**31 - 1, temperature=0.7, top_p=0.9, repetition_penalty=1.1)
    assert (asked.num_answers, asked.max_new_tokens, asked.stops) == (2, 5, ("x",))
    assert read(max_tokens=5, max_completion_tokens=7).max_new_tokens == 7
    streamed = read(stream=True, stream_options={"include_usage": True}, stop=["a", "b"])
    assert (streamed.is_streamed, streamed.has_usage, streamed.stops) == (True, True, ("a", "b"))


def test_without_a_seed_each_request_has_its_own() -> None:
    seeds = {one.seed for one in (read(temperature=1).sampling for _ in range(4)) if one}
    assert len(seeds) == 4


def test_what_asks_for_nothing_is_accepted() -> None:
    read(frequency_penalty=0, presence_penalty=0.0, logit_bias={}, logprobs=False, tools=[], tool_choice="auto")
    read(response_format={"type": "text"}, user="me", metadata={"a": "b"}, store=True, service_tier="auto")


WRONG = {
    "model": (None, "missing_required_parameter", "GET /v1/models"),
    "messages": ([], "invalid_value", "at least one message"),
    "n": (9, "invalid_value", "n 9 must be a whole number from 1 to 8"),
    "max_tokens": (0, "invalid_value", "max_tokens 0 must be a whole number from 1 on"),
    "max_completion_tokens": (1.5, "invalid_value", "1.5"),
    "temperature": (2.5, "invalid_value", "temperature 2.5 must be a number from 0 to 2"),
    "top_p": (0, "invalid_value", "top_p 0 leaves no token"),
    "top_k": ("3", "invalid_value", 'top_k "3"'),
    "seed": (True, "invalid_value", "seed true"),
    "stop": (["a"] * 5, "invalid_value", "up to 4"),
    "stream": ("yes", "invalid_value", 'stream "yes" must be true or false'),
    "stream_options": ({"include_usage": True}, "invalid_value", "stream must be true"),
    "repetition_penalty": (1.2, "invalid_value", "needs a temperature above 0"),
    "tools": ([{"type": "function"}], "unsupported_parameter", "tools is not supported"),
    "response_format": ({"type": "json_object"}, "unsupported_parameter", "response_format is not supported"),
    "frequency_penalty": (0.5, "unsupported_parameter", "frequency_penalty is not supported"),
    "logprobs": (True, "unsupported_parameter", "logprobs is not supported"),
    "temprature": (1, "unknown_parameter", "unknown field 'temprature'"),
}


@pytest.mark.parametrize("field", WRONG)
def test_an_error_names_the_field_and_the_value(field: str) -> None:
    value, code, words = WRONG[field]
    with pytest.raises(ProtocolError, match="^[a-z]") as caught:
        read(**{field: value})
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, field, code)
    assert words in str(caught.value)
    assert caught.value.document()["error"]["type"] == "invalid_request_error"


def test_numbers_that_are_none_are_refused() -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "?"}], "temperature": NaN}'
    with pytest.raises(ProtocolError, match="temperature NaN"):
        read_request(body)
    with pytest.raises(ProtocolError, match="n 2 at temperature 0 is the same answer 2 times"):
        read(n=2)
    with pytest.raises(ProtocolError, match="no JSON"):
        read_request(b"\xff\xfe{}")


@pytest.mark.parametrize("temperature", [1e-46, 1e-38, 9e-4])
def test_a_temperature_that_no_draw_can_be_made_at_is_refused(temperature: float) -> None:
    with pytest.raises(ProtocolError, match=r"must be 0, for the likeliest tokens, or at least 0\.001"):
        read(temperature=temperature)
    assert read(temperature=1e-3).sampling is not None


@pytest.mark.parametrize("field", ["temperature", "top_p", "top_k", "seed", "n", "repetition_penalty"])
def test_numbers_of_any_size_are_refused_in_words(field: str) -> None:
    for number in (10**400, -(10**400), float("inf")):
        with pytest.raises(ProtocolError, match=f"^{field} ") as caught:
            read(**{field: number})
        assert caught.value.status == 400


HALF = "\ud800"
HALVES: dict[str, dict[str, Any]] = {
    "text": {"messages": [{"role": "user", "content": HALF}]},
    "field": {HALF: 1},
    "key": {"messages": [{"role": "user", "content": "?", HALF: 1}]},
    "picture": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": HALF}}]}]},
    "model": {"model": HALF},
    "stop": {"stop": HALF},
    "ignored": {"user": {"a": [HALF]}},
}


@pytest.mark.parametrize("place", HALVES)
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "utf-16"])
def test_halves_of_characters_are_refused_wherever_they_stand(place: str, encoding: str) -> None:
    value = {"model": "m", "messages": HELLO, **HALVES[place]}
    body = json.dumps(value, ensure_ascii=encoding == "ascii").encode(encoding, "surrogatepass")
    with pytest.raises(ProtocolError, match="half of a surrogate pair") as caught:
        read_request(body)
    assert caught.value.status == 400
    assert json.dumps(caught.value.document(), ensure_ascii=False).encode()


def test_whole_characters_are_read_however_they_are_written() -> None:
    asked = [{"role": "user", "content": "\U0001f600 \\ud800"}]
    for ensure_ascii in (True, False):
        body = json.dumps({"model": "m", "messages": asked}, ensure_ascii=ensure_ascii).encode()
        assert read_request(body).messages[0].content == asked[0]["content"]
    with pytest.raises(ProtocolError, match=r"^n 2 must be a whole number from 1 to 1$"):
        read_request(json.dumps({"model": "m", "messages": HELLO, "n": 2}).encode(), max_answers=1)
