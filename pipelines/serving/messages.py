"""The messages of a request: roles, text and pictures, in the form that prompts are rendered from.

Owns how a list of parts becomes one text: parts stand on lines of their own, a picture as `<image>`, so that pictures
before a question are written as in training. An `<image>` in a client's text stays text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from pipelines.serving.errors import refused

ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Roles of the protocol, and the model's own."""
DETAILS: Final = ("auto", "high", "low")
"""How finely a picture is to be looked at; `low` is at most 512 x 512 pixels, as the protocol says."""
EMPTY_KEYS: Final = frozenset({"refusal", "annotations", "audio", "function_call", "tool_calls", "name", "reasoning"})
"""Keys of a message that clients send along with an answer that they were given; they must be empty, but for a name."""


@dataclass(frozen=True, kw_only=True)
class RequestedPicture:
    """A picture of a request, not yet opened."""

    url: str
    """Its `data:` URI."""
    is_low: bool
    """Whether the client asks for a small one."""
    param: str
    """Where it stands in the request, for errors."""


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One message."""

    role: str
    """One of the model's own roles."""
    content: str
    """Its text, with an `<image>` for each picture."""
    image_tags: tuple[int, ...] = ()
    """Which `<image>` of the text are pictures, counted from 0."""
    pictures: tuple[RequestedPicture, ...] = ()
    """The pictures, in order."""

    def rendered(self) -> dict[str, Any]:
        """The message as `encode_prompt` takes it."""
        return {"role": self.role, "content": self.content, "image_tags": list(self.image_tags)}


def read_messages(value: Any) -> tuple[ChatMessage, ...]:
    """The messages of a request. Raises ProtocolError for anything else, and unless the last one is the user's."""
    if not isinstance(value, list) or not value:
        raise refused("messages must be a list with at least one message", "messages")
    messages = tuple(_read_message(message, f"messages[{number}]") for number, message in enumerate(value))
    if messages[-1].role != "user":
        raise refused(
            f"the last message is of role {messages[-1].role!r}: an answer follows a message of the user", "messages"
        )
    return messages


def _read_message(value: Any, param: str) -> ChatMessage:
    if not isinstance(value, dict):
        raise refused(f"{param} is no object with role and content", param)
    role = value.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise refused(f"{param} has role {_short(role)}: one of {', '.join(ROLES)}", f"{param}.role")
    for key in value.keys() - {"role", "content"}:
        if key not in EMPTY_KEYS or (value[key] and key != "name"):
            field = f"{param}.{key[:60]}"
            raise refused(f"{field} is not supported: leave it out", field, "unsupported_parameter")
    content = value.get("content")
    if isinstance(content, str):
        return ChatMessage(role=ROLES[role], content=content)
    if not isinstance(content, list) or not content:
        raise refused(f"{param}.content must be text, or a list of parts", f"{param}.content")
    return _of_parts(ROLES[role], content, f"{param}.content")


def _of_parts(role: str, parts: Sequence[Any], param: str) -> ChatMessage:
    texts: list[str] = []
    pictures: list[RequestedPicture] = []
    tags: list[int] = []
    num_tags = 0
    for number, part in enumerate(parts):
        read = _read_part(part, f"{param}[{number}]")
        if isinstance(read, RequestedPicture):
            if role != "user":
                raise refused(
                    f"{param}[{number}] is a picture in a message of role {role!r}: only the user's have some", param
                )
            pictures.append(read)
            tags.append(num_tags)
        texts.append(IMAGE_PLACEHOLDER if isinstance(read, RequestedPicture) else read)
        num_tags += texts[-1].count(IMAGE_PLACEHOLDER)
    return ChatMessage(role=role, content="\n".join(texts), image_tags=tuple(tags), pictures=tuple(pictures))


def _read_part(part: Any, param: str) -> str | RequestedPicture:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        detail = image.get("detail") or "auto" if isinstance(image, dict) else "auto"
        if not isinstance(url, str):
            raise refused(f'{param}.image_url must be {{"url": "data:image/...;base64,..."}}', f"{param}.image_url")
        if detail not in DETAILS:
            raise refused(
                f"{param} has detail {_short(detail)}: one of {', '.join(DETAILS)}", f"{param}.image_url.detail"
            )
        return RequestedPicture(url=url, is_low=detail == "low", param=f"{param}.image_url.url")
    raise refused(f"{param} has type {_short(kind)}: parts are of type text, with text, or image_url", param)


def _short(value: Any) -> str:
    """A value of a request, for an error: no longer than a line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
