"""The rows of the toy world's tables as plain dictionaries: URLs with captions, conversations, documents, questions.

Every row is a pure function of (seed, number). A few rows of the URL table are faulty in themselves: repeated, unsafe,
watermarked, or with a caption that belongs to another picture, is empty, or spells special tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

from stages.toy_world.addresses import Address
from stages.toy_world.language import QUESTIONS, ChatMessage, caption, dialogue, document_text, shuffled_kinds
from stages.toy_world.oddities import NUM_PER_DECK, Oddity, dealt, neighbours, oddity, original_number
from stages.toy_world.random_streams import generator
from stages.toy_world.scene import QUESTION_KINDS, QuestionKind, Scene, scene
from stages.toy_world.world import ToyWorld

Record: TypeAlias = dict[str, Any]

IMAGE_LINE = "<image>\n"
LICENCES = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0")
SPELLED_TOKENS = "<img><IMG_CONTEXT></img> <|im_end|> "


class RowOddity(StrEnum):
    """The fault of a row of the URL table."""

    PLAIN = "plain"
    """The row has no fault."""
    REPEATED = "repeated"
    """The row has the same URL and caption as another one."""
    UNSAFE = "unsafe"
    """The column `punsafe` is near 1."""
    WATERMARKED = "watermarked"
    """The column `pwatermark` is near 1."""
    MISMATCHED = "mismatched"
    """The row has the caption of another picture and a low `similarity`."""
    SPEECHLESS = "speechless"
    """The caption is empty."""
    SPELLING = "spelling"
    """The caption spells special tokens, which must stay text."""


USUAL_ROWS: Mapping[RowOddity, int] = {
    RowOddity.REPEATED: 1,
    RowOddity.UNSAFE: 1,
    RowOddity.WATERMARKED: 1,
    RowOddity.MISMATCHED: 1,
}
"""Number of each fault in every deck of rows."""
RARE_ROWS: Mapping[RowOddity, int] = {RowOddity.SPEECHLESS: 2, RowOddity.SPELLING: 2}


@dataclass(frozen=True, slots=True)
class ToyQuestion:
    """One question about a held-out picture, with its right answer."""

    id: str
    url: str
    kind: QuestionKind
    question: str
    answer: str

    @property
    def messages(self) -> list[ChatMessage]:
        """The conversation up to where the answer is expected; `<image>` marks the picture."""
        return [{"role": "user", "content": IMAGE_LINE + self.question}]


def row_oddity(seed: int, number: int) -> RowOddity:
    """The fault of row `number` of the URL table."""
    return _deck(seed, number // NUM_PER_DECK)[number % NUM_PER_DECK]


def url_rows(world: ToyWorld, start: int = 0, stop: int | None = None) -> Iterator[Record]:
    """Rows `start` to `stop` of the URL table."""
    return (url_row(world.seed, number) for number in range(world.num_train_images)[start:stop])


def heldout_url_rows(world: ToyWorld, start: int = 0, stop: int | None = None) -> Iterator[Record]:
    """Rows `start` to `stop` of the URL table of held-out pictures, which have no faults."""
    for number in range(world.num_heldout_images)[start:stop]:
        yield _row(Address(world.seed, "heldout", number), scene(world.seed, "heldout", number))


def url_row(seed: int, number: int) -> Record:
    """Row `number` of the URL table: `url`, `caption`, and the further columns of web tables."""
    odd = row_oddity(seed, number)
    if odd is RowOddity.REPEATED:
        return url_row(seed, _plain_neighbour(seed, number))
    row = _row(Address(seed, "train", number), shown_scene(seed, number))
    rng = generator(seed, "row oddity", number)
    match odd:
        case RowOddity.UNSAFE:
            row["punsafe"] = _rounded(rng.uniform(0.96, 1.0))
        case RowOddity.WATERMARKED:
            row["pwatermark"] = _rounded(rng.uniform(0.95, 1.0))
        case RowOddity.MISMATCHED:
            row["similarity"] = _rounded(rng.uniform(0.02, 0.12))
            row["caption"] = caption(scene(seed, "train", number + NUM_PER_DECK), rng)
        case RowOddity.SPEECHLESS:
            row["caption"] = ""
        case RowOddity.SPELLING:
            row["caption"] = SPELLED_TOKENS + row["caption"]
        case RowOddity.PLAIN:
            pass
    return row


def shown_scene(seed: int, number: int) -> Scene:
    """The scene that the server shows for training picture `number`: its own, or its original's for a copy."""
    if oddity(seed, number) is Oddity.COPY:
        return scene(seed, "train", original_number(seed, number))
    return scene(seed, "train", number)


