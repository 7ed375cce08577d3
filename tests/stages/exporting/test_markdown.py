"""Text of others stays text in Markdown, and can still be read."""

import pytest

from stages.exporting.markdown import code, escaped, one_line, table


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
