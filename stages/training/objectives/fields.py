"""What a training learns beside the next token: the fields of a recipe, all off by default."""

from __future__ import annotations

from pydantic import Field, model_validator

from stages.training.recipe import TrainRecipe


class ObjectivesRecipe(TrainRecipe):
    """Fields of a training that may learn more than the next token, as the papers do not."""

    contrastive_weight: float = Field(default=0.0, ge=0)
    """Factor of the contrastive loss (symmetric InfoNCE, in nats) that is added to the loss of the next token; 0 leaves
    it out. It compares each picture of a step with all captions of the step, and each caption with all pictures."""
    contrastive_temperature: float = Field(default=0.07, gt=0)
    """What cosine similarities are divided by before the softmax of the contrastive loss; it is fixed, because a
    checkpoint has no place for a learned one."""

    masked_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the supervised tokens of a masked document that are replaced by `mask_token` and predicted from the text
    on both sides; 0 masks no document."""
    masked_documents: float = Field(default=0.5, gt=0, le=1)
    """Share of the documents of a step that are masked where `masked_share` is above 0, drawn anew at each step; all
    others are learned by next token."""
    mask_token: str = "<|fim_pad|>"
    """The vocabulary entry that stands for a masked token. Qwen3 has none of its own for that; this one is in its
    vocabulary and in no document, as text that spells it stays text."""

    @property
    def compares_pairs(self) -> bool:
        """Whether pictures and captions of a step are compared."""
        return self.contrastive_weight > 0

    @model_validator(mode="after")
    def _check_masking(self) -> ObjectivesRecipe:
        if self.masked_share and not self.mask_token:
            raise ValueError("mask_token = '' masks nothing: name an entry of the vocabulary, or set masked_share=0")
        return self
