"""What servers say about the use of a picture is read as its publisher meant it."""

from email.message import Message

import pytest

from stages.download.manners.usage_terms import is_opted_out


@pytest.mark.parametrize(
    ("value", "is_refused"),
    [("noai", True), ("index, NoAI", True), ("neo-pipelines: noai", True), ("otherbot: noai", False), ("all", False)],
)
def test_directives_for_everyone_and_for_us_count(value: str, is_refused: bool) -> None:
    headers = Message()
    headers["X-Robots-Tag"] = value
    assert is_opted_out(headers) is is_refused
