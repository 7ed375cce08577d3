"""Text of others stays text in Markdown, and can still be read."""

import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from stages.surfaces.markdown import code, escaped, one_line, table
from stages.surfaces.visible import UNSHOWN
from tests.stages.surfaces.hostile_text import TEXTS

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
PLAIN = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}


def kinds(markdown: str) -> set[str]:
    """The kinds of everything in a document, as a renderer takes it apart."""
    tokens = RENDERER.parse(markdown)
    return {one.type for one in tokens} | {child.type for one in tokens for child in one.children or ()}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("NEO 2B, tuned", "NEO 2B, tuned"),
        ("<img src=x>", "\\<img src=x\\>"),
        ("- a list", "\\- a list"),
        ("1. a list", "1\\. a list"),
        ("12) a list", "12\\) a list"),
        (". no list", ". no list"),
        ("2 - 1", "2 - 1"),
        ("3-d", "3-d"),
        ("two\nlines\twide", "two lines wide"),
        ("a \u202eturned\u200b word", "a turned word"),
        ("snake_case & $x$", "snake\\_case \\& \\$x\\$"),
    ],
)
def test_a_line_holds_no_markup(text: str, written: str) -> None:
    assert escaped(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("`x", "`` `x ``"),
        ("``", "``` `` ```"),
        ("", "` `"),
        ("a\nb", "`a b`"),
    ],
)
def test_code_ends_where_its_text_ends(text: str, written: str) -> None:
    assert code(text) == written


def test_a_pipe_is_no_border_of_a_cell() -> None:
    assert table(("one", "two"), [(code("a|b"), "c\\|d")]).splitlines()[2] == "| `a\\|b` | c\\|d |"


def test_control_characters_are_left_out() -> None:
    assert one_line("a\x00\x1b[31mb\x85") == "a[31mb"


@given(TEXTS)
def test_whatever_a_sentence_holds_is_text(text: str) -> None:
    assert kinds(f"A {escaped(text)} b") <= PLAIN and kinds(escaped(text)) <= PLAIN
    assert not UNSHOWN.search(escaped(text)) and "\n" not in escaped(text)


@given(TEXTS)
def test_whatever_stands_as_code_is_one_piece_of_code(text: str) -> None:
    (block,) = [one for one in RENDERER.parse(code(text)) if one.type == "inline"]
    assert [child.type for child in block.children or ()] == ["code_inline"]
    assert not UNSHOWN.search(code(text))


@given(TEXTS, TEXTS)
def test_whatever_a_table_holds_it_has_its_cells(one: str, two: str) -> None:
    rendered = RENDERER.parse(table(("a", "b"), [(code(one), escaped(two))]))
    assert [token.type for token in rendered].count("td_open") == 2
    assert {child.type for token in rendered for child in token.children or ()} <= {
        "text",
        "text_special",
        "code_inline",
    }
