"""A lineage as SVG: a box for each artifact with its step, kind and counts, links where the reader can follow them."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.lineage.graph import Lineage, Node, describe_counts
from pipelines.report.graph_svg import Box, graph_svg
from stages.artifacts.fingerprint import SHOWN_DIGITS


def lineage_svg(lineage: Lineage, link: Callable[[str], str] = lambda _: "") -> str:
    """The lineage as an SVG element. `link` has the address of an artifact by its whole fingerprint, '' for none."""
    return graph_svg(lineage.reads, lineage_boxes(lineage, link))


def lineage_boxes(lineage: Lineage, link: Callable[[str], str] = lambda _: "") -> dict[str, Box]:
    """The box of each artifact by its whole fingerprint.

    A training that a fork began from has a box too, with the step of the checkpoint.
    """
    boxes = {
        node.fingerprint: Box(box_lines(node), role_of(node, lineage), link(node.fingerprint)) for node in lineage.nodes
    }
    for fingerprint, fork in lineage.begun_from.items():
        lines = (fork.stage, f"checkpoint {fingerprint[:SHOWN_DIGITS]}", f"step {fork.at_step}")
        boxes[fingerprint] = Box(lines, "model", link(fingerprint))
    return boxes


def box_lines(node: Node) -> tuple[str, str, str]:
    """The lines in the box of an artifact: its step, kind with fingerprint, and counts."""
    counted = describe_counts(node.head) if node.head else "missing"
    return node.step, f"{node.kind} {node.fingerprint[:SHOWN_DIGITS]}", counted


def role_of(node: Node, lineage: Lineage) -> str:
    """The role of an artifact in a lineage, which gives its box a colour."""
    if node.head is None:
        return "missing"
    if node is lineage.target or node.kind in ("Evaluation", "ExportedCheckpoint"):
        return "result"
    if node.head.holds_model:
        return "model"
    return "data" if node.inputs else "source"
