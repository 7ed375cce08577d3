"""NEO as a model of transformers: loads by `AutoModel`, answers by `chat` and by transformers' own generation.

Owns `NEOChatModel`. It is the network of this package under the names of the released tensors; its parts compute as
they do in training and evaluation. Works with transformers 4.57 and 5. In an exported folder this file stands beside
the weights, with the modules that it imports.

B sequences, S slots of each, n new tokens of each, M images, N patches, V vocabulary rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from neo_model.hub.configuration_neo_chat import NEOChatConfig
from neo_model.hub.reading import append, read
from neo_model.hub.sequences import images_of, repeated_images, times_of, tokens_of
from neo_model.inputs.batch import IGNORED
from neo_model.inputs.conversation import IMAGE_PLACEHOLDER, encode_prompt, special_ids
from neo_model.model import NeoModel


class NEOChatModel(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A NEO checkpoint. Pictures come as `NEOChatProcessor` makes them: patches [N, 768], with their grids [M, 2]."""

    config_class = NEOChatConfig
    main_input_name = "input_ids"
    base_model_prefix = ""
    _no_split_modules = ["Layer", "VisionModel"]  # noqa: RUF012 # transformers' own form
    _supports_sdpa = True

    def __init__(self, config: NEOChatConfig, *, load_in_8bit: bool = False) -> None:
        """`load_in_8bit` is what lmms-eval passes, and False; weights are quantised by `quantization_config`."""
        if load_in_8bit:
            raise ValueError("load_in_8bit: pass quantization_config=BitsAndBytesConfig(load_in_8bit=True) instead")
        super().__init__(config)
        network = NeoModel(config.neo)
        self.vision_model = network.vision_model
        self.language_model = network.language_model
        # Its modules are ours; registered, each of them would be saved twice.
        object.__setattr__(self, "network", network)
        self.system_message = ""
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Weights that a folder lacks are an error of the folder: `NeoModel` has drawn those of a new model."""

    def get_input_embeddings(self) -> nn.Module:
        """The table of words."""
        return self.language_model.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module | None:
        """The output head; None where it is the table of words."""
        return getattr(self.language_model, "lm_head", None)

    def resize_token_embeddings(self, *_: Any, **__: Any) -> nn.Module:
        """Refused: NEO's tokens lie in spare rows of the vocabulary that it has."""
        raise NotImplementedError("the vocabulary of a NEO model cannot be resized; its spare rows take new tokens")

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        pixel_values: Tensor | None = None,
        grid_hw: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: DynamicCache | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of token ids [B, n] with their pictures; `labels` [B, n] (-100: not learned from) add a mean loss.

        `attention_mask` [B, S] is 0 at padding, on either side, and covers what `past_key_values` holds. Pictures
        belong to the first call. `others` may hold `use_cache`, and beside a filled cache holds `position_ids` [B, n].
        Raises ValueError for `inputs_embeds`, and where images and their tokens disagree.
        """
        if input_ids is None or others.get("inputs_embeds") is not None:
            raise ValueError("NEO reads input_ids: positions follow from the tokens, so inputs_embeds are not taken")
        num_past = 0 if past_key_values is None else past_key_values.get_seq_length()
        if attention_mask is None:
            attention_mask = input_ids.new_ones(input_ids.shape[0], num_past + input_ids.shape[1])
        use_cache = others.get("use_cache")
        if past_key_values is None and use_cache:
            past_key_values = DynamicCache()
        if num_past:
            if pixel_values is not None:
                raise ValueError("pictures belong to the first call, before the cache holds anything")
            hidden = append(self.network, (input_ids, attention_mask), others.get("position_ids"), past_key_values)
        else:
            images = None if pixel_values is None else pixel_values.detach().float().cpu()
            grids = [] if grid_hw is None else [(int(height), int(width)) for height, width in grid_hw.tolist()]
            hidden = read(self.network, (input_ids, attention_mask), images, grids, past_key_values)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        states = hidden if isinstance(logits_to_keep, int) and not logits_to_keep else hidden[:, kept]
        logits = self.network.head_logits(states.flatten(0, 1)).unflatten(0, states.shape[:2])
        loss = None
        if labels is not None:
            targets = F.pad(labels[:, 1:], (0, 1), value=IGNORED)
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values if use_cache else None)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        past_key_values: DynamicCache | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,  # by this name transformers looks up what `forward` takes
    ) -> dict[str, Any]:
        """What `forward` takes of whole sequences [B, S]: all of them, or with a cache the tokens that it lacks."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        num_past = 0 if past_key_values is None else past_key_values.get_seq_length()
        inputs = {"attention_mask": attention_mask, "past_key_values": past_key_values}
        inputs |= {
            "use_cache": kwargs.get("use_cache") is not False,
            "logits_to_keep": kwargs.get("logits_to_keep") or 1,
        }
        if not num_past:
            images = {name: kwargs.get(name) for name in ("pixel_values", "grid_hw")}
            return {**inputs, **images, "input_ids": input_ids}
        times = times_of(input_ids, attention_mask, self.network.config.image_context_id)
        return {**inputs, "input_ids": input_ids[:, num_past:], "position_ids": times[:, num_past:]}

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, input_ids: Tensor | None = None, **others: Any
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Beams and several answers: each sequence is repeated with its own pictures."""
        patches, grids = others.pop("pixel_values", None), others.pop("grid_hw", None)
        images = [] if input_ids is None else images_of(input_ids, self.network.config.image_context_id)
        input_ids, others = super()._expand_inputs_for_generation(
            expand_size=expand_size, input_ids=input_ids, **others
        )
        if patches is not None and grids is not None and expand_size > 1:
            patches, grids = repeated_images(patches, grids, images, expand_size)
        return input_ids, {**others, "pixel_values": patches, "grid_hw": grids}

    @torch.no_grad()
    def chat(
        self,
        tokenizer: Any,
        pixel_values: Tensor | None,
        question: str,
        generation_config: Mapping[str, Any] | None = None,
        history: Sequence[tuple[str, str]] | None = None,
        *,
        return_history: bool = False,
        grid_hw: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """The answer to a question about pictures, as evaluation kits ask for it; greedy unless told otherwise.

        Each `<image>` of history and question stands for the next picture; without one, a picture of a first question
        stands before it. Text that spells a special token is text, as in training. `system_message` of the model
        comes first where it is not empty. Returns the answer, and with `return_history` the history with it.
        """
        told = [*(history or [])]
        counts = tokens_of(grid_hw)
        if counts and not told and IMAGE_PLACEHOLDER not in question:
            question = f"{IMAGE_PLACEHOLDER}\n" * len(counts) + question
        messages = _messages(self.system_message, told, question)
        backend = tokenizer.backend_tokenizer
        ids = torch.tensor([encode_prompt(backend, messages, counts).token_ids], device=self.device)
        special = special_ids(backend)
        greedy = {"max_new_tokens": 512, "do_sample": False, "pad_token_id": special.end_of_text}
        settings = {**greedy, **(generation_config or {}), "eos_token_id": [special.turn_end, special.end_of_text]}
        made = self.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixel_values, grid_hw=grid_hw, **settings
        )
        answer = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()
        return (answer, [*told, (question, answer)]) if return_history else answer


def _messages(system: str, history: Sequence[tuple[str, str]], question: str) -> list[dict[str, str]]:
    """A conversation up to a question."""
    messages = [{"role": "system", "content": system}] if system else []
    for asked, answered in history:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return [*messages, {"role": "user", "content": question}]
