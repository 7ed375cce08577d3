"""The report of a run as one HTML page that needs nothing else: no script, no request, no font from outside.

Owns the page's frame, its style and its policy. Everything that comes from outside is escaped where it is put in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipelines.report import sections, step_sections
from pipelines.report.facts import RunFacts
from pipelines.report.pictures import DEFAULT_BUDGET_BYTES, Embedder
from stages.surfaces.markup import markup_text

POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 74em; padding: 1em; }
body { color: #222831; background: #fff; }
h1 { font-size: 1.45em; margin: .3em 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15em; margin: 2em 0 .6em; border-bottom: 2px solid #e3e7ec; padding-bottom: .2em; }
h3 { font-size: 1em; margin: 1.6em 0 .4em; }
nav { display: flex; flex-wrap: wrap; gap: .2em 1em; margin: .6em 0 0; }
a { color: #1f5f9e; }
.scroll { overflow-x: auto; } .scroll.lines table { min-width: 40em; }
table { border-collapse: collapse; font-size: .92em; }
th, td { text-align: left; padding: .22em .9em .22em 0; vertical-align: top; border-bottom: 1px solid #edf0f3; }
td { overflow-wrap: anywhere; min-width: 5em; } td:first-child { overflow-wrap: normal; } td.n { min-width: 0; }
th { color: #5a6470; font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
code { font-size: .92em; overflow-wrap: anywhere; background: #f4f6f8; padding: 0 .25em; border-radius: 3px; }
.bar { display: flex; height: 14px; min-width: 12em; background: #f0f2f5; }
.kept { background: #4fa36f; } .dropped { background: #e3b64a; } .failed { background: #c0564a; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 .9em; }
.faint { color: #5a6470; } .trouble { color: #a3281e; overflow-wrap: anywhere; } .good { color: #23713f; }
figure { margin: 1em 0; } figcaption { color: #5a6470; margin-bottom: .3em; } img { max-width: 100%; height: auto; }
.charts { display: flex; flex-wrap: wrap; gap: 1em; } svg.chart { width: 460px; max-width: 100%; height: auto; }
svg.wide { width: 100%; min-width: 640px; height: auto; }
svg.chart text, svg.wide text { font: 11px system-ui, sans-serif; fill: #3a424c; }
svg.wide a text { fill: #1f5f9e; font-size: 12px; } svg .t { font-weight: 600; font-size: 12px !important; }
svg .e { text-anchor: end; } svg .m { text-anchor: middle; } svg .g { stroke: #dfe4ea; fill: none; }
svg .f { fill: #8c96a5 !important; }
.zoom { overflow: auto; max-height: 90vh; border: 1px solid #e3e7ec; margin-top: .5em; }
.zoom svg { width: 100%; height: auto; display: block; }
#zoom2:checked ~ .zoom svg { width: auto; max-width: none; }
#zoom3:checked ~ .zoom svg { width: 250%; max-width: none; }
details { margin: .6em 0; } summary { cursor: pointer; color: #1f5f9e; }
@media (max-width: 640px) { body { padding: .6em; } .zoom svg { width: 720px; } }
@media print { .zoom { max-height: none; } nav { display: none; } }
"""


def report_page(facts: RunFacts, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> str:
    """The page as HTML text. `budget_bytes` bounds the pictures in it; the rest grows with the steps alone."""
    title = markup_text(f"Report of {facts.run.name}")
    body = "\n".join(_body(facts, budget_bytes))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{markup_text(POLICY)}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{body}\n</html>\n"
    )


def _body(facts: RunFacts, budget_bytes: int) -> Iterator[str]:
    parts = {
        "overview": ("What was asked, and what came of it", sections.overview(facts)),
        "steps": ("Steps", sections.steps(facts)),
        "timeline": ("When steps waited and worked", sections.timeline(facts)),
        "items": ("How the items ended", sections.funnel(facts)),
        "scores": ("Scores", sections.scores(facts)),
        "training": ("Training", sections.curves(facts)),
        "resources": ("Machines and resources", sections.resources(facts)),
        "sources": ("What came from outside", sections.sources(facts)),
        "lineage": ("Lineage", sections.lineage(facts)),
        "warnings": ("Warnings", sections.warnings(facts)),
    }
    written = {name: (title, text) for name, (title, lines) in parts.items() if (text := "\n".join(lines))}
    links = [f'<a href="#{name}">{title}</a>' for name, (title, _) in written.items()]
    yield f'<nav>{"".join(links)}<a href="#each">Each step</a></nav>'
    for name, (title, text) in written.items():
        yield f'<h2 id="{name}">{title}</h2>\n{text}'
    yield '<h2 id="each">Each step</h2>'
    embedder = Embedder(facts.run.store, budget_bytes)
    for step in facts.request.steps:
        yield from step_sections.of_step(facts, step, embedder)
