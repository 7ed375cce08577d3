"""`ToyWorld`: how much of a toy world there is. Its fields are its identity; everything else derives from them."""

from __future__ import annotations

from pydantic import Field

from stages.contract import Recipe


class ToyWorld(Recipe):
    """A world of pictures, of what is said about them, and of text in the same language."""

    seed: int = Field(default=7, ge=0)
    """Decides every picture, sentence and oddity."""
    num_train_images: int = Field(default=12_000, ge=1)
    """Rows of the URL table, odd ones included; each picture has a conversation too."""
    num_heldout_images: int = Field(default=300, ge=1)
    """Pictures, of combinations never trained on, that are asked one question of each kind."""
    num_documents: int = Field(default=12_000, ge=1)
    """Documents of the text-only corpus."""
    num_text_conversations: int = Field(default=6_000, ge=1)
    """Conversations without a picture."""
