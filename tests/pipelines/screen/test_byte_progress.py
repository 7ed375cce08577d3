"""Sizes in words, and a bar that a pipe never sees."""

import io

from rich.console import Console

from pipelines.screen.byte_progress import bytes_bar, size_in_words


def test_sizes_have_the_unit_that_people_would_say() -> None:
    sizes = [0, 999, 1000, 12_345_678, 5 * 10**13]
    assert list(map(size_in_words, sizes)) == ["0 bytes", "999 bytes", "1.0 kB", "12.3 MB", "50.0 TB"]


def test_a_bar_is_drawn_on_a_terminal_and_not_in_a_pipe() -> None:
    drawn, piped = io.StringIO(), io.StringIO()
    for file, is_terminal in ((drawn, True), (piped, False)):
        with bytes_bar(Console(file=file, force_terminal=is_terminal, width=80), 2_000_000) as told:
            told(1_000_000)
    assert "1.0/2.0 MB" in drawn.getvalue() and piped.getvalue() == ""
