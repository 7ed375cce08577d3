"""The released checkpoint folder: config.json, safetensors in one file or in shards with an index, tokenizer files.

Owns reading and writing of such folders, ours and foreign ones, and reading of plain Qwen3 folders, which have the
same form. Pickles and code are never opened. The same arguments write the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neo_model.config import NeoConfig
from neo_model.config_fields import shown
from neo_model.model import NeoModel
from neo_model.weights.architectures import check_is_neo
from neo_model.weights.head import is_tied, states_tied
from neo_model.weights.headers import SHARD_NAME, TensorEntry, read_header
from neo_model.weights.partition import parameter_shapes
from neo_model.weights.precision import common_dtype, dtype_name
from neo_model.weights.tensor_report import check_tensors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_SHARD_BYTES: Final = 5_000_000_000
"""Largest shard, in bytes; a larger checkpoint is written in several."""
CONFIG_FILE: Final = "config.json"
SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
EMBEDDING: Final = "language_model.model.embed_tokens.weight"
"""Name of the embedding table in a NEO folder."""
HEAD: Final = "language_model.lm_head.weight"
"""Name of the output head in a NEO folder, where it has one."""
SIDECAR_SUFFIXES: Final = frozenset({".json", ".txt", ".jinja"})
"""Suffixes of the files that are copied with the weights; code and pickles never are."""
TERMS: Final = ("license", "licence", "notice", "copying", "usage_policy")
"""How the names of files begin that hold the terms of a model; they are copied too."""
CHAT_TEMPLATE_FILE: Final = "chat_template.jinja"
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


_INHERITED: Final = (CHAT_TEMPLATE_FILE, "generation_config.json")


class ReleasedFolderError(ValueError):
    """A folder that is no readable checkpoint; the message gives the file and what to do."""


def read_config_json(folder: Path) -> dict[str, Any]:
    """`config.json` of a NEO or a Qwen3 folder, unchanged."""
    return _read_json(folder / CONFIG_FILE)


def read_config(folder: Path) -> NeoConfig:
    """The configuration of a NEO folder, in the form of either kit."""
    return NeoConfig.from_released(read_config_json(folder))


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, NEO or Qwen3, by name, on the CPU.

    Raises ReleasedFolderError for pickled weights, missing shards, damaged files, and shards that disagree with
    their index.
    """
    tensors: dict[str, Tensor] = {}
    for file_name, expected in _shards(folder).items():
        shard = _read_file(folder / file_name)
        if expected is not None and set(shard) != expected:
            odd = sorted(set(shard) ^ expected)
            raise ReleasedFolderError(f"{folder / file_name} and {INDEX_FILE} disagree on {', '.join(odd[:6])}")
        tensors |= shard
    return tensors


def read_headers(folder: Path) -> dict[str, TensorEntry]:
    """Dtype and shape of every tensor of a folder, NEO or Qwen3, by name. Raises ReleasedFolderError, HeaderError."""
    entries: dict[str, TensorEntry] = {}
    for file_name in _shards(folder):
        file = _present(folder / file_name)
        with file.open("rb") as opened:
            entries |= read_header(opened, file.stat().st_size, str(file))
    return entries


def read_checkpoint(folder: Path) -> tuple[NeoConfig, dict[str, Tensor]]:
    """Configuration and tensors of a NEO folder, on the CPU.

    Published folders store the output head although it is the embedding table: such a copy is left out, and the
    configuration is tied (`head.py`). Raises OtherArchitectureError for another network, before its weights are read;
    HeadError for a head that contradicts the configuration; TensorMismatchError naming every unknown, missing and
    misshapen tensor.
    """
    stated = read_config_json(folder)
    check_is_neo(stated, read_headers(folder))
    tensors = read_tensors(folder)

    def differs() -> bool:
        return not _same_bits(tensors[HEAD], tensors[EMBEDDING])

    tied = is_tied(states_tied(stated), is_stored={HEAD, EMBEDDING} <= tensors.keys(), differs=differs)
    config = replace(NeoConfig.from_released(stated), tied=tied)
    if tied:
        tensors.pop(HEAD, None)
    check_tensors(tensors, parameter_shapes(config), what=str(folder))
    return config, tensors


def load_model(folder: Path, *, dtype: torch.dtype | None = None) -> NeoModel:
    """The model of a NEO folder, on the CPU, in `dtype` or the precision of the file: its widest where it has several.

    Raises what `read_checkpoint` raises.
    """
    config, tensors = read_checkpoint(folder)
    with torch.device("meta"):
        model = NeoModel(config)
    dtype = dtype or common_dtype(tensors)
    model.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
    return model.requires_grad_(True)


