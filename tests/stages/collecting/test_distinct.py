"""What a reference means in a source of images, and which ones lead outside."""

import pytest

from stages.collecting.distinct import is_web_address, local_name
from stages.importing.reasons import ImportReason


@pytest.mark.parametrize(
    ("name", "prefix", "expected"),
    [
        ("a/1.jpg", "", "a/1.jpg"),
        ("./a//1.jpg", "", "a/1.jpg"),
        ("a\\1.jpg", "", "a/1.jpg"),
        ("cafe\u0301.jpg", "", "caf\u00e9.jpg"),
        ("/data/a/1.jpg", "/data/", "a/1.jpg"),
        ("images/1.jpg", "images/", "1.jpg"),
        ("/data/a/1.jpg", "", ImportReason.PATH_OUTSIDE),
        ("/data/../etc/passwd", "/data/", ImportReason.PATH_OUTSIDE),
        ("a/../../1.jpg", "", ImportReason.PATH_OUTSIDE),
        ("C:\\a\\1.jpg", "", ImportReason.PATH_OUTSIDE),
    ],
)
def test_a_reference_means_a_path_inside_the_source_or_nothing(name: str, prefix: str, expected: str) -> None:
    assert local_name(name, prefix) == expected


def test_web_addresses_are_told_from_paths() -> None:
    assert is_web_address("HTTPS://a.example/1.jpg") and not is_web_address("http/1.jpg")
