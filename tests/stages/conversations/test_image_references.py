"""Every way in which records refer to a picture leads to one name, and to its bytes where the record holds them."""

import base64
import hashlib
import json
from typing import Any

import pytest
import skimage.data

from stages.conversations.image_references import (
    ImageReferenceError,
    part_reference,
    references_of,
    row_referred_to,
    value_references,
)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real photograph as JPEG."""
    from PIL import Image

    path = tmp_path_factory.mktemp("photo") / "astronaut.jpg"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path.read_bytes()


def named(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        ("", []),
        ([], []),
        ({"bytes": None, "path": None}, []),
        ("coco/train2017/000000033471.jpg", ["coco/train2017/000000033471.jpg"]),
        (" a b.jpg \n", ["a b.jpg"]),
        (["a.jpg", None, "http://h.test/b.jpg"], ["a.jpg", "http://h.test/b.jpg"]),
        ('["a.jpg", "b.jpg"]', ["a.jpg", "b.jpg"]),
        ("['a.jpg', 'b.jpg']", ["a.jpg", "b.jpg"]),
        ({"path": "a.jpg", "bytes": None}, ["a.jpg"]),
        ({"url": "https://h.test/a.jpg"}, ["https://h.test/a.jpg"]),
        ("file:///data/my%20photo.jpg", ["/data/my photo.jpg"]),
        ("9j/" + "a" * 80, ["9j/" + "a" * 80]),
        ("data:text/plain,a%20b", [named(b"a b")]),
    ],
)
def test_a_value_leads_to_names(value: Any, names: list[str]) -> None:
    assert [reference.name for reference in value_references(value)] == names


@pytest.mark.parametrize("value", [7, True, {"width": 3}, "data:image/png;base64", "data:image/png;base64,***", "[a]"])
def test_what_is_no_picture_is_refused(value: Any) -> None:
    with pytest.raises(ImageReferenceError):
        list(value_references(value))


def test_bytes_come_along_under_their_digest(photo: bytes) -> None:
    text = base64.b64encode(photo).decode()
    lines = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    spellings: list[Any] = [
        photo,
        {"bytes": photo, "path": "000.jpg"},
        f"data:image/jpeg;base64,{text}",
        f"DATA:image/jpeg;charset=utf-8;BASE64,{text.rstrip('=')}",
        text,
        lines,
        [text],
        json.dumps([text]),
        str([text]),
    ]
    for spelled in spellings:
        assert [tuple(reference) for reference in value_references(spelled)] == [(named(photo), photo)]


def test_parts_of_messages_follow_the_fields_of_the_record() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "https://h.test/1.jpg", "detail": "low"}},
        {"type": "image_url", "image_url": "https://h.test/2.jpg"},
        {"type": "image", "image": "3.jpg", "text": None},
        {"type": "image"},
        {"image": "4.jpg"},
        {"type": "input_image", "image_url": "5.jpg"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "video", "video": "6.mp4"},
    ]
    record = {"images": ["0.jpg"], "messages": [{"role": "user", "content": parts}, {"role": "user", "content": "x"}]}
    names = ["0.jpg", "https://h.test/1.jpg", "https://h.test/2.jpg", "3.jpg", "4.jpg", "5.jpg", named(b"hi")]
    assert [reference.name for reference in references_of(record)] == names
    assert references_of(record | {"messages": json.dumps(record["messages"])}) == references_of(record)
    llava = {"dialog": [{"from": "human", "value": parts}, {"from": "gpt", "value": "x"}]}
    assert [reference.name for reference in references_of(llava)] == names[1:]
    assert [one.name for one in references_of({"messages": [{"role": "user", "content": parts[3]}]})] == ["3.jpg"]


def test_one_field_holds_the_pictures() -> None:
    assert [one.name for one in references_of({"image": None, "images": ["a"], "image_path": ["b"]})] == ["a"]
    assert [one.name for one in references_of({"image_path": "b", "index": 1})] == ["b"]
    numbered = {"image_10": "j", "image_2": {"path": "b", "bytes": None}, "image_1": "a", "image_3": None}
    assert [one.name for one in references_of(numbered)] == ["a", "b", "j"]


def test_a_row_may_share_the_pictures_of_another() -> None:
    assert row_referred_to({"index": "7", "image": "3"}) == "3"
    assert references_of({"index": 7, "image": 3}) == []
    assert row_referred_to({"index": "7", "image": "3.jpg"}) is None
    assert row_referred_to({"image": "3"}) is None
    assert part_reference({"type": "text", "text": "a"}) is None
