"""English documents with the faults that rules for text corpora look for, some slight and some gross, drawn from a
seed. The same on every machine and under every version of Python."""

import random
from collections.abc import Callable

NOUNS = (
    "river", "house", "teacher", "garden", "winter", "engine", "village", "market", "letter", "mountain", "window",
    "morning", "kitchen", "history", "harbour", "forest", "bridge", "student", "island", "machine", "picture", "doctor",
    "summer", "question", "answer", "country", "science", "theatre", "railway", "newspaper", "library", "orchestra",
)  # fmt: skip
VERBS = (
    "crosses", "finds", "remembers", "describes", "follows", "leaves", "opens", "carries", "watches", "builds",
    "explains", "returns to", "looks at", "belongs to", "depends on", "grows with", "isn't like", "doesn't need",
)  # fmt: skip
ADJECTIVES = (
    "old", "quiet", "green", "famous", "narrow", "distant", "well-known", "careful", "open", "early", "heavy", "young",
    "northern", "patient", "strange", "common", "bright", "empty", "large", "simple",
)  # fmt: skip
JOINTS = ("and", "but", "that", "when", "because", "with", "as", "while", "although", "so that")
ENDS = (".", ".", ".", ".", "!", "?", '."', "; ")


class Writer:
    """Writes from one stream of random numbers."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed).random

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return low + int(self.chance() * (high - low + 1))

    def one(self, things: tuple[str, ...]) -> str:
        return things[int(self.chance() * len(things))]

    def noun(self) -> str:
        return f"{self.one(('the', 'a', 'this', 'her', 'our'))} {self.one(ADJECTIVES)} {self.one(NOUNS)}"

    def clause(self) -> str:
        return f"{self.noun()} {self.one(VERBS)} {self.noun()} of {self.one(NOUNS)}s to be seen"

    def sentence(self) -> str:
        text = self.clause()
        while self.chance() < 0.4:
            text += f"{self.one((',', ''))} {self.one(JOINTS)} {self.clause()}"
        if self.chance() < 0.1:
            text += f" in {self.number(1800, 2020)}, at {self.number(1, 99)},{self.number(100, 999)} U.S. dollars"
        return text[0].upper() + text[1:] + self.one(ENDS).strip()

    def paragraph(self) -> str:
        return " ".join(self.sentence() for _ in range(self.number(2, 6)))

    def text(self) -> str:
        joint = self.one(("\n\n", "\n\n", "\n"))
        return joint.join(self.paragraph() for _ in range(self.number(2, 9)))


def lines_changed(change: Callable[[str], str]) -> Callable[[Writer, str], str]:
    """A fault of a share of the lines; where a text has few, of sentences that become lines."""

    def changed(writer: Writer, text: str) -> str:
        lines = text.replace(". ", ".\n").split("\n")
        share = writer.chance()
        return "\n".join(change(line) if line and writer.chance() < share else line for line in lines)

    return changed


def repeat_lines(writer: Writer, text: str) -> str:
    lines = [line for line in text.replace(". ", ".\n").split("\n") if line]
    return "\n".join(lines + [lines[writer.number(0, len(lines) - 1)] for _ in range(writer.number(1, len(lines)))])


def repeat_paragraphs(writer: Writer, text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n\n".join(paragraphs + paragraphs[: writer.number(1, len(paragraphs))])


def repeat_words(writer: Writer, text: str) -> str:
    words = text.split()
    first, length = writer.number(0, max(0, len(words) - 12)), writer.number(2, 12)
    return text + " " + " ".join(words[first : first + length] * writer.number(2, 14)) + "."


def shorten(writer: Writer, text: str) -> str:
    return text[: writer.number(40, 500)]


def remove_function_words(writer: Writer, text: str) -> str:
    share = 0.7 + 0.3 * writer.chance()
    wanted = {"the", "be", "to", "of", "and", "that", "have", "with"}
    return " ".join(word for word in text.split(" ") if word not in wanted or writer.chance() > share)


def join_words(writer: Writer, text: str) -> str:
    share = writer.chance() ** 3
    return "".join(" " if char == " " and writer.chance() > share else char.strip(" ") or "" for char in text)


def add_symbols(writer: Writer, text: str) -> str:
    share, symbol = 0.3 * writer.chance(), writer.one((" #", "...", " =", " | ", " 12.5", " -"))
    return "".join(char + symbol if char == " " and writer.chance() < share else char for char in text)


def add_notices(writer: Writer, text: str) -> str:
    notices = (
        "This site uses cookies to remember what you like.",
        "Please turn on JavaScript to see this page.",
        "Read our privacy policy and the terms of use.",
        "Menu",
        "Share this",
        "lorem ipsum dolor sit amet, and so it goes.",
        "if (a) { return b; } else the function ends.",
        "It was seen by many.[1] It was not seen again.[23]",
        "x" * 1001 + " is one long word.",
    )
    lines = text.split("\n")
    for _ in range(writer.number(1, 4)):
        lines.insert(writer.number(0, len(lines)), writer.one(notices))
    return "\n".join(lines)


def list_of_words(writer: Writer, text: str) -> str:
    return "\n".join(writer.noun() for _ in range(writer.number(20, 60))) + "\n" + text[: writer.number(0, 400)]


def nothing(writer: Writer, text: str) -> str:
    return text


FAULTS: tuple[Callable[[Writer, str], str], ...] = (
    nothing, repeat_lines, repeat_paragraphs, repeat_words, shorten, remove_function_words, join_words, add_symbols,
    add_notices, list_of_words, lines_changed(lambda line: f"- {line}"), lines_changed(lambda line: line + "..."),
    lines_changed(lambda line: line.rstrip(".!?\"") + ","), lines_changed(lambda line: line[:25]),
    lines_changed(lambda line: line[: len(line) // 3].replace(" ", "\n")),
)  # fmt: skip


def document(seed: int) -> str:
    """The document of a seed: of seeds 0, 1, 2, ... the first is without faults, the second repeats lines, ..."""
    writer = Writer(seed)
    return FAULTS[seed % len(FAULTS)](writer, writer.text()).strip()
