"""Graphs as lanes and as a picture: every edge is drawn, and no box lies on another."""

import re
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from pipelines.screen.text_graph import lanes
from pipelines.tracking.graph_picture import PADDING_X, SCALE, draw_graph, lay_out, load_font

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
TEXTS = {name: [name, "RawPairs 0123456789ab", "12 parts, 12,000 items, 11,100 kept, 900 failed"] for name in GRAPH}


def test_lanes_draw_a_ring_for_sources_a_dot_for_readers_and_a_corner_for_each_far_edge() -> None:
    drawn = {name: line for name, (line, _) in lanes(GRAPH).items()}
    assert list(drawn) == list(GRAPH)
    assert {name for name, line in drawn.items() if "○" in line} == {"llm", "pairs", "text", "questions"}
    for name, line in drawn.items():
        corners = len(re.findall("[├┤╰╯┴]", line))
        assert corners <= len(GRAPH[name]) <= corners + 1, (name, line)
    assert len({len(line) for line in drawn.values()}) == 1


def test_lanes_of_a_graph_without_edges_and_of_none() -> None:
    assert lanes({"a": [], "b": []}) == {"a": ("○", " "), "b": ("○", " ")}
    assert lanes({}) == {}


def test_boxes_stand_right_of_what_they_read_and_never_on_each_other() -> None:
    layout = lay_out(GRAPH, TEXTS)
    depths = layout.depths
    assert all(depths[source] < depths[name] for name, sources in GRAPH.items() for source in sources)
    assert depths["questions"] == depths["evaluate"] - 1
    assert all(target[1] == source[1] + 1 for source, target in layout.links)
    for one, other in combinations(GRAPH, 2):
        left, top, right, bottom = layout.box(one)
        other_left, other_top, other_right, other_bottom = layout.box(other)
        assert right < other_left or other_right < left or bottom < other_top or other_bottom < top, (one, other)
    for left, top, right, bottom in map(layout.box, GRAPH):
        assert left > 0 and top > 0 and right < layout.width and bottom < layout.height


@pytest.mark.parametrize(
    "label",
    ["12 parts, 12,000 items, 11,100 kept, 900 failed", "400 parts, 1,234,567,890 items, 999,999,999 kept", "n" * 100],
)
def test_a_label_stands_whole_inside_its_box(label: str) -> None:
    layout = lay_out({"a": [], "b": ["a"]}, {"a": ["a", label], "b": ["b"]})
    name, *lines = layout.lines["a"]
    assert name == "a" and " ".join(lines) == label
    left, top, right, bottom = layout.box("a")
    assert all(load_font().getlength(line) / SCALE <= right - left - 2 * PADDING_X + 1 for line in lines)
    assert bottom - top > layout.box("b")[3] - layout.box("b")[1]


def test_every_label_is_drawn_with_the_colour_of_its_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    write = ImageDraw.ImageDraw.text

    def spy(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, **look: object) -> None:
        drawn.append(text)
        write(pen, at, text, **look)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    roles = {name: "data" if sources else "source" for name, sources in GRAPH.items()}
    path = draw_graph(GRAPH, TEXTS, roles, tmp_path / "graph.png")
    assert " ".join(drawn) == " ".join(line for lines in TEXTS.values() for line in lines)
    with Image.open(path) as image:
        colours = {colour for _, colour in image.getcolors(maxcolors=1 << 20)}
    assert {(220, 242, 226), (226, 236, 250)} <= colours


def test_one_box_alone_is_a_picture_too(tmp_path: Path) -> None:
    layout = lay_out({"a": []}, {"a": ["a"]})
    with Image.open(draw_graph({"a": []}, {"a": ["a"]}, {"a": "result"}, tmp_path / "one.png")) as image:
        assert image.size == (layout.width * SCALE, layout.height * SCALE)
        assert image.getpixel((image.width // 2, image.height // 2)) == (240, 226, 248)
