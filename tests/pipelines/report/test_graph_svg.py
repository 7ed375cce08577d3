"""Graphs as SVG: every label stands whole inside its box, no box on another, and foreign text stays text."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest

from pipelines.report.graph_svg import Box, graph_svg

GRAPH = {
    "llm": [],
    "pairs": [],
    "kept": ["pairs"],
    "text": [],
    "mix": ["kept", "text"],
    "rows": ["mix", "llm"],
    "buffer": ["rows", "llm"],
    "merged": ["buffer", "llm"],
    "questions": [],
    "evaluate": ["merged", "questions"],
}
LABEL = "12 parts, 12,000 items, 11,100 kept, 900 failed"
SVG = "{http://www.w3.org/2000/svg}"


def boxes(label: str = LABEL) -> dict[str, Box]:
    return {name: Box([name, "RawPairs 0123456789ab", label], "data", f"#{name}") for name in GRAPH}


def drawn(svg: str) -> list[tuple[tuple[float, float, float, float], list[ET.Element]]]:
    """Each box as left, top, right, bottom, with its lines of text."""
    found = []
    for link in ET.fromstring(svg).iter(f"{SVG}a"):
        rect = link.find(f"{SVG}rect")
        assert rect is not None
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        found.append(((x, y, x + width, y + height), list(link.iter(f"{SVG}text"))))
    return found


@pytest.mark.parametrize("label", [LABEL, "1,234,567,890 items, 999,999,999 kept", "n" * 60])
def test_labels_stand_whole_inside_their_boxes(label: str) -> None:
    found = drawn(graph_svg(GRAPH, boxes(label)))
    assert len(found) == len(GRAPH)
    for (left, top, right, bottom), texts in found:
        assert " ".join(text.text or "" for text in texts[1:]) == f"RawPairs 0123456789ab {label}"
        for text in texts:
            assert left < float(text.attrib["x"]) and top < float(text.attrib["y"]) < bottom
            assert float(text.attrib["x"]) + float(text.attrib["textLength"]) <= right


def test_no_box_lies_on_another_and_all_lie_on_the_picture() -> None:
    svg = graph_svg(GRAPH, boxes())
    places = [place for place, _ in drawn(svg)]
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0])
    for one, other in combinations(places, 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    assert all(left > 0 and top > 0 and right < width and bottom < height for left, top, right, bottom in places)


def test_a_deep_graph_is_no_wider_than_a_page() -> None:
    chain = {f"step{number}": [f"step{number - 1}"] if number else [] for number in range(40)}
    svg = graph_svg(chain, {name: Box([name], "data") for name in chain})
    assert float(re.findall(r'viewBox="0 0 (\S+) ', svg)[0]) < 400


def test_foreign_text_stays_text() -> None:
    svg = graph_svg({"a": []}, {"a": Box(['<script>x</script> "&\x1b[0m'], "result", '"><script>')})
    assert "<script" not in svg and "\x1b" not in svg
    ET.fromstring(svg)
