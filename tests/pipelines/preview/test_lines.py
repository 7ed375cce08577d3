"""Foreign text in a preview: no control characters on a terminal, no markup on a page, and nothing too wide."""

import pytest

from pipelines.preview.items import Preview, PreviewItem, PreviewPicture, PreviewSpan, SpanRole, verdict_in_words
from pipelines.preview.lines import MAX_SPAN_LINES, preview_lines
from pipelines.preview.page import preview_page

NASTY = "a\x1b[31mred\x07 \u202egnp.exe <script>alert(1)</script> \"'&amp; </pre>"


def preview_with(text: str) -> Preview:
    item = PreviewItem(
        heading=text,
        verdict=text,
        fields=((text, text),),
        spans=(
            PreviewSpan(role=SpanRole.GIVEN, text=text, speaker=text),
            PreviewSpan(role=SpanRole.SUPERVISED, text=text),
        ),
        pictures=(PreviewPicture(about=text),),
    )
    return Preview(title=text, facts=((text, text),), troubles=(text,), items=(item,))


def test_control_characters_reach_neither_terminal_nor_page() -> None:
    for shown in (
        "\n".join(line.plain for line in preview_lines(preview_with(NASTY), 80)),
        preview_page(preview_with(NASTY)),
    ):
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_markup_is_text_on_the_page() -> None:
    page = preview_page(preview_with(NASTY))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "&amp;amp; &lt;/pre&gt;" in page


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    text = "word " * 100 + "x" * 300 + "\n\tand\ttabs\n\n" + "line\n" * 30
    lines = [line.plain for line in preview_lines(preview_with(text), columns)]
    assert max(map(len, lines)) <= columns


def test_supervised_text_is_marked_without_colours_and_long_text_is_cut() -> None:
    item = PreviewItem(heading="x", spans=(PreviewSpan(role=SpanRole.SUPERVISED, text="blue\n" * 50),))
    lines = [line.plain for line in preview_lines(Preview(title="t", items=(item,)), 80)]
    learned = [line for line in lines if line.startswith("learn | ")]
    assert len(learned) == MAX_SPAN_LINES + 1 and learned[-1] == "learn | ... 250 characters in all"


def test_a_verdict_has_its_reason() -> None:
    assert verdict_in_words("dropped", "too_small") == "dropped: too_small"
    assert verdict_in_words("kept", None) == "kept" and verdict_in_words(None, None) == ""
