"""The client of OpenAI's own package: answers, streams, errors and models are what it expects."""

from __future__ import annotations

import pytest

from tests.pipelines.serving.conftest import Loaded
from tests.pipelines.serving.served_models import ServedHere, data_uri, picture_part, served_here, until, user
from tests.worlds.colour_world import COLOURS

openai = pytest.importorskip("openai")


def client_of(server: ServedHere) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0)


def test_a_conversation_about_a_picture(colours: Loaded) -> None:
    with served_here(*colours) as server, client_of(server) as client:
        (listed,) = client.models.list().data
        assert client.models.retrieve(listed.id) == listed
        messages = [user(picture_part(data_uri(COLOURS["blue"])), "What colour is it?")]
        answer = client.chat.completions.create(model=listed.id, messages=messages, temperature=0, max_tokens=9)
        assert answer.choices[0].message.content == "blue"
        assert answer.usage is not None and answer.usage.completion_tokens >= 1
        messages += [answer.choices[0].message.model_dump(), user("How is it turned?")]
        follow_up = client.chat.completions.create(model=listed.id, messages=messages, max_tokens=9)
        assert follow_up.choices[0].finish_reason in ("stop", "length")


def test_a_stream_with_usage(talker: Loaded) -> None:
    messages = [user("Say something.")]
    with served_here(*talker) as server, client_of(server) as client:
        whole = client.chat.completions.create(model="tiny", messages=messages, max_tokens=30)
        stream = client.chat.completions.create(
            model="tiny", messages=messages, max_tokens=30, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        with client.chat.completions.create(model="tiny", messages=messages, max_tokens=3000, stream=True) as left:
            next(iter(left))
        until(lambda: server.session.served.engine.num_sequences == 0)


def test_errors_have_the_classes_of_the_client(talker: Loaded) -> None:
    messages = [user("Hello")]
    with served_here(*talker, max_requests=1) as server, client_of(server) as client:
        with pytest.raises(openai.NotFoundError, match="'tiny' does"):
            client.chat.completions.create(model="gpt-5", messages=messages)
        with pytest.raises(openai.BadRequestError, match="tools is not supported") as caught:
            tool = {"type": "function", "function": {"name": "f"}}
            client.chat.completions.create(model="tiny", messages=messages, tools=[tool])
        assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
        with pytest.raises(openai.BadRequestError, match="opens no addresses"):
            shown = picture_part("https://example.org/a.png")
            client.chat.completions.create(model="tiny", messages=[user(shown, "?")])
        with client.chat.completions.create(model="tiny", messages=messages, max_tokens=3000, stream=True):
            with pytest.raises(openai.RateLimitError, match="come again"):
                client.chat.completions.create(model="tiny", messages=messages)
