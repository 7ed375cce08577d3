"""What is said about a scene: captions, questions with answers, documents. Pure text, one small vocabulary.

The same sentences describe pictures and stand in the text-only corpus, whose questions are answered by the text
itself: a language model that has read it knows how to answer from a description, and a picture need only take
the description's place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeAlias

from stages.toy_world.scene import QUESTION_KINDS, QuestionKind, Scene

ChatMessage: TypeAlias = dict[str, str]
"""`role` (user or assistant) and `content`."""

CAPTIONS = (
    "{count} {colour} {shapes} {place} and the word {word}",
    "the word {word} and {count} {colour} {shapes} {place}",
    "a picture of {count} {colour} {shapes} {place}. it says {word}.",
)
QUESTIONS: dict[QuestionKind, tuple[str, ...]] = {
    "colour": ("What colour are the shapes?", "Which colour is used?"),
    "shape": ("What shape is drawn?", "Which shape do you see?"),
    "position": ("Where are the shapes?", "On which side are the shapes?"),
    "count": ("How many shapes are there?", "What is the number of shapes?"),
    "word": ("Which word is written?", "What does it say?"),
}
"""Wordings of each kind of question; the first is the one that is asked of held-out pictures."""

PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
PLURALS = {"cross": "crosses"}


def caption(scene: Scene, rng: random.Random) -> str:
    """One sentence or two that state all five attributes."""
    plural = PLURALS.get(scene.shape, scene.shape + "s")
    return rng.choice(CAPTIONS).format(
        count=scene.count,
        colour=scene.colour,
        shapes=scene.shape if scene.count == "one" else plural,
        place=PLACES[scene.position],
        word=scene.word,
    )


def shuffled_kinds(rng: random.Random) -> list[QuestionKind]:
    """All kinds, in an order of chance."""
    return rng.sample(QUESTION_KINDS, len(QUESTION_KINDS))


def dialogue(scene: Scene, kinds: Sequence[QuestionKind], rng: random.Random, opening: str = "") -> list[ChatMessage]:
    """Questions of these kinds and their answers, turn by turn; `opening` precedes the first question."""
    messages: list[ChatMessage] = []
    for kind in kinds:
        question = rng.choice(QUESTIONS[kind])
        asked = question if messages or not opening else f"{opening} {question}"
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": scene.answer(kind)})
    return messages


def document_text(scene: Scene, rng: random.Random) -> str:
    """A description followed by questions whose answers it states."""
    lines = [caption(scene, rng)]
    for kind in shuffled_kinds(rng):
        lines.append(f"Question: {rng.choice(QUESTIONS[kind])} Answer: {scene.answer(kind)}")
    return "\n".join(lines)
