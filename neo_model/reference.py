"""Compare this model with recorded numbers of the released code: `python -m neo_model.reference check DIR`.

Reads golden folders: a case, a conversion, or a folder of these. A case holds a packed row, the weights, and the
released code's logits, loss, patch embedding and gradients. A conversion holds a plain Qwen3 checkpoint, the tensors
that the released loader converts it to, and its text logits.

Exit code 0 if all differences are within fp32 rounding, else 1; the last line names the first tensor that differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from neo_model.attention.interface import Backend, BackendUnavailableError
from neo_model.config import PATCH_PX, PATCH_VALUES, NeoConfig
from neo_model.inputs.batch import IGNORED, Batch, assemble, ensure_image
from neo_model.inputs.positions import image_spans
from neo_model.model import NeoModel
from neo_model.weights.partition import parameter_shapes
from neo_model.weights.qwen3 import PREFIX, from_qwen3
from neo_model.weights.released import read_config, read_config_json, read_tensors
from neo_model.weights.tensor_report import check_tensors

MAX_LOGIT: Final = 5e-5
"""Largest allowed difference of a logit, a visual token or a final state."""
MAX_LOSS: Final = 5e-6
"""Largest allowed difference of the loss."""
MAX_GRADIENT: Final = 1e-4
"""Largest allowed difference of a gradient, as a share of its largest value, and of its norm, as a share of it."""

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """The difference between a recorded quantity and ours."""

    name: str
    absolute: float
    """Largest absolute difference of a value."""
    relative: float
    """Largest difference as a share of the largest recorded value."""
    within: bool

    def __str__(self) -> str:
        verdict = "ok " if self.within else "OUT"
        return f"{verdict} {self.name}: absolute {self.absolute:.2e}, relative {self.relative:.2e}"


def check(folder: Path, backend: Backend | None = None) -> Iterator[Difference]:
    """Differences of every case and conversion in `folder`, or of the one that it is."""
    cases = sorted(file.parent for file in folder.resolve().rglob("meta.json"))
    if not cases:
        raise FileNotFoundError(f"{folder} holds no meta.json, so no recorded case: name a golden folder")
    for case in cases:
        differences = check_conversion(case) if (case / "src_qwen3").is_dir() else check_case(case, backend)
        for one in differences:
            yield Difference(f"{case.name} {one.name}", one.absolute, one.relative, one.within)


def check_case(folder: Path, backend: Backend | None = None) -> Iterator[Difference]:
    """Positions, patch embedding, logits, loss and gradients of one packed row."""
    meta = json.loads((folder / "meta.json").read_bytes())
    config = read_config(folder)
    model = NeoModel(config, backend=backend)
    tensors = read_tensors(folder.parent / meta.get("weights_from", folder.name))
    check_tensors(tensors, parameter_shapes(config), what=str(folder))
    model.load_state_dict(tensors)
    inputs, outputs = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    for form in ("pixel_values", "image"):
        batch = read_batch(inputs, config, form=form)
        if batch is None:
            continue
        yield _exact(f"{form} positions", batch.positions.numpy(), inputs["indexes_thw"])
        if "vit_embeds" in outputs and len(batch.image_spans):
            yield _compare(f"{form} patch embedding", model.image_tokens(batch), outputs["vit_embeds"], limit=MAX_LOGIT)
        if "final_norm" in outputs:
            yield _compare(f"{form} final norm", model.final_states(batch), outputs["final_norm"], limit=MAX_LOGIT)
        yield _compare(f"{form} logits", model.logits(batch), outputs["logits"], limit=MAX_LOGIT)
        total = model(ensure_image(batch))
        loss = total.loss / total.weight
        yield _compare(f"{form} loss", loss.reshape(1), outputs["loss"], limit=MAX_LOSS)
        model.zero_grad()
        loss.backward()
        yield from _gradients(model, folder, form)


def check_conversion(folder: Path) -> Iterator[Difference]:
    """A plain Qwen3 to NEO: every converted tensor, and text logits with the pre-Buffer bypassed."""
    meta = json.loads((folder / "meta.json").read_bytes())
    source = folder / "src_qwen3"
    qwen3, tensors = read_config_json(source), read_tensors(source)
    config = _on_qwen3(qwen3, num_prebuffer_layers=int(meta["extra_num_layers"]))
    recorded = {PREFIX + name: value for name, value in load_file(folder / "converted_post.safetensors").items()}
    converted = from_qwen3(tensors, config)
    check_tensors(converted, {name: value.shape for name, value in recorded.items()}, what="the conversion")
    for name, value in recorded.items():
        yield _exact(name, converted[name].numpy(), value)
    text = load_file(folder / "text_logits.safetensors")
    bypassed = _on_qwen3(qwen3, num_prebuffer_layers=0)
    model = NeoModel(bypassed)
    model.load_state_dict(from_qwen3(tensors, bypassed), strict=False)
    batch = _text_batch(text["input_ids"].astype(np.int64))
    yield _compare("text logits, pre-Buffer bypassed", model.logits(batch), text["base_logits"], limit=MAX_LOGIT)


def read_batch(inputs: Arrays, config: NeoConfig, *, form: str = "pixel_values") -> Batch | None:
    """The recorded row, its pictures as normalised patches ("pixel_values") or as uint8 images ("image").

    None where the row has pictures, but not in that form. Labels are shifted over the whole row, as the released
    loss does.
    """
    grids = [(int(grid_h), int(grid_w)) for grid_h, grid_w in inputs["grid_hw"]]
    if form == "image":
        names = [f"image_{number}" for number in range(len(grids))]
        patches = [_cut_patches(inputs[name]) for name in names if name in inputs]
    else:
        ends = np.cumsum([grid_h * grid_w for grid_h, grid_w in grids])
        patches = np.split(inputs.get(form, np.zeros((0, PATCH_VALUES), np.float32)), ends[:-1]) if grids else []
    complete = len(patches) == len(grids) and all(len(part) for part in patches)
    if not complete or (form == "image" and not grids):
        return None
    token_ids = inputs["input_ids"].astype(np.int64)
    targets = np.append(inputs["labels"][1:], IGNORED).astype(np.int64)
    weights = np.append(inputs["loss_weight"][1:], 0).astype(np.float32)
    return assemble(
        token_ids=token_ids,
        targets=targets,
        weights=np.where(targets == IGNORED, np.float32(0), weights),
        starts=inputs["seq_boundaries"].astype(np.int64),
        spans=image_spans(token_ids, config.image_context_id),
        grids=grids,
        patches=patches,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m neo_model.reference", description="Compare with recorded numbers.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="compare every case in a golden folder")
    command.add_argument("folder", type=Path, metavar="DIR")
    command.add_argument("--backend", type=Backend, choices=list(Backend), help="default: the fastest here")
    options = parser.parse_args(arguments)
    first_out: Difference | None = None
    try:
        for difference in check(options.folder, options.backend):
            sys.stdout.write(f"{difference}\n")
            first_out = first_out or (None if difference.within else difference)
    except (OSError, ValueError, BackendUnavailableError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    verdict = "all within fp32 rounding" if first_out is None else f"first to differ: {first_out.name}"
    sys.stdout.write(f"{verdict}\n")
    return 0 if first_out is None else 1


def _gradients(model: NeoModel, folder: Path, form: str) -> Iterator[Difference]:
    """Recorded gradients value by value, then the norm of the gradient of every parameter."""
    grads = {name: _gradient(parameter) for name, parameter in model.named_parameters()}
    file = folder / "grads.safetensors"
    for name, recorded in (load_file(file) if file.is_file() else {}).items():
        yield _compare(
            f"{form} gradient {name}", grads[name], recorded, limit=MAX_GRADIENT * float(np.abs(recorded).max())
        )
    norms: dict[str, float | None] = json.loads((folder / "grad_norms.json").read_bytes())
    largest = max(norm or 0.0 for norm in norms.values())
    for name, norm in norms.items():
        expected = np.array([norm or 0.0], np.float64)
        limit = MAX_GRADIENT * max(float(expected[0]), 1e-7 * largest)
        yield _compare(f"{form} gradient norm {name}", grads[name].double().norm().reshape(1), expected, limit=limit)


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _compare(name: str, ours: Tensor, recorded: np.ndarray[Any, Any], *, limit: float) -> Difference:
    """Largest difference against `limit`; a NaN or another shape is out."""
    values = ours.detach().double().numpy()
    if values.shape != recorded.shape:
        return Difference(f"{name} (shape {values.shape} against {recorded.shape})", np.inf, np.inf, False)
    absolute = float(np.abs(values - recorded).max(initial=0.0))
    largest = float(np.abs(recorded).max(initial=0.0))
    return Difference(name, absolute, absolute / largest if largest else absolute, absolute <= limit)


def _exact(name: str, ours: np.ndarray[Any, Any], recorded: np.ndarray[Any, Any]) -> Difference:
    return _compare(name, torch.from_numpy(ours), recorded, limit=0.0)


def _on_qwen3(qwen3: dict[str, Any], *, num_prebuffer_layers: int) -> NeoConfig:
    """A NEO configuration whose image tokens, which text does not use, are the last rows."""
    last = int(qwen3["vocab_size"]) - 1
    return NeoConfig.from_qwen3(
        qwen3,
        num_prebuffer_layers=num_prebuffer_layers,
        image_start_id=last,
        image_context_id=last - 1,
        image_end_id=last - 2,
        patch_hidden=4,
    )


def _text_batch(token_ids: np.ndarray[Any, Any]) -> Batch:
    """One document of text, without targets. Its ids may be those of image tokens, which it does not mean."""
    none = np.zeros((0, 2), np.int64)
    return assemble(
        token_ids=token_ids,
        targets=np.full(len(token_ids), IGNORED, np.int64),
        weights=np.zeros(len(token_ids), np.float32),
        starts=np.array([0, len(token_ids)], np.int64),
        spans=none,
        grids=[],
        patches=[],
    )


def _cut_patches(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """uint8 [height, width, 3] -> [N, 768], row-major, (channel, row, column) inside a patch."""
    height, width, _ = image.shape
    cells = image.reshape(height // PATCH_PX, PATCH_PX, width // PATCH_PX, PATCH_PX, 3)
    return np.ascontiguousarray(cells.transpose(0, 2, 4, 1, 3)).reshape(-1, PATCH_VALUES)


if __name__ == "__main__":
    sys.exit(main())
