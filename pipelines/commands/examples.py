"""Groups of the commands in `neo --help`, and an example in the help of each."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Begin": ("init", "look", "pin", "stages", "describe", "doctor"),
    "Run": ("plan", "estimate", "run", "submit", "resume", "status", "cancel", "logs", "retry", "skip"),
    "See what was made": ("list", "show", "trace", "where", "index", "row", "seen", "diff"),
    "Use it": ("ask", "serve", "files", "get", "view", "push"),
    "Verify and report": ("audit", "impact", "exposure", "report", "verify", "sign", "disclose"),
    "Keep house": ("takedown", "gc", "mirror"),
}
"""Headings of the help, with the commands below each. A command that none names stands under `OTHERS`."""
OTHERS = "More"
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "init": ("neo init my_project --template tune",),
    "look": ("neo look captions.parquet --num 3", "neo look tiny/pairs --html pairs.html"),
    "pin": ("neo pin pipeline.py:talks", "neo pin pipeline.py:talks --check"),
    "stages": ("neo stages",),
    "describe": ("neo describe filter_pairs",),
    "doctor": ("neo doctor --site my_cluster.toml",),
    "plan": ("neo plan tiny --graph", "neo plan tiny --set kept.min_side_px=128"),
    "estimate": ("neo estimate neo_2b --gpu H200 --price 2.5",),
    "run": ("neo run tiny", "neo run tiny --until kept"),
    "submit": ("neo submit tiny --site my_cluster.toml",),
    "resume": ("neo resume", "neo resume tiny-1a2b3c4d"),
    "status": ("neo status --watch",),
    "cancel": ("neo cancel tiny",),
    "logs": ("neo logs tiny pairs",),
    "retry": ("neo retry tiny/pairs --reasons transient",),
    "skip": ('neo skip tiny/mid --step 120 --reason "a picture that crashes the decoder"',),
    "list": ("neo list", "neo list --all --json"),
    "show": ("neo show tiny", "neo show tiny/evaluate"),
    "trace": ("neo trace tiny/evaluate --picture lineage.png",),
    "where": ("neo where https://example.org/cat.jpg", "neo where --domain example.org"),
    "index": ("neo index tiny/evaluate --text",),
    "row": ("neo row tiny/chat_rows 0",),
    "seen": ("neo seen tiny/chat --at 100",),
    "diff": ("neo diff tiny-1a2b3c4d tiny-5e6f7a8b",),
    "ask": ('neo ask tiny/evaluate cat.jpg "What is this?"',),
    "serve": ("neo serve tiny/evaluate",),
    "files": ("neo files tiny/export",),
    "get": ("neo get tiny/export my_model",),
    "view": ("neo view tiny/kept pairs --wds",),
    "push": ("neo push tiny/export OWNER/NAME",),
    "audit": ("neo audit tiny/evaluate", "neo audit tiny/evaluate --level quick"),
    "verify": ("neo verify my_model",),
    "sign": ("neo sign my_model --key private.pem",),
    "disclose": ("neo disclose tiny/export --eu --to summary.docx",),
    "impact": ("neo impact --domain example.org", "neo impact --reason blank"),
    "exposure": ("neo exposure tiny/chat https://example.org/cat.jpg",),
    "takedown": ("neo takedown forget.txt", 'neo takedown forget.txt --record --reason "asked by mail"'),
    "report": ("neo report tiny --out report.html",),
    "gc": ("neo gc", "neo gc --delete"),
    "mirror": ("neo mirror",),
}
"""Commands to type, by name: each is one that the program can parse."""


def epilog_of(name: str) -> str | None:
    """The examples of a command as they stand in its help, each on a line; None where there are none."""
    examples = EXAMPLES.get(name, ())
    heading = "Examples:" if len(examples) > 1 else "Example:"
    return "\n".join(["\b", heading, *(f"  {example}" for example in examples)]) if examples else None
