"""What may be asked for is listed; everything else is refused, at the start and at every hop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.download.address import follow_address, parse_address
from stages.download.reasons import Reason, RowError


def reason_of(url: str) -> Reason | None:
    try:
        parse_address(url)
    except RowError as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.jpg",
        "data:image/png;base64,AAAA",
        "gopher://example.org",
        "jar:http://example.org!/a",
        "javascript:alert(1)",
        "example.org/a.jpg",
        "//example.org/a.jpg",
        "",
    ],
)
def test_only_the_web_is_asked(url: str) -> None:
    assert reason_of(url) is Reason.URL_SCHEME


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@example.org/a.jpg",
        "http://example.org/a\r\nHost: evil",
        "http://example.org/a\x00b",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:port/",
        "http:///a.jpg",
        "http://exa mple.org/",
        "http://[::1/",
        "http://a..b/",
        "http://[fe80::1%25eth0]/",
        "http://" + "ä" * 80 + ".org/",
        "http://example.org/" + "a" * 8192,
        "http://example.org/\ud800",
        "http://a%2Fb.example/",
        "http://a%00b.example/",
        "http://a%25b.example/",
        "http://a%.example/",
        "http://%e4.example/",
        "http://a%40b.example/",
        "http://a\uff0fb.example/",
        "http://a\u2488com/",
        "http://" + "☃" * 60 + ".example/",
        "http://\u200d.example/",
        "http://\u06271\u0661.example/",
        "http://\u00ad/",
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    assert reason_of(url) is Reason.URL_MALFORMED


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTP://Example.ORG", "http://example.org/"),
        ("http://example.org:80/a b.jpg?q=ü#part", "http://example.org/a%20b.jpg?q=%C3%BC"),
        ("https://example.org:8443/%e4.jpg", "https://example.org:8443/%e4.jpg"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        (" http://example.org/a ", "http://example.org/a"),
        ("http://[2606:4700::1111]/a", "http://[2606:4700::1111]/a"),
        ("http://straße.example/", "http://xn--strae-oqa.example/"),
        ("http://STRASSE.example/", "http://strasse.example/"),
        ("http://faß.βόλος.com/", "http://xn--fa-hia.xn--nxasmm1c.com/"),
        ("http://☃.example/", "http://xn--n3h.example/"),
        ("http://i❤.ws/", "http://xn--i-7iq.ws/"),
        ("http://💩.la/", "http://xn--ls8h.la/"),
        ("http://BÜCHER。example\uff0eORG/", "http://xn--bcher-kva.example.org/"),
        ("http://bü\u00adcher.example/", "http://xn--bcher-kva.example/"),
        ("http://bu\u0308cher.example/", "http://xn--bcher-kva.example/"),
        ("http://\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.org/", "http://example.org/"),
        ("http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"),
        ("http://ex%61mple%2Eorg:8080/", "http://example.org:8080/"),
        ("http://bücher.example./", "http://xn--bcher-kva.example./"),
        ("http://example.org/caf%C3%A9/ü", "http://example.org/caf%C3%A9/%C3%BC"),
    ],
)
def test_a_url_is_normalised_to_ascii(url: str, normal: str) -> None:
    assert parse_address(url).url == normal


@pytest.mark.parametrize(
    "around",
    [
        "\n",
        "\r",
        "\r\n",
        "\t",
        " ",
        "\0",
        "\x1f",
        "\x7f",
        "\x85",
        "\u00a0",
        "\u00ad",
        "\u200b",
        "\u200e",
        "\u2028",
        "\u2060",
        "\u3000",
        "\ufeff",
        " \t\ufeff\r\n",
    ],
)
def test_what_is_not_seen_around_a_url_is_no_part_of_it(around: str) -> None:
    url = "http://example.org/a.jpg"
    for spelled in (around + url, url + around, around + url + around):
        assert parse_address(spelled).url == url
        assert follow_address(parse_address("http://example.net/"), spelled).url == url
    assert reason_of(around) is Reason.URL_SCHEME


@given(st.text(max_size=60))
def test_any_text_is_either_an_address_in_ascii_without_white_space_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.org/{text}"):
        if reason_of(url) is None:
            spelled = parse_address(url).url
            assert spelled.isascii() and spelled.isprintable() and " " not in spelled
            assert parse_address(spelled) == parse_address(url)


@pytest.mark.parametrize(
    ("start", "location"),
    [
        ("http://example.org/a", "file:///etc/passwd"),
        ("http://example.org/a", "http://user@example.org/"),
        ("http://example.org/a", "data:image/png,"),
        ("https://example.org/a", "http://example.org/a"),
        ("http://example.org/a", "http://[::1"),
    ],
)
def test_a_hop_that_would_be_refused_at_the_start_is_refused(start: str, location: str) -> None:
    with pytest.raises(RowError) as caught:
        follow_address(parse_address(start), location)
    assert caught.value.reason is Reason.REDIRECT_FORBIDDEN


def test_a_hop_may_be_relative() -> None:
    start = parse_address("http://example.org/a/b.jpg?x=1")
    assert follow_address(start, "../c.jpg").url == "http://example.org/c.jpg"
    assert follow_address(start, "https://example.net/d").url == "https://example.net/d"
