"""The configuration of a NEO checkpoint as transformers reads it.

Owns `NEOChatConfig`: what `config.json` states, kept as it is stated, and `NeoConfig` made of it. Works with
transformers 4.57 and 5. In an exported folder this file stands beside the weights.
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from neo_model.config import NeoConfig


class NEOChatConfig(PretrainedConfig):  # type: ignore[misc]
    """`config.json` of a NEO folder. Fields that it does not know are kept, and written again."""

    model_type = "neo_chat"

    def __init__(
        self, llm_config: dict[str, Any] | None = None, vision_config: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        """Without sections it is empty: transformers makes such a one to compare with."""
        self.llm_config = llm_config or {}
        self.vision_config = vision_config or {}
        super().__init__(**fields)

    @property
    def neo(self) -> NeoConfig:
        """The network that is described. Raises ConfigError naming what is missing or contradicts itself."""
        return NeoConfig.from_released(
            {**self.to_dict(), "llm_config": self.llm_config, "vision_config": self.vision_config}
        )

    # What generation asks of a configuration.

    @property
    def hidden_size(self) -> int:
        """Width of the stack."""
        return int(self.llm_config.get("hidden_size", 0))

    @property
    def vocab_size(self) -> int:
        """Rows of the word embedding."""
        return int(self.llm_config.get("vocab_size", 0))

    @property
    def num_hidden_layers(self) -> int:
        """Layers of the stack, the pre-Buffer's included."""
        return self.neo.num_layers if self.llm_config else 0

    @property
    def max_position_embeddings(self) -> int:
        """Longest sequence that the model was made for, in tokens."""
        return int(self.llm_config.get("max_position_embeddings", 0))
