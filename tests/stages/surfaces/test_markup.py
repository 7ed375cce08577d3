"""Text of others in a page is text: one that a parser reads back as it was shown."""

from html.parser import HTMLParser
from xml.etree import ElementTree

from hypothesis import given

from stages.surfaces.markup import markup_text
from stages.surfaces.visible import visible
from tests.stages.surfaces.hostile_text import TEXTS


class Seen(HTMLParser):
    """What a parser sees: tags with attributes, and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXTS)
def test_a_page_holds_the_text_and_nothing_of_it_is_markup(text: str) -> None:
    seen = Seen()
    seen.feed(f"<p title=\"{markup_text(text)}\" lang='{markup_text(text)}'>{markup_text(text)}</p>")
    seen.close()
    assert seen.tags == [("p", [("title", visible(text)), ("lang", visible(text))])] and seen.text == visible(text)


@given(TEXTS)
def test_an_svg_with_the_text_is_well_formed(text: str) -> None:
    drawn = ElementTree.fromstring(f'<svg><text id="{markup_text(text)}">{markup_text(text)}</text></svg>')
    assert [one.tag for one in drawn.iter()] == ["svg", "text"] and (drawn[0].text or "") == visible(text)
