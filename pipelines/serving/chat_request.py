"""A request for chat completions: from the JSON of a body to what is asked for, or an error that names the field.

Owns which fields of the protocol have a meaning here. Fields that cannot change an answer are accepted and ignored;
fields of things that this server does not do are accepted where they ask for nothing, and refused otherwise; unknown
ones are refused. Null is the same as absent.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipelines.serving.errors import refused
from pipelines.serving.messages import ChatMessage, read_messages

if TYPE_CHECKING:
    from neo_model.sampling import Sampling

MAX_ANSWERS: Final = 8
"""Most answers to one request (`n`)."""
MAX_STOPS: Final = 4
"""Most stop strings, as in the protocol."""
MAX_STOP_CHARS: Final = 200
"""Longest stop string, in characters."""
READ: Final = frozenset(
    {"model", "messages", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "seed", "stop"}
    | {"repetition_penalty", "stream", "stream_options"}
)
"""Fields that have a meaning. `top_k` and `repetition_penalty` are not OpenAI's; other servers have them too."""
IGNORED: Final = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
)
"""Fields that do not change an answer."""
NOTHING_ASKED: Final[dict[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
}
"""Fields of things that this server does not do, and their values that ask for none of it."""


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What a client asks for."""

    model: str
    """The model that it means."""
    messages: tuple[ChatMessage, ...]
    """The conversation so far, which ends with a message of the user."""
    num_answers: int = 1
    """How many answers."""
    max_new_tokens: int | None = None
    """Longest answer, in tokens; None for the server's own limit."""
    sampling: Sampling | None = None
    """How tokens are drawn; None for the likeliest ones."""
    stops: tuple[str, ...] = ()
    """An answer ends before the first of these strings."""
    is_streamed: bool = False
    """Whether the answer is sent in pieces."""
    has_usage: bool = False
    """Whether a stream ends with the numbers of tokens."""


def read_request(body: bytes, *, max_answers: int = MAX_ANSWERS) -> ChatRequest:
    """Raises ProtocolError for a body that is no request, with the field and its value."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise refused(f"the body is no JSON: {error}", code="invalid_json") from error
    _check_characters(body, value)
    if not isinstance(value, dict):
        raise refused("the body must be a JSON object with model and messages", code="invalid_json")
    asked = {key: one for key, one in value.items() if one is not None}
    _check_fields(asked)
    if not isinstance(asked.get("model"), str):
        raise refused("model must name the model: `GET /v1/models` lists it", "model", "missing_required_parameter")
    options = _options(asked, "stream_options")
    num_answers = _integer(asked, "n", 1, max_answers) or 1
    request = ChatRequest(
        model=asked["model"],
        messages=read_messages(asked.get("messages")),
        num_answers=num_answers,
        max_new_tokens=_integer(asked, "max_completion_tokens", 1) or _integer(asked, "max_tokens", 1),
        sampling=_sampling(asked),
        stops=_stops(asked.get("stop")),
        is_streamed=_flag(asked, "stream"),
        has_usage=_flag(options, "include_usage"),
    )
    if request.num_answers > 1 and request.sampling is None:
        raise refused(
            f"n {num_answers} at temperature 0 is the same answer {num_answers} times: raise temperature", "n"
        )
    return request


def _check_characters(body: bytes, value: Any) -> None:
    """Refuse halves of surrogate pairs: they are no characters, and nothing can be written of them."""
    if body.isascii() and b"\\" not in body:
        return  # nothing else can hold one, and photographs in base64 are not written a second time
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.start + 1]
        told = f"the body has half of a surrogate pair, {json.dumps(half)[1:-1]}: send whole characters"
        raise refused(told, code="invalid_json") from error
    except RecursionError as error:
        raise refused(f"the body is nested too deep: {error}", code="invalid_json") from error


def _check_fields(asked: dict[str, Any]) -> None:
    for field, value in asked.items():
        if field in READ or field in IGNORED or value in NOTHING_ASKED.get(field, ()):
            continue
        if field in NOTHING_ASKED:
            raise refused(f"{field} is not supported here: leave it out", field, "unsupported_parameter")
        raise refused(f"unknown field {field[:60]!r}: leave it out", field[:60], "unknown_parameter")


def _sampling(asked: dict[str, Any]) -> Sampling | None:
    """Without a temperature, or at 0, the likeliest tokens are taken, as `neo ask` and `neo evaluate` do."""
    from neo_model.sampling import MIN_TEMPERATURE, Sampling

    temperature = _number(asked, "temperature", 0.0, 2.0)
    top_p = _number(asked, "top_p", 0.0, 1.0)
    top_k = _integer(asked, "top_k", -1, 2**31 - 1)
    penalty = _number(asked, "repetition_penalty", 0.01, 10.0)
    seed = _integer(asked, "seed", -(2**63), 2**63 - 1)
    if top_p == 0:
        raise refused("top_p 0 leaves no token: above 0, at most 1", "top_p")
    if not temperature:
        if penalty not in (None, 1.0):
            raise refused(f"repetition_penalty {penalty:g} needs a temperature above 0", "repetition_penalty")
        return None
    if temperature < MIN_TEMPERATURE:
        told = f"temperature {temperature:g} must be 0, for the likeliest tokens, or at least {MIN_TEMPERATURE:g}"
        raise refused(told, "temperature")
    return Sampling(
        seed=secrets.randbits(31) if seed is None else seed % 2**31,
        temperature=temperature,
        top_k=max(top_k or 0, 0),  # -1 is all, as other servers have it
        top_p=1.0 if top_p is None else top_p,
        repetition_penalty=1.0 if penalty is None else penalty,
    )


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    is_list = isinstance(stops, list) and len(stops) <= MAX_STOPS
    if not is_list or not all(isinstance(stop, str) and 0 < len(stop) <= MAX_STOP_CHARS for stop in stops):
        raise refused(f"stop must be a text or up to {MAX_STOPS}, each of 1 to {MAX_STOP_CHARS} characters", "stop")
    return tuple(stops)


def _number(asked: dict[str, Any], field: str, least: float, most: float) -> float | None:
    value = asked.get(field)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # which no NaN is, and no number that is too large for a float
        raise refused(f"{field} {_shown(value)} must be a number from {least:g} to {most:g}", field)
    return float(value)


def _integer(asked: dict[str, Any], field: str, least: int, most: int | None = None) -> int | None:
    value = asked.get(field)
    if value is None:
        return None
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or value < least or (most is not None and value > most):
        span = f"from {least} on" if most is None else f"from {least} to {most}"
        raise refused(f"{field} {_shown(value)} must be a whole number {span}", field)
    number: int = value
    return number


def _flag(asked: dict[str, Any], field: str) -> bool:
    value = asked.get(field, False)
    if not isinstance(value, bool):
        raise refused(f"{field} {_shown(value)} must be true or false", field)
    return value


def _options(asked: dict[str, Any], field: str) -> dict[str, Any]:
    value = asked.get(field, {})
    if not isinstance(value, dict) or value.keys() - {"include_usage", "include_obfuscation"}:
        raise refused(f'{field} {_shown(value)} must be {{"include_usage": true}} or false', field)
    if value and not asked.get("stream"):
        raise refused(f"{field} is for streams: stream must be true", field)
    return value


def _shown(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
