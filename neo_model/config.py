"""The sizes and constants of one NEO model, and its forms on disk.

Owns `NeoConfig`, its translation from and to `config.json` of the released checkpoints (the training kit and the
evaluation kit write different forms), and from a plain Qwen3 `config.json`. Imports neither torch nor numpy, because
recipes read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from neo_model.config_fields import (
    BOUNDS,
    ConfigError,
    check_bounds,
    flag,
    integer,
    mapping,
    number,
    scalar,
    shown,
)

PATCH_PX: Final = 16
"""Side of a patch, in pixels: kernel and stride of the first convolution."""
TOKEN_PX: Final = 32
"""Side of the square that becomes one visual token, in pixels: 2 x 2 patches."""
PATCH_VALUES: Final = 3 * PATCH_PX * PATCH_PX
"""Values of one flattened patch, (channel, row, column)."""


@dataclass(frozen=True, kw_only=True)
class NeoConfig:
    """Sizes of a NEO stack: `num_prebuffer_layers` new layers, then the layers of a Qwen3 language model."""

    hidden: int
    """Width of the residual stream."""
    num_heads: int
    """Number of query heads."""
    num_kv_heads: int
    """Number of key and value heads; divides `num_heads`."""
    head_dim: int
    """Width D of a value head and of the T part of a query or key head; H and W add D/2 each. A multiple of 4."""
    ffn: int
    """Inner width of the SwiGLU feed-forward."""
    vocab_size: int
    """Number of rows of the word embedding, spare rows included."""
    num_prebuffer_layers: int
    """Number of pre-Buffer layers, the first of the stack."""
    num_layers: int
    """Number of layers of the whole stack, pre-Buffer and post-LLM."""
    image_start_id: int
    """Token id of `<img>`."""
    image_context_id: int
    """Token id of `<IMG_CONTEXT>`, one for each visual token."""
    image_end_id: int
    """Token id of `</img>`."""
    patch_hidden: int = 1024
    """Channels between the two convolutions of the patch embedding. A multiple of 4."""
    tied: bool = False
    """Whether the word embedding is also the output head."""
    theta_t: float = 1e6
    """Base of the rotary angles along the sequence."""
    theta_hw: float = 1e4
    """Base of the rotary angles along rows and columns."""
    theta_patch: float = 1e4
    """Base of the rotary angles inside the patch embedding."""
    rms_eps: float = 1e-6
    """Epsilon of every RMSNorm."""
    min_pixels_px: int = 65_536
    """Smallest picture after resizing, in pixels."""
    max_pixels_px: int = 4_194_304
    """Largest picture after resizing, in pixels."""
    max_positions_t: int = 32_768
    """Longest sequence that `config.json` states, in tokens; no table has this size."""
    max_positions_hw: int = 10_000
    """Longest side of a picture that `config.json` states, in visual tokens or patches."""

    def __post_init__(self) -> None:
        for name in BOUNDS:
            check_bounds(name, getattr(self, name))
        in_stack = self.num_prebuffer_layers <= self.num_layers
        self._require(in_stack, "num_prebuffer_layers", f"is outside 0..{self.num_layers}")
        divides = self.num_heads % self.num_kv_heads == 0
        self._require(divides, "num_kv_heads", f"does not divide num_heads {self.num_heads}")
        self._require(self.head_dim % 4 == 0, "head_dim", "is not a multiple of 4")
        self._require(self.patch_hidden % 4 == 0, "patch_hidden", "is not a multiple of 4")
        for name in ("image_start_id", "image_context_id", "image_end_id"):
            in_vocabulary = getattr(self, name) < self.vocab_size
            self._require(in_vocabulary, name, f"is outside the vocabulary of {self.vocab_size}")
        num_ids = len({self.image_start_id, self.image_context_id, self.image_end_id})
        self._require(num_ids == 3, "image_context_id", "is shared with another image token")
        ordered = self.min_pixels_px <= self.max_pixels_px
        self._require(ordered, "min_pixels_px", f"is outside 1..{self.max_pixels_px}")

    def _require(self, holds: bool, name: str, fault: str) -> None:
        if not holds:
            raise ConfigError(f"{name} = {getattr(self, name)!r} {fault}")

    @property
    def num_post_llm_layers(self) -> int:
        """Number of layers inherited from the language model."""
        return self.num_layers - self.num_prebuffer_layers

    @property
    def query_key_dim(self) -> int:
        """Width E = 2 D of a query or key head: T (D), H (D/2) and W (D/2) side by side."""
        return 2 * self.head_dim

    def with_pixels(self, *, min_pixels_px: int, max_pixels_px: int) -> NeoConfig:
        """The same model with another range of picture sizes."""
        return replace(self, min_pixels_px=min_pixels_px, max_pixels_px=max_pixels_px)

    @classmethod
    def from_released(cls, released: Mapping[str, Any], *, num_prebuffer_layers: int | None = None) -> NeoConfig:
        """Read `config.json` of a released checkpoint, in the form of either kit.

        The evaluation kit writes some scalars as lists of one value and leaves some fields to defaults, the ids of
        the image tokens among them. It does not write `extra_num_layers`, the number of pre-Buffer layers: this is
        known for the published sizes, and is `num_prebuffer_layers` for others. Raises ConfigError, also for default
        ids outside the vocabulary.
        """
        llm, vision = _section(released, "llm_config"), _section(released, "vision_config")
        _refuse_other_architectures(llm, vision)
        fields, num_layers = _qwen3_fields(llm), integer(llm, "num_hidden_layers", "num_layers")
        vision_width = integer(vision, "llm_hidden_size", "hidden", default=fields["hidden"])
        if vision_width != fields["hidden"]:
            raise ConfigError(f"llm_hidden_size = {vision_width} differs from hidden_size = {fields['hidden']}")
        depth = _prebuffer_depth(llm, num_prebuffer_layers, num_layers, fields["hidden"])
        return cls(
            **fields,
            num_layers=num_layers,
            num_prebuffer_layers=depth,
            tied=flag(released, "tie_word_embeddings", default=flag(llm, "tie_word_embeddings")),
            theta_hw=number(llm, "rope_theta_hw", "theta_hw", default=1e4),
            image_start_id=integer(released, "img_start_token_id", "image_start_id", default=151_670),
            image_context_id=integer(released, "img_context_token_id", "image_context_id", default=151_669),
            image_end_id=integer(released, "img_end_token_id", "image_end_id", default=151_671),
            patch_hidden=integer(vision, "hidden_size", "patch_hidden", default=1024),
            theta_patch=number(vision, "rope_theta_vision", "theta_patch", default=1e4),
            min_pixels_px=integer(vision, "min_pixels", "min_pixels_px", default=65_536),
            max_pixels_px=integer(vision, "max_pixels", "max_pixels_px", default=4_194_304),
            max_positions_hw=integer(llm, "max_position_embeddings_hw", "max_positions_hw", default=10_000),
        )

    @classmethod
    def from_qwen3(
        cls,
        qwen3: Mapping[str, Any],
        *,
        num_prebuffer_layers: int,
        image_start_id: int,
        image_context_id: int,
        image_end_id: int,
        patch_hidden: int = 1024,
    ) -> NeoConfig:
        """A NEO model on top of the plain Qwen3 with this `config.json`; other fields have their defaults."""
        _refuse_other_architectures(qwen3, {})
        return cls(
            **_qwen3_fields(qwen3),
            num_layers=integer(qwen3, "num_hidden_layers", "num_layers") + num_prebuffer_layers,
            num_prebuffer_layers=num_prebuffer_layers,
            tied=flag(qwen3, "tie_word_embeddings"),
            image_start_id=image_start_id,
            image_context_id=image_context_id,
            image_end_id=image_end_id,
            patch_hidden=patch_hidden,
        )

    def to_released(self) -> dict[str, Any]:
        """`config.json` in the training kit's form, which both kits read."""
        return _released_json(self)


