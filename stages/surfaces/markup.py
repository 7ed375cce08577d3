"""Text of others in HTML and SVG: nothing in it is an element, an attribute, an entity or a script.

Owns the one function that such text passes on its way into a page or a drawing, between tags or as the value of an
attribute in quotes.
"""

from __future__ import annotations

from html import escape

from stages.surfaces.visible import visible


def markup_text(text: str) -> str:
    """The text for a page or an SVG, between tags or inside a quoted attribute.

    >>> markup_text("<b onclick='x'>\\x00")
    '&lt;b onclick=&#x27;x&#x27;&gt;\N{REPLACEMENT CHARACTER}'
    """
    return escape(visible(text), quote=True)