def read_sidecars(folder: Path) -> dict[str, bytes]:
    """Tokenizer, generation and other settings of a folder, and its terms: file name to bytes, config.json included."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and _is_sidecar(file))
    return {file.name: file.read_bytes() for file in files if file.name != INDEX_FILE}


def inherited_sidecars(folder: Path) -> dict[str, bytes]:
    """What a checkpoint takes over from the folder of its language model: chat template, generation settings, terms.

    A chat template inside `tokenizer_config.json`, as transformers wrote it before 4.44, becomes a file of its own.
    """
    sidecars = {name: data for name, data in read_sidecars(folder).items() if name in _INHERITED or _is_terms(name)}
    settings = folder / "tokenizer_config.json"
    if CHAT_TEMPLATE_FILE not in sidecars and settings.is_file():
        template = _read_json(settings).get("chat_template")
        if isinstance(template, list):  # several templates by name
            template = next((one.get("template") for one in template if one.get("name") == "default"), None)
        if isinstance(template, str):
            sidecars[CHAT_TEMPLATE_FILE] = template.encode()
    return sidecars


def tokenizer_sidecars(tokenizer: Tokenizer) -> dict[str, bytes]:
    """The files from which `transformers.AutoTokenizer` makes this tokenizer."""
    from neo_model.inputs.conversation import END_OF_TEXT, SPECIAL_TOKENS, TURN_END

    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1_000_000,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "additional_special_tokens": list(SPECIAL_TOKENS),
    }
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": _json_bytes(settings),
    }


def write_released(
    folder: Path,
    config: NeoConfig,
    tensors: Mapping[str, Tensor],
    sidecars: Mapping[str, bytes],
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write a checkpoint into an empty or new folder; the same arguments give the same bytes.

    A `config.json` among the sidecars is kept unchanged if it describes `config` and states no other precision than
    that of the tensors: reading a foreign folder and writing it again changes nothing. Raises TensorMismatchError
    before anything is written.
    """
    shapes = parameter_shapes(config)
    check_tensors(tensors, shapes, what="the checkpoint to write")
    folder.mkdir(parents=True, exist_ok=True)
    shards = cut_into_shards({name: tensors[name] for name in shapes}, max_shard_bytes)
    for file_name, shard in shards.items():
        save_file({name: tensor.contiguous() for name, tensor in shard.items()}, folder / file_name, {"format": "pt"})
    if len(shards) > 1:
        (folder / INDEX_FILE).write_bytes(_json_bytes(index_of(shards)))
    for file_name, content in sidecars.items():
        (folder / file_name).write_bytes(content)
    content = _config_json(sidecars.get(CONFIG_FILE), config, dtype_name(common_dtype(tensors)))
    (folder / CONFIG_FILE).write_bytes(content)


def _is_sidecar(file: Path) -> bool:
    return file.suffix in SIDECAR_SUFFIXES or _is_terms(file.name)


def _is_terms(name: str) -> bool:
    return name.lower().startswith(TERMS) and Path(name).suffix.lower() in ("", ".md", ".txt")


def _shards(folder: Path) -> dict[str, set[str] | None]:
    """Weight files, and from an index the tensor names in each."""
    if (folder / INDEX_FILE).is_file():
        weight_map = _read_json(folder / INDEX_FILE).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ReleasedFolderError(f"{folder / INDEX_FILE} has no weight_map")
        shards: dict[str, set[str] | None] = {}
        for name, file_name in weight_map.items():
            if not isinstance(file_name, str) or not SHARD_NAME.fullmatch(file_name):
                raise ReleasedFolderError(
                    f"{INDEX_FILE} puts {shown(name)} into {shown(file_name)}, which is no shard beside it"
                )
            names = shards.setdefault(file_name, set())
            if names is not None:
                names.add(name)
        return shards
    if (folder / SINGLE_FILE).is_file():
        return {SINGLE_FILE: None}
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        raise ReleasedFolderError(
            f"{folder} has its weights in {pickles[0]}: pickles can run code and are not opened. Convert them to "
            "safetensors in an isolated process (torch.load with weights_only=True, then safetensors.torch.save_file)"
        )
    raise ReleasedFolderError(f"{folder} has neither {SINGLE_FILE} nor {INDEX_FILE}: is it a checkpoint folder?")


def _same_bits(one: Tensor, other: Tensor) -> bool:
    same_form = one.dtype == other.dtype and one.shape == other.shape
    return same_form and torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


def _read_file(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(_present(file), framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ReleasedFolderError(f"{file} is damaged ({error}): fetch it again") from error


def _present(file: Path) -> Path:
    if not file.is_file():
        raise ReleasedFolderError(f"{file} is missing: fetch the folder again")
    return file


def cut_into_shards(tensors: Mapping[str, Tensor], max_shard_bytes: int) -> dict[str, dict[str, Tensor]]:
    """File name to tensors, in order, each file at most `max_shard_bytes` unless a single tensor is larger.

    Nothing of the tensors is read: those of the meta device are cut as well.
    """
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        if shards[-1] and filled + tensor.nbytes > max_shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += tensor.nbytes
    if len(shards) == 1:
        return {SINGLE_FILE: shards[0]}
    return {f"model-{n:05d}-of-{len(shards):05d}.safetensors": shard for n, shard in enumerate(shards, start=1)}


def index_of(shards: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
    """The index of shards: total size in bytes, and the file of each tensor by name."""
    total = sum(tensor.nbytes for shard in shards.values() for tensor in shard.values())
    weight_map = {name: file_name for file_name, shard in shards.items() for name in shard}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}


def _config_json(given: bytes | None, config: NeoConfig, dtype: str) -> bytes:
    """What `config.json` holds: the given one, if it fits, else ours; with `dtype` where transformers looks for it."""
    is_kept = given is not None and _describes(given, config)
    stated: dict[str, Any] = json.loads(given) if is_kept and given is not None else config.to_released()
    name = "dtype" if "dtype" in stated else "torch_dtype"  # transformers 5 writes the shorter name, and reads both
    if is_kept and given is not None and stated.get(name, dtype) == dtype:
        return given
    return _json_bytes({**stated, name: dtype})


def _describes(content: bytes | None, config: NeoConfig) -> bool:
    if content is None:
        return False
    try:
        return NeoConfig.from_released(json.loads(content)) == config
    except ValueError:
        return False


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ReleasedFolderError(f"{file} is missing")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ReleasedFolderError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ReleasedFolderError(f"{file} is no JSON object")
    return content


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
