"""Text that a surface might obey: drawn by hypothesis from what terminals, browsers, Markdown and tables react to."""

from hypothesis import strategies as st

PIECES = (
    "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x1b]8;;http://a/\x1b\\", "\x08\x08", "\r", "\r\n", "\n", "\t", "\x00",
    "\u202e", "\u2066", "\u200f", "\u061c", "\ufeff", "\u00ad", "\u200b", "\u2028", "\udc80", "\U000e0041", "\ufff9",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title>", "</style>", "]]>", "<!--", "-->", "&lt;",
    '" onload="x', "' onload='x", "javascript:alert(1)", "data:text/html,x", "<svg/onload=x>", "&#x3c;", "&",
    "![a](http://b/c.png)", "[a](javascript:x)", "<http://a.b>", "`", "``", "**", "__", "~~", "|", "\\", "\\|", "# ",
    "    ", "1. ", "> ", "```", "---", "===", "$x$", "https://a.b/c", "a@b.cd", ":smile:", "[^1]", "[ ]", "+ ", "- ",
    "=1+1", "+1", "-1", "@SUM(1)", "=cmd|' /C calc'!A0", ";=1", ",", '"', '""', "%1", "\uff1d1", "'",
    "https://me:hunter2@host/a", "?token=hunter2", "&X-Amz-Signature=hunter2&b=1", "a", " ", "é", "\u05d0", "🏴",
)  # fmt: skip
"""What surfaces react to, and a little that they do not."""
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.characters(), st.text(max_size=4)), max_size=12).map("".join)
"""Pieces in any order, with any characters between them."""
SIGNS = "\u0300\u036f\u0489\u05b0\u064b\u0e31\u0f7e\u20dd\ufe0f\u200d\u200c\U000e0100"
"""Marks, joiners and selectors, which have no width of their own."""
MARKS = st.text(st.sampled_from(SIGNS), min_size=1, max_size=40)
FLOODS = st.lists(st.one_of(TEXTS, MARKS, MARKS.map(lambda marks: marks * 50)), max_size=6).map("".join)
"""Such texts with floods of marks among them."""
