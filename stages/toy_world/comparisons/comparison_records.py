"""The rows of the tables about pairs of pictures and about rooms: conversations, and held-out questions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from stages.toy_world.addresses import Address, RoomAddress
from stages.toy_world.comparisons.picture_pairs import Comparison, PicturePair, picture_pairs
from stages.toy_world.comparisons.room_scene import SPATIAL_KINDS, RoomScene, RoomSet, SpatialKind, room_scene
from stages.toy_world.language import ChatMessage
from stages.toy_world.random_streams import generator
from stages.toy_world.world import ToyWorld

ComparisonRecord: TypeAlias = dict[str, Any]
Asked: TypeAlias = tuple[str, str]
"""A question and its right answer."""

IMAGE_LINES = "<image>\n<image>\n"
COMPARING_QUESTIONS: dict[Comparison, str] = {
    "more": "Which are more, the {one} or the {other} shapes?",
    "further_left": "Which are further left, the {one} or the {other} shapes?",
    "higher": "Which are higher, the {one} or the {other} shapes?",
}
"""Questions about a pair call each picture by the colour of its shapes."""
SPATIAL_QUESTIONS: dict[SpatialKind, str] = {
    "left_of": "Which is left of the other, the {one} or the {other} shape?",
    "nearer": "Which is nearer, the {one} or the {other} shape?",
    "how_far": "How many steps to the nearer shape?",
    "step": "Do you step closer or away?",
}


def pair_conversations(world: ToyWorld) -> Iterator[ComparisonRecord]:
    """A conversation about each pair of training pictures: `id`, `images` (URLs), `messages`."""
    for number, pair in picture_pairs(world, "train"):
        rng = generator(world.seed, "pair conversation", number)
        urls = [Address(world.seed, "train", one).url for one in pair.numbers]
        asked = [compared(pair, comparison) for comparison in pair.comparisons]
        yield _conversation(f"pair-{number:06d}", urls, asked, rng)


def room_conversations(world: ToyWorld) -> Iterator[ComparisonRecord]:
    """A conversation about each training room: `id`, `images` (URLs of its two views), `messages`."""
    for number in range(world.num_rooms):
        room = room_scene(world.seed, "train", number)
        rng = generator(world.seed, "room conversation", number)
        asked = [spatial(room, kind) for kind in SPATIAL_KINDS]
        yield _conversation(f"room-{number:06d}", _views(world.seed, "train", number), asked, rng)


def pair_questions(world: ToyWorld) -> Iterator[ComparisonRecord]:
    """The two comparisons of each held-out pair; the last message is the answer."""
    for number, pair in picture_pairs(world, "heldout"):
        urls = [Address(world.seed, "heldout", one).url for one in pair.numbers]
        for comparison in pair.comparisons:
            yield _question(f"heldout-pair-{number:06d}", urls, comparison, compared(pair, comparison))


def room_questions(world: ToyWorld) -> Iterator[ComparisonRecord]:
    """Every kind of question about each held-out room; the last message is the answer."""
    for number in range(world.num_heldout_rooms):
        room = room_scene(world.seed, "heldout", number)
        for kind in SPATIAL_KINDS:
            urls = _views(world.seed, "heldout", number)
            yield _question(f"heldout-room-{number:06d}", urls, kind, spatial(room, kind))


def compared(pair: PicturePair, comparison: Comparison) -> Asked:
    """A question that compares the two pictures, and its answer: the colour of the shapes of which it is true."""
    one, other = (shown.colour for shown in pair.scenes)
    return COMPARING_QUESTIONS[comparison].format(one=one, other=other), pair.scenes[pair.winner(comparison)].colour


def spatial(room: RoomScene, kind: SpatialKind) -> Asked:
    """A question about a room seen from two places, and its answer."""
    one, other = room.shapes
    return SPATIAL_QUESTIONS[kind].format(one=one.colour, other=other.colour), room.answer(kind)


def _views(seed: int, room_set: RoomSet, number: int) -> list[str]:
    return [RoomAddress(seed, room_set, number, view).url for view in (0, 1)]


def _conversation(name: str, urls: Sequence[str], asked: Sequence[Asked], rng: random.Random) -> ComparisonRecord:
    """The questions in random order, with their answers."""
    messages: list[ChatMessage] = []
    for question, answer in rng.sample(asked, len(asked)):
        content = question if messages else IMAGE_LINES + question
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return {"id": name, "images": list(urls), "messages": messages}


def _question(name: str, urls: Sequence[str], kind: str, asked: Asked) -> ComparisonRecord:
    question, answer = asked
    messages = [{"role": "user", "content": IMAGE_LINES + question}, {"role": "assistant", "content": answer}]
    return {
        "id": f"{name}-{kind}",
        "images": list(urls),
        "videos": [],
        "messages": messages,
        "kind": kind,
        "answer": answer,
    }
