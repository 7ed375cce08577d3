"""One address in its many spellings is one, in a list and in a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.takedowns.typed_list import TypedList, list_bytes
from stages.origins.web_address import AddressError, read_address
from stages.store.store import Store
from stages.takedowns.spelling import spelled
from stages.takedowns.tombstones import Tombstones


def is_gone(folder, kind: str, value: str, url: str) -> bool:
    typed = TypedList()
    typed.add(1, kind, value)
    assert not typed.faults
    return bool(Tombstones(Store(folder), (), list_bytes(typed)).names([None, url.encode()])[1])


@pytest.mark.parametrize(
    "url",
    [
        "https://Example.org/a b.jpg",
        "https://example.org:443/a%20b.jpg",
        "https://example.org/a b.jpg#x",
        "\ufeffhttps://example.org/a b.jpg",
        " http://example.org/a%20b.jpg\u200b",
    ],
)
def test_a_url_is_found_in_any_spelling(tmp_path, url: str) -> None:
    assert is_gone(tmp_path, "url", "https://example.org/a b.jpg", url)
    assert is_gone(tmp_path, "url", url, "https://example.org/a%20b.jpg")
    assert not is_gone(tmp_path, "url", url, "https://example.org/b.jpg")


@pytest.mark.parametrize(
    ("domain", "url"),
    [
        ("example.org", "http://ex%61mple.org/a.jpg"),
        ("example.org", "\u200bhttps://example.org/a.jpg"),
        ("xn--i-7iq.ws", "https://i❤.ws/a.jpg"),
        ("i❤.ws", "https://xn--i-7iq.ws/a.jpg"),
        ("münchen.de", "https://a_b.münchen.de/a.jpg"),
        ("*.example.org", "https://cdn.example.org/a.jpg"),
    ],
)
def test_a_host_is_found_in_any_spelling(tmp_path, domain: str, url: str) -> None:
    assert is_gone(tmp_path, "domain", domain, url)


@given(st.text("aZ0./:?#@%[] ü\\", max_size=20))
def test_what_need_not_be_taken_apart_is_what_taking_it_apart_gives(text: str) -> None:
    url = f"http://a{text}"
    try:
        address = read_address(url)
    except AddressError:
        return
    assert spelled(url)[1:] == (address.url, address.host.rstrip(".")) or ":" in address.host
