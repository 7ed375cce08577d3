"""Lanes draw every edge of a graph, and no other."""

from pipelines.screen.text_graph import lanes


def test_a_join_closes_the_lanes_that_nothing_reads_later() -> None:
    drawn = lanes({"a": [], "b": [], "c": ["a", "b"], "d": ["c"]})
    assert [line.rstrip() for line, _ in drawn.values()] == ["○", "│ ○", "●─╯", "●"]


def test_a_lane_stays_open_for_a_later_reader() -> None:
    drawn = lanes({"a": [], "b": ["a"], "c": [], "d": ["a", "c"]})
    assert [line.rstrip() for line, _ in drawn.values()] == ["○", "├─●", "│ ○", "●─╯"]


def test_below_a_line_run_the_lanes_that_something_reads_later() -> None:
    drawn = lanes({"a": [], "b": ["a"], "c": [], "d": ["a", "c"]})
    assert [below.rstrip() for _, below in drawn.values()] == ["│", "│", "│ │", ""]


def test_lines_have_one_width_and_nothing_gives_nothing() -> None:
    assert len({len(line) for lines in lanes({"a": [], "b": [], "c": ["a", "b"]}).values() for line in lines}) == 1
    assert lanes({}) == {}
