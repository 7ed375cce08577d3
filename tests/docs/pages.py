"""Pages of the site as blocks of code, with their language, title and line."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path != DOCS / "README.md")
HOW_TO = [path for path in PAGES if path.parent.name == "how-to" and path.stem != "index"]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One block of code of a page."""

    language: str
    title: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.M)
        found.append(Block(language, title[1] if title else "", code, text[: match.start()].count("\n") + 1))
    return found


def commands(code: str) -> list[str]:
    """The commands of a shell block, a line each, with what a backslash continues."""
    joined = code.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
