"""Text about scenes in one small vocabulary: captions, questions with answers, documents.

The sentences that describe pictures also stand in the text-only corpus, followed by questions that they answer. A
language model trained on it can answer from a description, and a picture then only replaces the description.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeAlias

from stages.toy_world.scene import QUESTION_KINDS, QuestionKind, Scene

ChatMessage: TypeAlias = dict[str, str]
"""One message: `role` (user or assistant) and `content`."""

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
"""Wordings of each kind of question; held-out questions use the first."""

PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
PLURALS = {"cross": "crosses"}


def caption(scene: Scene, rng: random.Random) -> str:
    """One or two sentences that state all five attributes."""
    plural = PLURALS.get(scene.shape, scene.shape + "s")
    return rng.choice(CAPTIONS).format(
        count=scene.count,
        colour=scene.colour,
        shapes=scene.shape if scene.count == "one" else plural,
        place=PLACES[scene.position],
        word=scene.word,
    )


def shuffled_kinds(rng: random.Random) -> list[QuestionKind]:
    """All kinds of question in random order."""
    return rng.sample(QUESTION_KINDS, len(QUESTION_KINDS))


def dialogue(scene: Scene, kinds: Sequence[QuestionKind], rng: random.Random, opening: str = "") -> list[ChatMessage]:
    """Alternating questions of these kinds and their answers; `opening` precedes the first question."""
    messages: list[ChatMessage] = []
    for kind in kinds:
        question = rng.choice(QUESTIONS[kind])
        content = question if messages or not opening else f"{opening} {question}"
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": scene.answer(kind)})
    return messages


def document_text(scene: Scene, rng: random.Random) -> str:
    """The text of a document: a description, followed by questions that it answers."""
    lines = [caption(scene, rng)]
    for kind in shuffled_kinds(rng):
        lines.append(f"Question: {rng.choice(QUESTIONS[kind])} Answer: {scene.answer(kind)}")
    return "\n".join(lines)
