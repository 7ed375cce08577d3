"""Credentials in URLs are found wherever a URL may stand, and other text is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.surfaces.credentials import has_credentials, without_credentials

SIGNED = (
    "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=SECRET%2F2026&X-Amz-Signature=SECRET&x=1",
    "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=SECRET",
    "https://b.s3.amazonaws.com/k?AWSAccessKeyId=SECRET&Signature=SECRET&Expires=1",
    "https://storage.googleapis.com/b/k?X-Goog-Credential=SECRET&X-Goog-Signature=SECRET",
    "https://a.blob.core.windows.net/c/k?sv=2026&sr=b&sig=SECRET",
    "https://d.cloudfront.net/k?Policy=SECRET&Signature=SECRET&Key-Pair-Id=SECRET",
    "https://b.oss-cn-hangzhou.aliyuncs.com/k?OSSAccessKeyId=SECRET&Signature=SECRET",
    "https://cos.example/k?q-sign-algorithm=sha1&q-ak=SECRET&q-signature=SECRET",
    "https://host/k?access_token=SECRET", "https://host/k?api_key=SECRET", "https://host/k?apikey=SECRET",
    "https://host/k?API-KEY=SECRET", "https://host/k#id_token=SECRET", "https://host/k?a=1&amp;token=SECRET",
    "https://host/k?client_secret=SECRET", "https://host/k?password=SECRET", "https://host/k?key=SECRET",
    "https://me:SECRET@host/k", "http://SECRET@host", "s3://SECRET:SECRET@bucket/k", "http://a:SECRET@b:SECRET@host/",
    "postgresql+psycopg2://me:SECRET@db/mlflow", "https://me:a/SECRET?b#c@host/k",
    "s3://AKIA:wJ/SECRET+/x=@bucket/k", "HTTPS://me:SECRET@host", "https:\\\\me:SECRET@host",
)  # fmt: skip


@pytest.mark.parametrize("url", SIGNED)
@pytest.mark.parametrize("around", ["{}", "GET {} failed: 403", "'{}'", '{{"url": "{}"}}', "<{}>", "a\n{}\nb", "({})"])
def test_no_credential_of_a_url_stays_in_a_text(url: str, around: str) -> None:
    text = around.format(url)
    shown = without_credentials(text)
    assert "SECRET" not in shown and has_credentials(text) and not has_credentials(shown)
    assert shown.startswith(around.partition("{}")[0].replace("{{", "{")[:1])


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a/b.jpg?w=300&h=200&format=webp#top", "mailto:me@host", "me@host", "a token=abc", "--set a.key=1",
        "https://host/@user/picture.jpg", "https://host/a?mail=me@host", "key=value", "tokens=12", "?monkey=1&turkey=2",
        "http://host:8080/a@b", "http://[::1]:80/@a", "https://host/a:b@c", "see https://host: me@host",
    ],
)  # fmt: skip
def test_other_text_is_left_alone(text: str) -> None:
    assert without_credentials(text) == text and not has_credentials(text)


@given(st.text(st.sampled_from("ab:/@?&=token#;.+ "), max_size=80))
def test_what_is_hidden_once_stays_so(text: str) -> None:
    assert without_credentials(without_credentials(text)) == without_credentials(text)


@pytest.mark.parametrize("piece", ["a:", "a://", "a+", "?token=", "&key", "x-amz-", "://@", "a_token"])
def test_time_grows_with_the_text_alone(piece: str) -> None:
    """A million characters take a moment; a pattern that backtracks would run into the limit of all tests."""
    text = piece * (1_000_000 // len(piece)) + "@="
    assert without_credentials(text)[:1] == piece[:1]
