"""Graphs as lanes and as a picture: every edge is drawn, and no box lies on another."""

import re
from itertools import pairwise
from pathlib import Path

from PIL import Image

from pipelines.screen.text_graph import lanes
from pipelines.tracking.graph_picture import BOX_HEIGHT, _centres, _columns, _depths, _untangle, draw_graph

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


def test_lanes_draw_a_ring_for_sources_a_dot_for_readers_and_a_corner_for_each_far_edge() -> None:
    drawn = lanes(GRAPH)
    assert list(drawn) == list(GRAPH)
    assert {name for name, line in drawn.items() if "○" in line} == {"llm", "pairs", "text", "questions"}
    for name, line in drawn.items():
        corners = len(re.findall("[├┤╰╯┴]", line))
        assert corners <= len(GRAPH[name]) <= corners + 1, (name, line)
    assert len({len(line) for line in drawn.values()}) == 1


def test_lanes_of_a_graph_without_edges_and_of_none() -> None:
    assert lanes({"a": [], "b": []}) == {"a": "○", "b": "○"}
    assert lanes({}) == {}


def test_boxes_stand_right_of_what_they_read_and_never_on_each_other() -> None:
    depths = _depths(GRAPH)
    assert all(depths[source] < depths[name] for name, sources in GRAPH.items() for source in sources)
    assert depths["questions"] == depths["evaluate"] - 1
    columns, links = _columns(GRAPH, depths)
    assert all(target[1] == source[1] + 1 for source, target in links)
    _untangle(columns, links)
    centres, height = _centres(columns, depths)
    for column in columns:
        middles = sorted(centres[place] for place in column if depths[place[0]] == place[1])
        assert all(lower - upper >= BOX_HEIGHT for upper, lower in pairwise(middles))
        assert not middles or (middles[0] >= BOX_HEIGHT / 2 and middles[-1] <= height - BOX_HEIGHT / 2)


def test_a_picture_has_the_colours_of_its_roles(tmp_path: Path) -> None:
    texts = {name: [name, "stage/0123", "12 kept"] for name in GRAPH}
    roles = {name: "data" if sources else "source" for name, sources in GRAPH.items()}
    path = draw_graph(GRAPH, texts, roles, tmp_path / "graph.png")
    with Image.open(path) as image:
        colours = {colour for _, colour in image.getcolors(maxcolors=1 << 20)}
    assert {(220, 242, 226), (226, 236, 250)} <= colours


def test_one_box_alone_is_a_picture_too(tmp_path: Path) -> None:
    path = draw_graph({"a": []}, {"a": ["a" * 100]}, {"a": "result"}, tmp_path / "one.png")
    assert path.stat().st_size > 0