NEO_2B: Final = NeoConfig(
    hidden=2048, num_heads=16, num_kv_heads=8, head_dim=128, ffn=6144, vocab_size=151_936, tied=True,
    num_prebuffer_layers=12, num_layers=40, image_context_id=151_669, image_start_id=151_670, image_end_id=151_671,
)  # fmt: skip
"""NEO 2B: twelve new layers before Qwen3-1.7B; 2.265B parameters in the layers."""

NEO_9B: Final = NeoConfig(
    hidden=4096, num_heads=32, num_kv_heads=8, head_dim=128, ffn=12_288, vocab_size=151_936, tied=False,
    num_prebuffer_layers=6, num_layers=42, image_context_id=151_669, image_start_id=151_670, image_end_id=151_671,
)  # fmt: skip
"""NEO 9B: six new layers before Qwen3-8B; 8.984B parameters in the layers."""


def _prebuffer_depth(llm: Mapping[str, Any], given: int | None, num_layers: int, hidden: int) -> int:
    """Number of pre-Buffer layers: stated in `config.json`, or given by the caller, or known for a published size."""
    name, field = "extra_num_layers", "num_prebuffer_layers"
    if scalar(llm.get(name)) is not None:
        stated = integer(llm, name, field)
        if given is not None and stated != given:
            raise ConfigError(f"{name} = {stated} in config.json, and {field} = {given} was given: leave one out")
        return stated
    if given is not None:
        return given
    for published in (NEO_2B, NEO_9B):
        if (published.num_layers, published.hidden) == (num_layers, hidden):
            return published.num_prebuffer_layers
    raise ConfigError(
        "llm_config has no extra_num_layers, the number of pre-Buffer layers, and its size is not a published one "
        f"({num_layers} layers of width {hidden}; 2B has 40 of 2048, 9B has 42 of 4096): give num_prebuffer_layers, "
        f"a number from 1 to {num_layers}"
    )


