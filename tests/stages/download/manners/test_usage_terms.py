"""What servers say about the use of a picture is read as its publisher meant it."""

from email.message import Message

import pytest

from stages.download.manners.usage_terms import MAX_EVIDENCE_CHARS, evidence, is_opted_out, training_use


@pytest.mark.parametrize(
    ("value", "is_refused"),
    [
        ("noai", True),
        ("index, NoAI", True),
        ("neo-pipelines: noai", True),
        ("Neo-Pipelines : index, noai", True),
        ("otherbot: noai", False),
        ("otherbot: index, noai", False),  # a name holds for what follows
        ("otherbot: noai, neo-pipelines: noindex", True),
        ("neo-pipelines: all, otherbot: noai", False),
        ("otherbot: max-snippet:-1, noai", False),
        ("neo-pipelines: max-snippet:-1, noai", True),
        ("max-image-preview:large, noai", True),
        ("noai, max-snippet:-1", True),
        ("Max-Video-Preview: 0, noai", True),
        ("unavailable_after: 25 Jun 2027 15:00:00 PST, noai", True),
        ("unavailable_after: Fri, 25 Jun 2027 15:00:00 GMT, noai", True),
        ("unavailable_after: 25-Jun-27, 15:00:00, noai", True),
        ("unavailable_after: 2027-06-25T15:00:00Z, noai", True),
        ("max-image-preview:none", False),
        ("all", False),
        ("", False),
    ],
)
def test_directives_for_everyone_and_for_us_count(value: str, is_refused: bool) -> None:
    headers = Message()
    headers["X-Robots-Tag"] = value
    assert is_opted_out(headers) is is_refused


@pytest.mark.parametrize(
    ("usage", "preference"),
    [
        ("train-ai=n", "n"),
        ("search=y,train-ai=n;x=1", "n"),
        ("train-ai=n, train-ai=y", "y"),
        ("train-ai", None),
        ("train-ai=?0", None),
        ("search=n", None),
        ("", None),
    ],
)
def test_a_preference_for_training_is_read_from_a_dictionary(usage: str, preference: str | None) -> None:
    assert training_use(usage) == preference


def test_evidence_is_in_a_fixed_order_and_bounded() -> None:
    headers = Message()
    for name in ("content-usage", "x-ROBOTS-tag", "Server"):
        headers[name] = "a"
    assert evidence(headers) == "X-Robots-Tag: a\nContent-Usage: a"
    assert evidence(Message()) is None
    headers["tdm-policy"] = "x" * 5000
    assert len(evidence(headers) or "") == MAX_EVIDENCE_CHARS
