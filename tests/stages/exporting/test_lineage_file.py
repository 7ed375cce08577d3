"""`lineage.json` is read by its schema, has one spelling, and no letter of it can change unnoticed."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from stages.exporting.lineage import lineage_document
from stages.exporting.lineage_file import LineageFileError, chain_problems, opened, sealed
from tests.stages.exporting.test_model_card import LINEAGE

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "lineage.schema.json").read_text())
FILES = [{"name": "config.json", "size_bytes": 2, "sha256": "a" * 64}]
DATA = sealed(lineage_document(LINEAGE, FILES))


def changed(change: Any) -> dict[str, Any]:
    """The document, sealed again after a change: what somebody would write who knows how."""
    document = opened(DATA)
    change(document)
    del document["document_root"]
    return opened(sealed(document))


def test_what_is_sealed_is_opened_and_fits_the_schema() -> None:
    document = opened(DATA)
    assert document["checkpoint"] == "c" * 64 and document["files"] == FILES
    assert list(chain_problems(document)) == []
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_no_letter_can_change_unnoticed() -> None:
    """One bit at every 5th place, so that names, numbers, digests, blanks and brackets are all hit."""
    for place in range(0, len(DATA), 5):
        spoiled = bytearray(DATA)
        spoiled[place] ^= 1
        with pytest.raises(LineageFileError):
            opened(bytes(spoiled))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"null", b"\xff", DATA[:-1], DATA + b" ", DATA.replace(b": 1", b": 01", 1),
     b'{"format": "neo-lineage", "version": 2}', b"[" * 100_000],
)  # fmt: skip
def test_other_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(LineageFileError, match=r"^(is no|has format|cannot be|is not) "):
        opened(data)


def test_a_chain_that_was_sealed_again_is_still_compared() -> None:
    def first(document: dict[str, Any]) -> None:
        document["artifacts"][0]["content"] = "0" * 64

    told = list(chain_problems(changed(first)))
    assert any("with other content" in one for one in told) and any("the root of" in one for one in told)
    assert "not in the chain" in next(chain_problems(changed(lambda document: document["artifacts"].pop(0))))
    assert [*chain_problems(changed(lambda document: document["artifacts"].pop()))][-1].startswith("the chain does not")
    recipe = changed(lambda document: document["artifacts"][-1]["recipe"].update(seed=9))
    assert any("the root of" in one for one in chain_problems(recipe))
