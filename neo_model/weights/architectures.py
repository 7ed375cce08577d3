"""Which network a model folder holds: told by its configuration and the shapes of its tensors, before they are read.

Owns the refusal, by name, of folders that look like a plain Qwen3 or like a NEO and are another network. Labels are
not trusted alone: published NEO folders call themselves `internvl_chat`, and SenseNova-U1, another network, calls
itself `neo_chat`. Shapes against the configuration are compared by `tensor_report.py`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from neo_model.config_fields import shown
from neo_model.weights.headers import TensorEntry

READ_DTYPES: Final = ("F32", "F16", "BF16")
"""Dtypes of weights that are read, as safetensors spells them."""
NEO_LABELS: Final = ("neo_chat", "internvl_chat")
"""Values of `model_type` that published NEO folders carry."""
_OTHER_LABELS: Final = {
    "qwen3_moe": "a mixture of experts; NEO grows on the dense Qwen3",
    "qwen2": "the generation before Qwen3, without norms of queries and keys",
    "qwen3_next": "another network than Qwen3",
    "qwen3_vl": "a vision-language model; NEO grows on the plain Qwen3",
    "neo_chat": "a NEO checkpoint: import_checkpoint reads it",
    "qwen3": "a plain language model: fetch_llm reads it",
}
_QWEN3_CLASS: Final = "Qwen3ForCausalLM"
_NAMED: Final = 4
"""Tensors that an error lists by name."""


class OtherArchitectureError(ValueError):
    """The folder holds another network than the one that was asked for; the message lists every sign of it."""


def check_is_qwen3(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> None:
    """Raise OtherArchitectureError unless `config.json` and the tensors are those of a plain dense Qwen3."""
    faults = [*_label_faults(config, ("qwen3",)), *_qwen3_faults(config, tensors), *_dtype_faults(config, tensors)]
    if faults:
        raise OtherArchitectureError("is no plain Qwen3 that NEO can grow on: " + "; ".join(faults))


def check_is_neo(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> None:
    """Raise OtherArchitectureError unless `config.json` and the tensors are those of a NEO."""
    faults = [*_label_faults(config, NEO_LABELS), *_neo_faults(config, tensors), *_dtype_faults(config, tensors)]
    if faults:
        raise OtherArchitectureError("is no NEO checkpoint: " + "; ".join(faults))


def _label_faults(config: Mapping[str, Any], labels: tuple[str, ...]) -> Iterator[str]:
    label = config.get("model_type")
    if label not in labels:
        known = f", {_OTHER_LABELS[label]}" if isinstance(label, str) and label in _OTHER_LABELS else ""
        yield f"model_type is {shown(label)}{known}"


def _qwen3_faults(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> Iterator[str]:
    classes = config.get("architectures") or [_QWEN3_CLASS]
    if not isinstance(classes, list) or _QWEN3_CLASS not in classes:
        yield f"architectures is {shown(classes)}, and not {_QWEN3_CLASS}"
    experts = [name for name in tensors if ".experts." in name or name.endswith("mlp.gate.weight")]
    if experts:
        yield f"it has experts ({_some(experts)})"
    biases = [name for name in tensors if ".self_attn." in name and name.endswith(".bias")]
    if biases:
        yield f"its attention has biases ({_some(biases)})"
    if tensors and not any(name.startswith("model.") for name in tensors):
        first = next(iter(tensors))
        yield (
            f"its tensors are not named `model.…` ({first}): it was saved without its output head, as embedding models "
            "and adapters are"
        )


def _neo_faults(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> Iterator[str]:
    joint = next((name for name in tensors if name.endswith(("q_norm_hw.weight", "k_norm_hw.weight"))), None)
    width = next((entry.shape for name, entry in tensors.items() if name.endswith("self_attn.q_norm.weight")), (0,))
    llm = config.get("llm_config")
    head_dim = llm.get("head_dim") if isinstance(llm, Mapping) else None
    if joint is not None or (width != (0,) and (2 * width[0],) == (head_dim,)):
        yield (
            "it is a SenseNova-U1, which shares model_type neo_chat and is another network: it splits each head of "
            f"128 into 64 + 32 + 32 channels and has one norm for height and width (q_norm is {width}"
            f"{f', there is {joint}' if joint else ''}), where NEO adds 64 + 64 channels to a head of 128"
        )
        return
    foreign = [name for name in tensors if name.startswith(("vision_model.encoder.", "mlp1."))]
    if foreign:
        yield f"it has a vision encoder ({_some(foreign)}): it is an InternVL, NEO reads patches without an encoder"
        return
    if tensors and not any(name.endswith(".q_proj_hw.weight") for name in tensors):
        yield "no layer has height and width queries (q_proj_hw)"
    if not isinstance(llm, Mapping):
        yield "config.json has no llm_config"
    elif not isinstance(config.get("vision_config") or {}, Mapping):
        yield "vision_config is no JSON object"
    elif not (llm.get("rope_theta") or llm.get("rope_parameters")):
        yield (
            "llm_config has no rope_theta: transformers would compute with 10,000, the published NEO models with "
            "1,000,000; write the right one into config.json"
        )


def _dtype_faults(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> Iterator[str]:
    for section in (config, config.get("llm_config")):
        if not isinstance(section, Mapping):
            continue
        for name in ("quantization_config", "compression_config"):
            if section.get(name):
                method = section[name].get("quant_method", "") if isinstance(section[name], Mapping) else ""
                how = f" {shown(method)}" if method else ""
                yield f"its weights are quantized ({name}{how}): take the folder in bf16"
    odd = {name: entry.dtype for name, entry in tensors.items() if entry.dtype not in READ_DTYPES}
    if odd:
        kinds = ", ".join(sorted(set(odd.values())))
        yield f"{len(odd)} tensors are {kinds} ({_some(odd)}): weights are read as {', '.join(READ_DTYPES)}"


def _some(names: Mapping[str, object] | list[str]) -> str:
    names = list(names)
    rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *rest])
