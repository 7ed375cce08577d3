"""A table on screens of any width: columns go before content, and nothing is broken inside."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from pipelines.screen.text_table import Column, TextTable, number, print_whole, sentence, wrapped

ID, PATH = "download_pairs/012a9627c695", "/home/someone/store/artifacts/pack_rows/00000.tar"


class Screen(io.StringIO):
    """A file that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def table() -> TextTable:
    table = TextTable("step", Column("artifact"), Column("kind", goes=1), number("kept", goes=2), sentence("why"))
    table.add("pairs", ID, "RawPairs", 11_100, "its recipe changed, and what it was made from changed as well")
    table.add("a_step_with_a_name", "pack_rows/d47567181cee", "Rows", 7, "committed")
    return table


def plain(table: TextTable, width: int | None) -> list[str]:
    return [line.plain for line in table.lines(width)]


def test_without_a_terminal_each_row_is_one_line_with_everything(table: TextTable) -> None:
    heading, first, second = plain(table, None)
    assert heading.split() == ["step", "artifact", "kind", "kept", "why"]
    assert first.endswith("  11,100  its recipe changed, and what it was made from changed as well")
    assert second.split() == ["a_step_with_a_name", "pack_rows/d47567181cee", "Rows", "7", "committed"]


def test_numbers_stand_at_the_right(table: TextTable) -> None:
    _, first, second = plain(table, None)
    assert first.index("11,100") + len("11,100") == second.index("  7  ") + len("  7")


def test_columns_go_in_their_order_and_are_named(table: TextTable) -> None:
    at_100, at_90 = plain(table, 100), plain(table, 90)
    assert "kind" in at_100[0] and "kept" in at_100[0] and "Not shown" not in at_100[-1]
    assert at_90[0].split() == ["step", "artifact", "kept", "why"]
    assert at_90[-1] == "Not shown in 90 columns: kind. A wider terminal or --json has them."


@pytest.mark.parametrize("width", [120, 100, 80, 60, 52])
def test_nothing_is_wider_than_the_screen_and_nothing_is_lost(table: TextTable, width: int) -> None:
    lines = plain(table, width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for word in (ID, "pack_rows/d47567181cee", "a_step_with_a_name", "committed"):
        assert word in words
    reason = "its recipe changed, and what it was made from changed as well"
    assert all(word in words for word in reason.split())


def test_sentences_with_little_room_stand_below_their_row(table: TextTable) -> None:
    lines = plain(table, 60)
    assert lines[0].split() == ["step", "artifact", "kept"]
    assert lines[2].startswith("    its recipe changed")


def test_a_path_longer_than_its_column_moves_the_column_below() -> None:
    table = TextTable("step", sentence("holds"))
    table.add("a_step_with_a_name", f"a file {PATH}")
    assert plain(table, 60) == ["step", "a_step_with_a_name", f"    a file {PATH}"]


def test_what_may_not_go_stays_whole_on_any_screen() -> None:
    table = TextTable("artifact", "sha256")
    table.add(ID, "a" * 64)
    assert plain(table, 40)[1] == f"{ID}  {'a' * 64}"
    screen = Screen()
    print_whole(Console(file=screen, width=40, force_terminal=True, color_system=None), table)
    assert f"{ID}  {'a' * 64}" in screen.getvalue()


def test_a_column_without_content_is_not_shown_and_not_said_to_be_left_out() -> None:
    table = TextTable("step", Column("rate", goes=1), "attempt")
    table.add("pairs", None, "1")
    assert plain(table, 12) == ["step   attempt", "pairs  1"]


def test_lanes_are_drawn_on_beside_further_lines_of_a_row() -> None:
    table = TextTable(Column("", "lanes"), "step", sentence("why"))
    table.add("○ \n│ ", "pairs", "first line\nsecond line")
    table.add("●\n ", "kept", "one line")
    assert plain(table, 80)[1:] == ["○   pairs  first line", "│          second line", "●   kept   one line"]
    assert plain(table, None)[1:] == ["○   pairs  first line; second line", "●   kept   one line"]


def test_without_a_terminal_the_lines_of_a_cell_stand_behind_each_other_with_their_styles() -> None:
    table = TextTable("step", sentence("why"), number("n"))
    table.add("kept", Text.assemble(("changed:", "bold"), "\nmin_side_px 64, was 32\n\n", ("new code", "dim")), 1)
    table.add("mid", "committed", 22)
    _, first, second = table.lines(None)
    assert first.plain == "kept  changed:; min_side_px 64, was 32; new code   1"
    assert second.plain.index("22") + 2 == len(first.plain)
    styles = {first.plain[span.start : span.end]: span.style for span in first.spans}
    assert styles["changed:"] == "bold" and styles["new code"] == "dim"


@pytest.mark.parametrize("make", [Screen, io.StringIO])
def test_a_pipe_with_forced_colours_is_no_terminal(
    table: TextTable, make: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    file = make()
    console = Console(file=file, width=52)
    assert console.is_terminal
    print_whole(console, table)
    print_whole(console, Text("what a person reads is broken between its words, and what a pipe takes is not"))
    is_screen = make is Screen
    assert ("Not shown in 52 columns" in file.getvalue()) == is_screen
    assert ("between its words, and what" in file.getvalue()) == (not is_screen)
    assert "\x1b[" in file.getvalue()


def test_foreign_text_cannot_move_the_cursor() -> None:
    table = TextTable("caption")
    table.add("a\x1b[2Jb")
    assert "\x1b" not in plain(table, None)[1]


def test_a_row_may_be_shorter_than_the_heading_but_not_longer() -> None:
    table = TextTable("a", "b")
    table.add("1")
    with pytest.raises(ValueError, match="3 cells for 2 columns"):
        table.add("1", "2", "3")


def test_a_text_is_broken_between_words_with_its_indent_and_commands_stay_together() -> None:
    text = Text("  all of it is made again by `neo index tiny` or later, in " + PATH)
    assert [line.plain for line in wrapped(text, 36)] == [
        "  all of it is made again by",
        "    `neo index tiny` or later, in",
        f"    {PATH}",
    ]


def test_what_stands_beside_a_label_stays_beside_it() -> None:
    text = Text("  host        11.3 GiB of host memory a rank")
    assert [line.plain for line in wrapped(text, 36)] == [
        "  host        11.3 GiB of host",
        "              memory a rank",
    ]


def test_wide_characters_count_twice() -> None:
    table = TextTable("caption", number("n"))
    table.add("猫の写真", 1)
    table.add("abcdefgh", 22)
    first, second = plain(table, None)[1:]
    assert first == "猫の写真   1" and second == "abcdefgh  22"


def test_a_long_table_is_laid_out_once_for_all_rows() -> None:
    table = TextTable("sample", number("n"))
    for index in range(5000):
        table.add(f"sample-{index}", index)
    assert len(table.lines(80)) == 5001
