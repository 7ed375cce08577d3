"""Samples of a tar become pairs, and the rest of one that breaks off becomes a failed item."""

import io

from stages.importing.captions import PairRule
from stages.importing.intake import Intake
from stages.importing.reasons import ImportReason
from stages.importing.tar_members import tar_members
from stages.importing.tar_pairs import MAX_CARRIED_CHARS, carried_json, tar_pairs
from stages.importing.tar_samples import read_samples
from tests.stages.importing.conftest import picture
from tests.stages.importing.test_tar_members import tar_of


def test_a_pair_has_the_picture_the_caption_and_the_address_of_its_sample(intake: Intake) -> None:
    json = b'{"url": "https://a.example/1.jpg", "caption": "of json"}'
    file = io.BytesIO(tar_of({"./a/0.jpg": picture(), "./a/0.json": json, "1.png": picture(encoding="PNG")}))
    contents = read_samples(file, tar_members(file), intake)
    first, second = tar_pairs(contents, "t.tar", PairRule(captions="beside"))
    assert (first.key, first.reference, first.url) == ("a/0", "t.tar/a/0.jpg", "https://a.example/1.jpg")
    assert (first.caption, second.caption) == ("of json", ImportReason.NO_CAPTION)
    assert carried_json(contents.samples, 3)["source_json"].to_pylist() == [json.decode(), None, None]


def test_the_rest_of_a_broken_tar_is_a_failed_item(intake: Intake) -> None:
    whole = tar_of({"a.jpg": picture(), "a.txt": b"A", "b.jpg": picture(), "b.txt": b"B"})
    file = io.BytesIO(whole[: whole.index(b"b.jpg")])
    pairs = tar_pairs(read_samples(file, tar_members(file), intake), "t.tar", PairRule(captions="beside"))
    assert [(pair.key, pair.caption) for pair in pairs] == [("a", b"A"), ("", ImportReason.TRUNCATED_TAR)]


def test_a_json_that_is_too_long_is_not_carried(intake: Intake) -> None:
    file = io.BytesIO(tar_of({"a.jpg": picture(), "a.json": b'"' + b"x" * MAX_CARRIED_CHARS + b'"'}))
    contents = read_samples(file, tar_members(file), intake)
    assert carried_json(contents.samples, 1)["source_json"].to_pylist() == [None]
