"""A preview as one HTML page that needs nothing else: pictures are in it, and it runs no script.

Pure: a preview in, text out. Everything from outside is escaped; the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from pipelines.preview.items import Preview, PreviewDrawing, PreviewItem, PreviewPicture, PreviewSpan, PreviewStrip
from stages.store.errors import StoreError
from stages.surfaces.markup import markup_text

MAX_TEXT_CHARS: Final = 50_000
"""Characters of one stretch of text on the page."""
POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222; }
h1 { font-size: 1.3em; } h2 { font-size: 1em; margin: 0 0 .5em; }
section { border-top: 1px solid #ccc; padding: 1em 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1em; margin: 0 0 .8em; color: #555; }
dd { margin: 0; overflow-wrap: anywhere; }
figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top; } img { display: block; max-width: 100%; }
.drawn { display: block; margin: 0 0 1.5em; } .drawn figcaption { max-width: none; overflow-wrap: anywhere; }
figcaption { font-size: .85em; color: #555; max-width: 22em; }
.strip p { margin: 0 0 .3em; color: #555; } .strip figure { margin: 0 .3em .6em 0; }
.strip figcaption { font-size: .75em; text-align: center; max-width: 13em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; padding: .1em .6em; border-left: 4px solid #ddd; }
pre.supervised { border-color: #2a8; background: #eaf8f1; } pre.picture { border-color: #a5c; color: #74a; }
.dropped { color: #a60; } .failed, .trouble { color: #c22; } .kept { color: #2a8; }
"""


def preview_page(preview: Preview) -> str:
    """The page, as HTML text."""
    title = markup_text(preview.title)
    body = "\n".join(_body(preview))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{markup_text(POLICY)}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{body}\n</html>\n"
    )


def _body(preview: Preview) -> Iterator[str]:
    yield _list(preview.facts)
    for trouble in preview.troubles:
        yield f'<p class="trouble">{markup_text(trouble)}</p>'
    yield from map(_drawing, preview.drawn)
    yield "<p>Green: what the loss asks for.</p>"
    for item in preview.items:
        yield "\n".join(["<section>", *_item(item), "</section>"])


def _drawing(drawing: PreviewDrawing) -> str:
    """A picture of the stage's work, with the place of its file below it; or why it cannot be read."""
    try:
        shown = f'<img alt="" src="data:image/png;base64,{base64.b64encode(drawing.read()).decode()}">'
    except StoreError as error:
        shown = f'<p class="trouble">{markup_text(str(error))}</p>'
    return f'<figure class="drawn">{shown}<figcaption>{markup_text(drawing.place)}</figcaption></figure>'


def _item(item: PreviewItem) -> Iterator[str]:
    yield f"<h2>{markup_text(item.heading)}</h2>"
    if item.verdict:
        # The class is one of three words of ours, never text from outside.
        kind = next((word for word in ("dropped", "failed") if item.verdict.startswith(word)), "kept")
        yield f'<p class="{kind}">{markup_text(item.verdict)}</p>'
    yield _list(item.fields)
    yield from (_figure(number, picture) for number, picture in enumerate(item.pictures, 1))
    yield from (_strip(number, strip) for number, strip in enumerate(item.strips, 1))
    yield from map(_span, item.spans)


def _figure(number: int, picture: PreviewPicture) -> str:
    about = f"picture {number}: {markup_text(picture.about)}"
    return f"<figure>{_image(picture)}<figcaption>{about}</figcaption></figure>"


def _strip(number: int, strip: PreviewStrip) -> str:
    frames = "".join(
        f"<figure>{_image(one)}<figcaption>{markup_text(one.about)}</figcaption></figure>" for one in strip.frames
    )
    return f'<div class="strip"><p>strip {number}: {markup_text(strip.about)}</p>{frames}</div>'


def _image(picture: PreviewPicture) -> str:
    if picture.jpeg is None:
        return ""
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}">'


def _span(span: PreviewSpan) -> str:
    speaker = f"<b>{markup_text(span.speaker)}</b>  " if span.speaker else ""
    left_out = len(span.text) - MAX_TEXT_CHARS
    more = f"\n... {left_out:,} characters more" if left_out > 0 else ""
    return f'<pre class="{span.role.value}">{speaker}{markup_text(span.text[:MAX_TEXT_CHARS])}{more}</pre>'


def _list(entries: tuple[tuple[str, str], ...]) -> str:
    rows = (f"<dt>{markup_text(name)}</dt><dd>{markup_text(value)}</dd>" for name, value in entries)
    return f"<dl>{''.join(rows)}</dl>" if entries else ""
