"""`ToyWorld`: the seed and the sizes of a toy world, from which everything else in it derives."""

from __future__ import annotations

from pydantic import Field

from stages.contract import Recipe


class ToyWorld(Recipe):
    """A world of pictures, films and rooms, of texts about them, and of further text in the same language."""

    seed: int = Field(default=7, ge=0)
    """Seed of every picture, sentence and fault."""
    num_train_images: int = Field(default=12_000, ge=1)
    """Rows of the URL table, faulty ones included; each picture has one conversation."""
    num_heldout_images: int = Field(default=300, ge=1)
    """Held-out pictures, of combinations of attributes never trained on; each has a question of each kind."""
    num_documents: int = Field(default=12_000, ge=1)
    """Documents of the text-only corpus."""
    num_text_conversations: int = Field(default=6_000, ge=1)
    """Conversations without a picture."""
    num_films: int = Field(default=2400, ge=3)
    """Rows of the table of training films, faulty ones included; each film has one conversation."""
    num_heldout_films: int = Field(default=360, ge=3)
    """Held-out films, of combinations of attributes never trained on."""
    num_pairs: int = Field(default=4000, ge=1)
    """Conversations that compare two training pictures."""
    num_heldout_pairs: int = Field(default=180, ge=1)
    """Pairs of held-out pictures; each has two questions."""
    num_rooms: int = Field(default=2000, ge=1)
    """Training rooms, each seen from two places and with one conversation."""
    num_heldout_rooms: int = Field(default=144, ge=1)
    """Held-out rooms, of combinations of looks never trained on; each has a question of each kind."""