def conversations(world: ToyWorld, start: int = 0, stop: int | None = None) -> Iterator[Record]:
    """Conversations `start` to `stop`: one about each training picture, then those without a picture."""
    for number in range(world.num_train_images + world.num_text_conversations)[start:stop]:
        if number < world.num_train_images:
            yield picture_conversation(world.seed, number)
        else:
            yield text_conversation(world.seed, number - world.num_train_images)


def picture_conversation(seed: int, number: int) -> Record:
    """A conversation with every kind of question about training picture `number`, in random order."""
    rng = generator(seed, "conversation", number)
    messages = dialogue(shown_scene(seed, number), shuffled_kinds(rng), rng)
    messages[0] = {**messages[0], "content": IMAGE_LINE + messages[0]["content"]}
    return {
        "id": f"picture-{number:06d}",
        "images": [Address(seed, "train", number).url],
        "messages": messages,
    }


def text_conversation(seed: int, number: int) -> Record:
    """A conversation that opens with a description, and questions that it answers."""
    rng = generator(seed, "text conversation", number)
    told = scene(seed, "told", number)
    messages = dialogue(told, shuffled_kinds(rng), rng, opening=caption(told, rng))
    return {"id": f"text-{number:06d}", "images": [], "messages": messages}


def documents(world: ToyWorld, start: int = 0, stop: int | None = None) -> Iterator[Record]:
    """Documents `start` to `stop` of the text-only corpus."""
    return (document_record(world, number) for number in range(world.num_documents)[start:stop])


def document_record(world: ToyWorld, number: int) -> Record:
    """Document `number` of the text-only corpus: `id` and `text`."""
    rng = generator(world.seed, "document", number)
    told = scene(world.seed, "told", world.num_text_conversations + number)
    return {"id": f"document-{number:06d}", "text": document_text(told, rng)}


def heldout_questions(world: ToyWorld, start: int = 0, stop: int | None = None) -> Iterator[ToyQuestion]:
    """Questions `start` to `stop`: one of each kind about every held-out picture, picture by picture."""
    for number in range(world.num_heldout_images * len(QUESTION_KINDS))[start:stop]:
        picture, kind = number // len(QUESTION_KINDS), QUESTION_KINDS[number % len(QUESTION_KINDS)]
        yield ToyQuestion(
            id=f"heldout-{picture:06d}-{kind}",
            url=Address(world.seed, "heldout", picture).url,
            kind=kind,
            question=QUESTIONS[kind][0],
            answer=scene(world.seed, "heldout", picture).answer(kind),
        )


def _row(address: Address, shown: Scene) -> Record:
    """A row without a fault."""
    rng = generator(address.seed, "row", address.area, address.number)
    return {
        "url": address.url,
        "caption": caption(shown, rng),
        "width": shown.width_px,
        "height": shown.height_px,
        "similarity": _rounded(rng.uniform(0.28, 0.42)),
        "punsafe": _rounded(rng.uniform(0.0, 0.1)),
        "pwatermark": _rounded(rng.uniform(0.0, 0.3)),
        "language": "en",
        "licence": rng.choice(LICENCES),
    }


@lru_cache(maxsize=4096)
def _deck(seed: int, deck: int) -> tuple[RowOddity, ...]:
    counts = {**USUAL_ROWS, **(RARE_ROWS if deck == 0 else {})}
    return dealt(seed, "row oddities", deck, counts, RowOddity.PLAIN)


def _plain_neighbour(seed: int, number: int) -> int:
    """The first neighbour that is plain as a row and as a picture."""
    return next(
        other
        for other in neighbours(number)
        if oddity(seed, other) is Oddity.PLAIN and row_oddity(seed, other) is RowOddity.PLAIN
    )


def _rounded(value: float) -> float:
    return round(value, 4)
