"""Finds the weight files of a model folder and reads their headers: every tensor, before any of its bytes are copied.

Owns the refusals that need no knowledge of the network: pickles only, missing shards, shards that disagree with their
index, files that are cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from neo_model.config_fields import shown
from neo_model.weights.headers import SHARD_NAME
from stages.contract import StageError
from stages.model_folders.folder import INDEX_FILE, ForeignFolder
from stages.surfaces.first_few import first_few

if TYPE_CHECKING:
    from neo_model.weights.headers import TensorEntry

SINGLE_FILE: Final = "model.safetensors"
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_OTHER_FORMS: Final = {
    ".gguf": "GGUF holds quantized weights",
    ".onnx": "ONNX holds a compiled network",
    ".h5": "weights of TensorFlow",
    ".msgpack": "weights of Flax",
}


@dataclass(frozen=True)
class FoundWeights:
    """The weight files of a folder and what their headers say."""

    files: tuple[str, ...]
    """Names of the weight files, in alphabetical order."""
    entries: Mapping[str, TensorEntry]
    """Tensor name to its dtype, shape and place."""
    file_of: Mapping[str, str]
    """Tensor name to the name of its file."""

    @property
    def dtypes(self) -> list[str]:
        """Dtypes that occur, in alphabetical order."""
        return sorted({entry.dtype for entry in self.entries.values()})

    @property
    def num_parameters(self) -> int:
        """Number of values in all tensors."""
        return sum(entry.num_values for entry in self.entries.values())


def find_weights(folder: ForeignFolder) -> FoundWeights:
    """The weight files of a folder. Raises `StageError` in words where they are missing, pickled or cut off."""
    from neo_model.weights.headers import HeaderError, read_header

    promised = _promised_files(folder)
    missing = sorted(name for name in promised if name not in folder.files)
    if missing:
        raise StageError(
            f"{folder} lacks {len(missing)} of the {len(promised)} weight files that {INDEX_FILE} names: "
            f"{first_few(missing, 6)}; fetch them and pin the source again"
        )
    entries: dict[str, TensorEntry] = {}
    file_of: dict[str, str] = {}
    for name in sorted(promised):
        try:
            with folder.open(name) as opened:
                found = read_header(opened, folder.files[name].size_bytes, name)
        except HeaderError as error:
            raise StageError(f"{folder}: {error}; fetch the file and pin the source again") from error
        _check_against_index(folder, name, set(found), promised[name])
        entries |= found
        file_of |= dict.fromkeys(found, name)
    return FoundWeights(tuple(sorted(promised)), entries, file_of)


def _promised_files(folder: ForeignFolder) -> dict[str, set[str] | None]:
    """Weight file to the tensors that the index puts there; None for a single file without an index."""
    if INDEX_FILE not in folder.files:
        if SINGLE_FILE in folder.files:
            return {SINGLE_FILE: None}
        raise StageError(f"{folder} {_why_no_weights(folder)}")
    weight_map = folder.read_json(INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise StageError(f"{folder}: {INDEX_FILE} has no weight_map")
    promised: dict[str, set[str] | None] = {}
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or not SHARD_NAME.fullmatch(file):
            raise StageError(
                f"{folder}: {INDEX_FILE} puts {shown(tensor)} into {shown(file)}, which is no shard beside it"
            )
        names = promised.setdefault(file, set())
        if names is not None:
            names.add(tensor)
    if SINGLE_FILE in folder.files and SINGLE_FILE not in promised:
        raise StageError(
            f"{folder} has both {SINGLE_FILE} and {INDEX_FILE}, which names other files: remove what is not the model"
        )
    return promised


def _why_no_weights(folder: ForeignFolder) -> str:
    names = list(folder.files)
    shards = [name for name in names if name.endswith(".safetensors")]
    if "adapter_config.json" in names or "adapter_model.safetensors" in names:
        return "holds an adapter (LoRA), not a model: merge it into its base model and save that"
    if shards:
        return f"has {first_few(shards, 3)}, but neither {SINGLE_FILE} nor {INDEX_FILE}: fetch the index too"
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        return (
            f"has its weights in {pickles[0]}, a pickle, which can run code and is never opened: convert it to "
            "safetensors in an isolated process (torch.load with weights_only=True, then safetensors.torch.save_file)"
        )
    for suffix, what in _OTHER_FORMS.items():
        other = next((name for name in names if name.endswith(suffix)), None)
        if other:
            return f"has its weights in {other} ({what}): take the folder in safetensors"
    return f"has neither {SINGLE_FILE} nor {INDEX_FILE}, so no weights; its files are {first_few(names, 6)}"


def _check_against_index(folder: ForeignFolder, name: str, found: set[str], promised: set[str] | None) -> None:
    odd = sorted(found ^ promised) if promised is not None else []
    if odd:
        named = first_few([shown(one) for one in odd], 6)
        raise StageError(f"{folder}: {name} and {INDEX_FILE} disagree on {len(odd)} tensors: {named}")
