"""Digests leave out what does not make a difference, and nothing else."""

from stages.duplicates.measures.digests import bytes_digest, text_digest, url_digest


def test_spellings_of_one_url_have_one_digest() -> None:
    assert url_digest("HTTPS://Example.org/A.jpg#top") == url_digest("http://example.org/A.jpg")
    assert url_digest("http://example.org/a.jpg") != url_digest("http://example.org/A.jpg")
    assert url_digest("") is None


def test_spellings_of_one_caption_have_one_digest() -> None:
    assert text_digest("The  CAT ") == text_digest("the cat") != text_digest("the cat.")
    assert text_digest(" \n") is None


def test_a_digest_of_bytes_is_their_beginning() -> None:
    assert bytes_digest(bytes([1, 0, 0, 0, 0, 0, 0, 2]) + bytes(24)) == 1 + (2 << 56)
