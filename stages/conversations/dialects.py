"""Decides in which dialect a table of conversations is written, once for the whole table.

Owns the names of the fields: LLaVA and ShareGPT write `conversations` of `from` and `value`, OpenAI and Qwen `messages`
of `role` and `content`, VideoChat2-IT `QA` of questions `q`, answers `a` and an instruction `i`. A table in another
dialect is refused with the names that it has, and not failed row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stages.contract import StageError
from stages.conversations.image_references import Record, listed

ROLE_FIELDS: Final = ("role", "from", "speaker")
"""Fields of a turn that may say who speaks."""
TEXT_FIELDS: Final = ("content", "value", "text")
"""Fields of a turn that may hold what is said."""
QUESTION_FIELDS: Final = ("q", "question", "Q")
"""Fields of a pair that may hold the question."""
ANSWER_FIELDS: Final = ("a", "answer", "A")
"""Fields of a pair that may hold the answer."""
INSTRUCTION_FIELDS: Final = ("i", "instruction")
"""Fields of a pair that may hold what to do with all questions of the record."""
FIRST_ROWS: Final = 200
"""Rows from which a dialect is decided."""
WANTED: Final = "role and content (OpenAI, Qwen), from and value (LLaVA, ShareGPT), or q and a (VideoChat2)"
"""Fields of turns that are known, for messages."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Names of the fields of a turn."""

    role: str = "role"
    """Field that says who speaks."""
    text: str = "content"
    """Field that holds what is said."""
    pair: tuple[str, str, str] | None = None
    """Fields of a question, its answer and its instruction, where a record lists pairs; None where it lists turns."""

    def turns_of(self, messages: Sequence[Record]) -> list[Record]:
        """The messages of a record as turns of a role and what it says: pairs as a turn of the user and its answer.

        An instruction stands before the first question, on a line of its own, and again where it changes. VideoChat2's
        own loader makes it the system message; but people ask in their own turn, and so do evaluations. A further pair
        without a question is another answer.
        """
        if self.pair is None:
            return list(messages)
        turns: list[Record] = []
        told: Any = None
        question, answer, instruction = self.pair
        for message in messages:
            asked = [_spelled(message.get(question))]
            if message.get(instruction) not in (None, "", told):
                told = message[instruction]
                asked.insert(0, _spelled(told))
            text = "\n".join(one for one in asked if isinstance(one, str) and one.strip())
            if text or not turns:
                strange = next((one for one in asked if one is not None and not isinstance(one, str)), None)
                turns.append({self.role: "user", self.text: text if strange is None else strange})
            turns.append({**message, self.role: "assistant", self.text: _spelled(message.get(answer))})
        return turns


def find_dialect(records: Iterable[Record], turn_fields: Mapping[Any, str], source: str) -> Dialect:
    """The dialect of the first records of the table `source`.

    `turn_fields` is the recipe's mapping, whose `role` and `content` win over the spellings that are known. Raises
    `StageError` that gives what was found, what is wanted, and what to write.
    """
    seen: list[str] = []
    for record in records:
        for turn in listed(record.get("messages")):
            if isinstance(turn, Mapping):
                seen += [name for name in turn if name not in seen]
    if not seen:
        raise StageError(
            f"source {source!r} has no turns in its messages, as far as its first {FIRST_ROWS} rows tell: wanted is a "
            f"list of turns with {WANTED}. Say in the recipe which column holds them: columns={{'messages': 'NAME'}}"
        )
    role = _named(ROLE_FIELDS, seen, turn_fields.get("role"))
    text = _named(TEXT_FIELDS, seen, turn_fields.get("content"))
    if role is None or text is None:
        pair = [_named(known, seen, None) for known in (QUESTION_FIELDS, ANSWER_FIELDS, INSTRUCTION_FIELDS)]
        if pair[0] is not None and pair[1] is not None and not turn_fields:
            return Dialect(pair=(pair[0], pair[1], pair[2] or INSTRUCTION_FIELDS[0]))
        raise StageError(
            f"the turns in the messages of source {source!r} have the fields {', '.join(seen)}: wanted are {WANTED}. "
            "Say in the recipe which are meant: turn_fields={'role': 'NAME', 'content': 'NAME'}"
        )
    return Dialect(role, text)


def _named(known: Sequence[str], names: Sequence[str], mapped: str | None) -> str | None:
    """The first spelling that is there: the recipe's, where it names one."""
    return next((name for name in ([mapped] if mapped else known) if name in names), None)


def _spelled(value: Any) -> Any:
    """A number as text: an answer may be one. Floats have the fewest digits that give them back."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
