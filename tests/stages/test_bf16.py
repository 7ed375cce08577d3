"""bf16 through the stages: a language model as hubs serve it, in bf16 and in shards, from pre-Buffer to export.

With the output head tied to the embedding and without; killed once in each training, which ends with the same bits.
"""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.artifacts.kinds import BaseLlm
from stages.contract import GangLayout, Part, PartDraft, StageContext, Step, stage
from stages.export import ExportRecipe, export
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.stages.training.test_loop import committed_steps, die_after
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_rows, write_llm

SHARD_BYTES = 20_000
"""Largest shard of the language model, which has 40 kB in bf16."""


class HubRecipe(LlmRecipe):
    """The random language model of the small world, as a hub would serve it."""

    tied: bool = True
    """Whether the output head is the embedding table."""


@stage(number=1, recipe=HubRecipe, makes=BaseLlm)
def make_hub_llm(recipe: HubRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_hub_llm, recipe=recipe), over=[Part(name="00000")], phase="train")


def write_hub_llm(part: Part, draft: PartDraft, recipe: HubRecipe) -> None:
    """In bf16, with a head of its own unless it is tied, in several shards with an index."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = draft.scratch / "model"
    folder.mkdir()
    write_llm(part, SimpleNamespace(path=lambda name: draft.scratch / name), recipe)
    draft.path("model/tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    tensors = {name: value.bfloat16() for name, value in load_file(folder / "model.safetensors").items()}
    if not recipe.tied:
        chance = torch.Generator().manual_seed(recipe.seed + 1)
        tensors["lm_head.weight"] = (0.1 * torch.randn(320, recipe.hidden, generator=chance)).bfloat16()
    shards: list[dict[str, torch.Tensor]] = [{}]
    for name, value in tensors.items():
        if sum(one.nbytes for one in shards[-1].values()) + value.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
        shards[-1][name] = value
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, draft.path(f"model/{name}"), {"format": "pt"})
    weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    draft.path("model/model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config = json.loads((folder / "config.json").read_text())
    config |= {"tie_word_embeddings": recipe.tied, "torch_dtype": "bfloat16"}
    draft.path("model/config.json").write_text(json.dumps(config))


def steps_of(*, tied: bool) -> tuple[Step, Step, Step]:
    """Pre-Buffer, tuned model, export."""
    llm = make_hub_llm.bind("llm", HubRecipe(tied=tied))
    rows = make_rows.bind("rows", RowsRecipe(), llm)
    common = {"num_steps": 4, "rows_per_step": 4, "peak_learning_rate": 1e-2, "checkpoint_every_steps": 2}
    recipe = TrainPrebufferRecipe(num_prebuffer_layers=1, patch_hidden=16, num_warmup_steps=1, **common)
    buffer = train_prebuffer.bind("prebuffer", recipe, [rows], llm)
    merged = merge_post_llm.bind("merged", MergeRecipe(), buffer, llm)
    tuned = tune_end_to_end.bind("tuned", TuneRecipe(num_warmup_steps=1, **common), merged, [rows])
    return buffer, tuned, export.bind("exported", ExportRecipe(title="small"), tuned)


def ranks(zero_stage: int) -> GangLayout:
    return GangLayout(num_ranks=2, zero_stage=zero_stage, persistent_parameter_values=0)


@pytest.mark.parametrize("tied", [True, False])
def test_a_pipeline_in_bf16_killed_once_in_each_training(tied: bool, tmp_path: Path) -> None:
    import torch

    from neo_model.generate import Prompt, generate
    from neo_model.weights.released import load_model, read_config_json

    buffer, tuned, exported = steps_of(tied=tied)
    assert buffer.recipe.precision == tuned.recipe.precision == "bf16"
    killed, straight = (SmallWorld.at(tmp_path / name) for name in ("killed", "straight"))
    for step, zero_stage in ((buffer, 2), (tuned, 3)):
        with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
            killed.make(step, ranks(zero_stage), trouble=partial(die_after, step=2))
        assert committed_steps(killed, step) == [2]
        resumed, whole = (world.make(step, ranks(zero_stage)) for world in (killed, straight))
        assert [entry.sha256 for entry in resumed.parts[-1].files] == [entry.sha256 for entry in whole.parts[-1].files]
    killed.make(exported)
    folder = killed.open(exported).copy_to(tmp_path / "folder")
    model = load_model(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.config.tied is tied
    assert read_config_json(folder)["torch_dtype"] == "bfloat16"
    assert len(generate(model, [Prompt(token_ids=[1, 2, 3])], max_new_tokens=3, stop_ids=[])[0]) == 3