def _released_json(config: NeoConfig) -> dict[str, Any]:
    return {
        "model_type": "neo_chat",
        "architectures": ["NEOChatModel"],
        "tie_word_embeddings": config.tied,
        "img_context_token_id": config.image_context_id,
        "img_start_token_id": config.image_start_id,
        "img_end_token_id": config.image_end_id,
        "llm_config": {
            "model_type": "qwen3",
            "architectures": ["Qwen3ForCausalLM"],
            "hidden_size": config.hidden,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_kv_heads,
            "head_dim": config.head_dim,
            "intermediate_size": config.ffn,
            "vocab_size": config.vocab_size,
            "extra_num_layers": config.num_prebuffer_layers,
            "num_hidden_layers": config.num_layers,
            "rope_theta": config.theta_t,
            "rope_theta_hw": config.theta_hw,
            "rms_norm_eps": config.rms_eps,
            "tie_word_embeddings": config.tied,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "max_position_embeddings": config.max_positions_t,
            "max_position_embeddings_hw": config.max_positions_hw,
            "use_cache": False,
            "initializer_range": 0.02,
        },
        "vision_config": {
            "model_type": "neo_vision",
            "llm_hidden_size": config.hidden,
            "downsample_ratio": PATCH_PX / TOKEN_PX,
            "hidden_size": config.patch_hidden,
            "rope_theta_vision": config.theta_patch,
            "max_position_embeddings_vision": config.max_positions_hw,
            "num_channels": 3,
            "patch_size": PATCH_PX,
            "min_pixels": config.min_pixels_px,
            "max_pixels": config.max_pixels_px,
        },
    }


def _section(released: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = released.get(name)
    if not isinstance(section, Mapping):
        raise ConfigError(f"config.json has no {name}: a plain Qwen3 is read by NeoConfig.from_qwen3")
    return section


def _qwen3_fields(llm: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a Qwen3 configuration and `llm_config` of a released one share."""
    hidden = integer(llm, "hidden_size", "hidden")
    num_heads = integer(llm, "num_attention_heads", "num_heads")
    return {
        "hidden": hidden,
        "num_heads": num_heads,
        "num_kv_heads": integer(llm, "num_key_value_heads", "num_kv_heads"),
        "head_dim": integer(llm, "head_dim", "head_dim", default=hidden // num_heads),
        "ffn": integer(llm, "intermediate_size", "ffn"),
        "vocab_size": integer(llm, "vocab_size", "vocab_size"),
        "theta_t": _rope_theta(llm),
        "rms_eps": number(llm, "rms_norm_eps", "rms_eps", default=1e-6),
        "max_positions_t": integer(llm, "max_position_embeddings", "max_positions_t", default=32_768),
    }


def _rope_theta(llm: Mapping[str, Any]) -> float:
    """The rotary base, which transformers 4 writes as `rope_theta` and transformers 5 inside `rope_parameters`.

    Absent from both, it is 10,000, as transformers computes then.
    """
    nested = mapping(llm, "rope_parameters")
    if nested and all(isinstance(value, Mapping) for value in nested.values()):
        nested = mapping(nested, "full_attention")  # transformers 5 may write one entry for each kind of layer
    for scaling in (mapping(llm, "rope_scaling"), nested):
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind != "default":
            raise ConfigError(f"rope type {shown(kind)} is not supported: NEO rotates unscaled positions")
        for name, only in (("partial_rotary_factor", 1.0), ("mrope_section", None)):
            if scaling.get(name, only) not in (only, None):
                raise ConfigError(f"{name} = {shown(scaling[name])} is not supported: NEO rotates whole heads by one T")
    name = "rope_theta"
    bases = {number(one, name, "theta_t") for one in (llm, nested) if scalar(one.get(name)) is not None}
    if len(bases) > 1:
        raise ConfigError(f"rope_theta is stated twice and differently, as {' and '.join(map(str, sorted(bases)))}")
    return bases.pop() if bases else 1e4


def _refuse_other_architectures(llm: Mapping[str, Any], vision: Mapping[str, Any]) -> None:
    """Raise ConfigError if a field requires arithmetic that this model does not have."""
    expected = (
        (llm, "hidden_act", "silu"),
        (llm, "attention_bias", False),
        (llm, "use_sliding_window", False),
        (llm, "partial_rotary_factor", 1.0),
        (vision, "num_channels", 3),
        (vision, "patch_size", PATCH_PX),
        (vision, "downsample_ratio", PATCH_PX / TOKEN_PX),
    )
    for section, name, only in expected:
        stated = scalar(section.get(name))
        if stated is not None and stated != only:
            raise ConfigError(f"{name} = {shown(stated)} is not supported: NEO has {only!r}")
    kinds = llm.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise ConfigError(f"layer_types = {shown(kinds)} is not supported: NEO has full_attention in every layer")
