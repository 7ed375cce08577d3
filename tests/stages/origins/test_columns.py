"""Columns are matched by mapping, name, or well-known spelling, and anything else is said before work begins."""

import pytest

from stages.contract import StageError
from stages.origins.columns import match_columns, name_columns


@pytest.mark.parametrize(
    "found",
    [["URL", "TEXT"], ["image_url", "alt_text"], ["url", "caption"], ["Image URL", "Alt-Text"], ["img_url", "title"]],
)
def test_well_known_spellings_are_taken(found: list[str]) -> None:
    assert match_columns(["url", "caption"], [*found, "similarity"], {}) == {"url": found[0], "caption": found[1]}


def test_a_column_of_the_very_name_comes_before_other_spellings() -> None:
    assert match_columns(["caption"], ["TEXT", "caption"], {}) == {"caption": "caption"}


def test_the_mapping_decides() -> None:
    assert match_columns(["url", "caption"], ["url", "TEXT", "title"], {"caption": "title"})["caption"] == "title"
    assert match_columns(["url", "caption"], ["line"], {"caption": ""}) == {"url": "line", "caption": ""}


@pytest.mark.parametrize(
    ("found", "mapping", "message"),
    [
        (["a", "b"], {}, r"has no column 'url'; its columns are 'a', 'b'. Say .* columns=\{'url': 'a'\}"),
        (["url", "TEXT", "title"], {}, r"several columns that may be 'caption': 'TEXT', 'title'.*columns=\{'caption'"),
        (["url", "TEXT"], {"caption": "text"}, r"has no column 'text', which `columns` names for 'caption'"),
        (["url", "caption", "caption"], {}, "column 'caption' 2 times"),
        (["url", "caption", "lang", "lang"], {}, "column 'lang' 2 times"),
        (["url", "caption", "malformed_row"], {}, "'malformed_row'"),
    ],
)
def test_what_is_missing_or_may_mean_two_things_is_refused(
    found: list[str], mapping: dict[str, str], message: str
) -> None:
    with pytest.raises(StageError, match=message):
        match_columns(["url", "caption"], found, mapping, where="urls.csv")


def test_an_optional_column_may_be_missing() -> None:
    assert match_columns(["id", "text"], ["text"], {}, optional=["id"]) == {"text": "text"}


def test_other_columns_are_carried_under_their_names_or_new_ones() -> None:
    found = ["URL", "TEXT", "key", "lang"]
    matched = {"url": "URL", "caption": "TEXT"}
    with pytest.raises(
        StageError, match=r"column 'key', a name that our own tables use.*columns=\{'their_key': 'key'\}"
    ):
        name_columns(found, matched, {}, ["key"], "urls.csv")
    named = name_columns(found, matched, {"their_key": "key"}, ["key"], "urls.csv")
    assert named == {"url": "URL", "caption": "TEXT", "their_key": "key", "lang": "lang"}
    with pytest.raises(StageError, match="column 'url'"):
        name_columns(["URL", "url"], {"url": "URL"}, {}, [], "urls.csv")
    with pytest.raises(StageError, match="names 'nothing'"):
        name_columns(found, matched, {"their_key": "nothing"}, [], "urls.csv")
