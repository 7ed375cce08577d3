"""A real server, asked by plain HTTP: the same answers as `neo ask`, whole and streamed, alone and together."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from neo_model.generate import Prompt, generate
from neo_model.inputs.conversation import encode_prompt, special_ids
from neo_model.inputs.pictures import open_pixels, to_uint8_patches
from neo_model.live_chat import LiveChat
from pipelines.serving import chat_endpoint, engine
from pipelines.serving.admission import Outcome
from tests.pipelines.serving.conftest import Loaded
from tests.pipelines.serving.served_models import data_uri, events, picture_part, served_here, until, user
from tests.worlds.colour_world import COLOURS, SIZES_PX

COLOUR = "What colour is it?"
TURN = "How is it turned?"
TALK = [{"role": "user", "content": "Say something long."}]


def asked_directly(loaded: Loaded, messages: list[dict[str, str]], images: list[np.ndarray], most: int) -> str:
    """The answer of `generate` to a whole conversation, with pictures cut as training cuts them."""
    model, tokenizer = loaded
    least, largest = model.config.min_pixels_px, model.config.max_pixels_px
    largest = max(2 * largest // len(images), least) if len(images) > 1 else largest
    cut = [to_uint8_patches(pixels, least, largest) for pixels in images]
    ids = special_ids(tokenizer)
    prompt = Prompt(
        token_ids=encode_prompt(tokenizer, messages, [h * w // 4 for _, (h, w) in cut]).token_ids,
        patches=[patches for patches, _ in cut],
        grids=[grid for _, grid in cut],
    )
    (answer,) = generate(model, [prompt], max_new_tokens=most, stop_ids=[ids.turn_end, ids.end_of_text])
    text: str = tokenizer.decode(answer)
    return text.strip()


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (96, 64)) -> np.ndarray:
    encoded = io.BytesIO()
    Image.new("RGB", size, colour).save(encoded, "PNG")
    return open_pixels(encoded.getvalue(), max_pixels_px=10**6)


def test_pictures_are_told_apart(colours: Loaded) -> None:
    with served_here(*colours) as server:
        for name, colour in COLOURS.items():
            for turn, size in SIZES_PX.items():
                shown = picture_part(data_uri(colour, size))
                assert server.content([user(shown, COLOUR)]) == name
                assert server.content([user(shown, TURN)]) == turn
        status, _, document = server.ask([user(picture_part(data_uri(COLOURS["red"], kind="JPEG")), COLOUR)])
        assert status == 200 and document["object"] == "chat.completion" and document["model"] == "tiny"
        (choice,) = document["choices"]
        assert choice["message"] == {"role": "assistant", "content": "red", "refusal": None}
        assert choice["finish_reason"] == "stop"
        usage = document["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert server.session.admission.outcomes == {Outcome.ANSWERED: 13}
        assert server.lines[-1].endswith(
            f": {usage['prompt_tokens']} tokens read, {usage['completion_tokens']} written"
        )


def test_a_conversation_is_written_as_in_training(talker: Loaded) -> None:
    """Several pictures, a system message, earlier turns, and `<image>` in a text."""
    red, blue = COLOURS["red"], COLOURS["blue"]
    earlier = [{"role": "developer", "content": "Be brief."}, user(picture_part(data_uri(red)), "First <image>?")]
    earlier += [{"role": "assistant", "content": "Yes.", "refusal": None, "tool_calls": None}]
    messages = [*earlier, user("And", picture_part(data_uri(blue, (64, 96))), "then?")]
    rendered = [
        {"role": "system", "content": "Be brief.", "image_tags": []},
        {"role": "user", "content": "<image>\nFirst <image>?", "image_tags": [0]},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And\n<image>\nthen?"},
    ]
    expected = asked_directly(talker, rendered, [plain(red), plain(blue, (64, 96))], 12)
    with served_here(*talker) as server:
        assert server.content(messages, max_tokens=12) == expected
        assert server.content([TALK[0]], max_tokens=9) == LiveChat(*talker).ask(TALK[0]["content"], max_new_tokens=9)


def test_a_stream_is_the_answer_in_pieces(talker: Loaded) -> None:
    with served_here(*talker) as server:
        whole = server.content(TALK, max_tokens=60)
        connection, response = server.begun(TALK, max_tokens=60, stream_options={"include_usage": True})
        assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
        *chunks, done = events(response)
        connection.close()
        assert done is None and {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        *chunks, last = chunks
        assert last["choices"] == [] and last["usage"]["completion_tokens"] == 60
        assert {chunk["usage"] for chunk in chunks} == {None}
        deltas = [chunk["choices"][0] for chunk in chunks]
        assert deltas[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(one["delta"].get("content", "") for one in deltas) == whole
        assert [one["finish_reason"] for one in deltas] == [None] * (len(deltas) - 1) + ["length"]
        assert len(deltas) > 10, "it came in pieces"
        connection, response = server.begun(TALK, max_tokens=3)
        assert all("usage" not in chunk for chunk in events(response) if chunk)
        connection.close()


@pytest.mark.parametrize("max_sequences", [1, 3, 8])
def test_answers_do_not_depend_on_what_is_asked_beside_them(talker: Loaded, max_sequences: int) -> None:
    asked = [([{"role": "user", "content": f"Number {number}?"}], 3 + 5 * number) for number in range(12)]
    with served_here(*talker, max_sequences=max_sequences, max_cache_tokens=600) as server:
        with ThreadPoolExecutor(12) as pool:
            together = list(pool.map(lambda one: server.content(one[0], max_tokens=one[1]), asked))
        assert together == [asked_directly(talker, messages, [], most) for messages, most in asked]


def test_several_answers_are_drawn(talker: Loaded) -> None:
    with served_here(*talker) as server:
        options = {"n": 3, "temperature": 1.2, "top_p": 0.9, "top_k": 40, "max_tokens": 12}
        drawn = [
            [choice["message"]["content"] for choice in server.ask(TALK, seed=seed, **options)[2]["choices"]]
            for seed in (1, 1, -2)
        ]
        assert drawn[0] == drawn[1] != drawn[2]
        assert len(set(drawn[0])) == 3
        connection, response = server.begun(TALK, seed=1, **options)
        texts = ["", "", ""]
        for chunk in filter(None, events(response)):
            for choice in chunk["choices"]:
                texts[choice["index"]] += choice["delta"].get("content", "")
        connection.close()
        assert texts == drawn[0]


def test_an_answer_ends_before_a_stop_string(talker: Loaded) -> None:
    with served_here(*talker) as server:
        whole = server.content(TALK, max_tokens=40)
        stop = whole[len(whole) // 2 : len(whole) // 2 + 2]
        _, _, document = server.ask(TALK, max_tokens=40, stop=[stop, "not there"])
        (choice,) = document["choices"]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"] == whole[: whole.index(stop)].strip()


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_client_that_goes_away_is_not_answered_any_further(talker: Loaded, is_streamed: bool) -> None:
    with served_here(*talker) as server:
        outcomes, engine = server.session.admission.outcomes, server.session.served.engine
        connection = server.posted(TALK, max_tokens=3000, stream=is_streamed)
        response = connection.getresponse() if is_streamed else None
        until(lambda: engine.num_sequences == 1)
        began = time.monotonic()
        if response is not None:
            response.close()
        connection.close()
        until(lambda: engine.num_sequences == 0 and outcomes[Outcome.CANCELLED] == 1)
        assert time.monotonic() - began < 10, "3,000 tokens take longer"
        assert server.session.admission.num_inside == 0


def test_one_request_too_many_is_told_when_to_come_again(talker: Loaded) -> None:
    with served_here(*talker, max_sequences=1, max_requests=2) as server:
        begun = [server.begun(TALK, max_tokens=3000) for _ in range(2)]
        until(lambda: server.session.served.engine.num_waiting == 1)
        status, headers, document = server.ask(TALK)
        assert status == 429 and 1 <= int(headers["retry-after"]) <= 60
        assert document["error"]["type"] == "rate_limit_error"
        assert document["error"]["code"] == "rate_limit_exceeded"
        assert document["error"]["message"].startswith("2 requests are being answered or wait")
        for connection, response in begun:
            response.close()
            connection.close()
        until(lambda: server.session.admission.num_inside == 0)
        assert server.ask(TALK, max_tokens=2)[0] == 200


def test_a_request_that_waits_can_be_cancelled(talker: Loaded) -> None:
    with served_here(*talker, max_sequences=1) as server:
        first, second = (server.begun(TALK, max_tokens=3000) for _ in range(2))
        until(lambda: server.session.served.engine.num_waiting == 1)
        second[1].close()
        second[0].close()
        until(lambda: server.session.served.engine.num_waiting == 0)
        assert server.session.served.engine.num_sequences == 1
        first[1].close()
        first[0].close()


BAD = {
    "no JSON": (b"{", 400, "invalid_json", "the body is no JSON"),
    "deep": (b"[" * 100_000, 400, "invalid_json", "the body is no JSON"),
    "a list": (b"[]", 400, "invalid_json", "must be a JSON object"),
    "too large": (b" " * 2_000_001, 413, "request_too_large", "more than 2,000,000 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_body_that_is_no_request_is_refused(talker: Loaded, name: str) -> None:
    body, status, code, words = BAD[name]
    with served_here(*talker) as server:
        got, _, document = server.send("POST", "/v1/chat/completions", body, content_type="application/json")
        assert (got, document["error"]["code"]) == (status, code)
        assert words in document["error"]["message"]
        assert server.session.admission.outcomes == {Outcome.REFUSED: 1}
        assert server.ask(TALK, max_tokens=1)[0] == 200


def test_only_json_is_read_and_only_the_model_that_is_there_is_asked(talker: Loaded) -> None:
    with served_here(*talker) as server:
        status, _, document = server.send("POST", "/v1/chat/completions", b"{}", content_type="text/plain")
        assert status == 415 and "send application/json" in document["error"]["message"]
        status, _, document = server.ask(TALK, model="gpt")
        assert (status, document["error"]["code"], document["error"]["param"]) == (404, "model_not_found", "model")
        assert "'tiny' does" in document["error"]["message"]
        status, _, document = server.ask([user(picture_part("http://127.0.0.1:1/a.png"), "What?")])
        assert (status, document["error"]["code"]) == (400, "invalid_image_url")
        assert document["error"]["param"] == "messages[0].content[0].image_url.url"


def test_a_body_that_does_not_arrive_is_not_waited_for(talker: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_endpoint, "BODY_SECONDS", 0.3)
    with served_here(*talker) as server:
        status, _, document = server.send(
            "POST", "/v1/chat/completions", None, content_type="application/json", content_length="50"
        )
        assert (status, document["error"]["code"]) == (408, "request_timeout")


def test_a_failure_of_the_model_is_told_and_outlived(talker: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = talker
    with served_here(*talker) as server:
        connection, response = server.begun(TALK, max_tokens=3000)
        stream = events(response)
        next(stream)
        failing = threading.Event()

        def fail(hidden: object) -> None:
            failing.set()
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patched:
            patched.setattr(model, "head_logits", fail)
            *_, last = stream
            assert last["error"]["message"] == "the model failed: RuntimeError: out of memory"
            assert last["error"]["type"] == "server_error"
            status, _, document = server.ask(TALK)
            assert status == 500 and "out of memory" in document["error"]["message"]
        connection.close()
        assert failing.is_set() and server.ask(TALK, max_tokens=2)[0] == 200
        assert server.session.admission.outcomes == {Outcome.FAILED: 2, Outcome.ANSWERED: 1}


def test_what_is_inside_is_answered_when_the_server_stops(talker: Loaded) -> None:
    with served_here(*talker) as server:
        connection, response = server.begun(TALK, max_tokens=400)
        stream = events(response)
        next(stream)
        server.session.close()
        status, headers, document = server.ask(TALK)
        assert (status, document["error"]["code"]) == (503, "server_stopping") and headers["retry-after"]
        assert server.send("GET", "/health")[2]["status"] == "stopping"
    *_, end, done = stream
    connection.close()
    assert end["choices"][0]["finish_reason"] == "length" and done is None


def test_a_request_that_cannot_be_answered_leaves_the_others_alone(talker: Loaded) -> None:
    with served_here(*talker, max_sequences=1) as server:
        connection, response = server.begun(TALK, max_tokens=300)
        for wrong in ({"temperature": 1e-38}, {"n": 2, "temperature": 1}, {"temperature": 10**400}, {"\ud800": 1}):
            status, _, document = server.ask(TALK, **wrong)
            assert status == 400 and document["error"]["type"] == "invalid_request_error"
        *_, end, done = events(response)
        connection.close()
        assert end["choices"][0]["finish_reason"] == "length" and done is None
        assert server.ask(TALK, temperature=1e-3, max_tokens=20)[0] == 200


def test_once_the_device_is_lost_requests_and_health_are_answered_503(
    talker: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error")

    with served_here(*talker) as server:
        with monkeypatch.context() as patched:
            patched.setattr(engine, "ContinuousBatch", fail)
            patched.setattr(talker[0], "embed_words", fail)
            assert server.ask(TALK)[0] == 500
            until(lambda: server.session.served.engine.lost)
        status, _, document = server.ask(TALK)
        assert (status, document["error"]["code"]) == (503, "device_lost")
        assert document["error"]["message"].startswith("the device is lost, start the server again: RuntimeError")
        status, _, document = server.send("GET", "/health")
        assert (status, document["status"]) == (503, "lost")
