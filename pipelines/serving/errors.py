"""Errors of the chat protocol: an HTTP status and the object that clients of OpenAI's API read.

    {"error": {"message": "...", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}}

Owns the one exception class of this room that reaches a client. Messages name the value and what to do.
"""

from __future__ import annotations

from typing import Any


class ProtocolError(Exception):
    """A request that is refused or failed. The client is told the status and the object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        """The field that the error is about, as `messages[0].content`."""
        self.headers = headers or {}

    @property
    def kind(self) -> str:
        """The protocol's `type`, which follows from the status."""
        if self.status >= 500:
            return "server_error"
        return "rate_limit_error" if self.status == 429 else "invalid_request_error"

    def document(self) -> dict[str, Any]:
        """The object that a client reads."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}


def refused(message: str, param: str | None = None, code: str = "invalid_value") -> ProtocolError:
    """A request that asks for what is not possible: status 400."""
    return ProtocolError(400, message, code=code, param=param)
