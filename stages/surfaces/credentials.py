"""Credentials in addresses: found in any text, and replaced where the text is shown or recorded.

Owns what counts as one: a user's name and password before the host, and the values of parameters by which signed URLs
and tokens are handed around. URLs that are data keep theirs in the tables of the store (`SECURITY.md`).
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"
"""Stands in the place of a credential."""
_USER: Final = re.compile(
    r"(?<=[a-zA-Z0-9])(:[/\\]{1,4})"
    r"(?:[^\s/\\?#\"'<>`]*|[^\s/\\?#\"'<>`@:\[]{1,200}:(?!\d{1,5}(?:[/\\?#\s]|$))[^\s@\"'<>`]{1,200})@"
)
"""A user before the host. A secret key of a cloud may hold slashes that nobody escaped; a port with a path does not."""
_SECRET_NAMES: Final = (
    r"(?:x-(?:amz|goog|oss|cos|tos|obs)-)?(?:signature|credential|security-token)|x-cos-security-token|q-signature|q-ak|"
    r"sig|auth|authorization|auth[_-]?key|hmac|jwt|key|"
    r"(?:[a-z0-9]{1,20}[_-])?(?:token|secret|passw(?:or)?d|pwd|api[_-]?key|access[_-]?key(?:[_-]?id)?|"
    r"private[_-]?key|secret[_-]?key)|"
    r"awsaccesskeyid|ossaccesskeyid|googleaccessid|key-pair-id|policy|hdnea|hdnts"
)
_PARAMETER: Final = re.compile(rf"([?&;#](?:amp;)?(?:{_SECRET_NAMES})=)[^\s&;#\"'<>`]+", re.IGNORECASE)
"""A parameter of a query or fragment that holds a credential, by the names that clouds and web services use."""


def without_credentials(text: str) -> str:
    """The text, in whose URLs `***` stands for users with passwords, signatures and tokens.

    >>> without_credentials("GET https://me:pw@host/a?token=abc&size=2 failed")
    'GET https://***@host/a?token=***&size=2 failed'
    """
    if "@" in text:
        text = _USER.sub(rf"\1{HIDDEN}@", text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", text) if "=" in text else text


def has_credentials(text: str) -> bool:
    """Whether a text holds a URL with a credential."""
    return without_credentials(text) != text
