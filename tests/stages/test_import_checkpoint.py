"""A released NEO comes in, in every published form, and can be tuned on, cut and exported; a look-alike does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cluster.local import make
from neo_model.config import NEO_9B, NeoConfig
from neo_model.weights.released import HEAD, load_model, read_tensors
from stages.artifacts.kinds import Checkpoint
from stages.contract import Source, StageError, Step
from stages.export import ExportRecipe, differences, export
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.mix_samples import MixRecipe, mix_samples
from stages.model_folders.neo_folder import ORIGINAL_CONFIG_FILE
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.store import Store
from stages.take_prebuffer import TakePrebufferRecipe, take_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.hub_server import hub_server
from tests.worlds.mixture_world import PairsRecipe, make_pairs
from tests.worlds.model_folders import Form, neo_config, write_look_alike, write_neo, write_qwen3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "neo"


def bound(**fields: Any) -> Step[Checkpoint]:
    return import_checkpoint.bind("released", ImportCheckpointRecipe(source=Source("neo"), **fields))


def imported(where: Path | str, store: Path, **fields: Any) -> Checkpoint:
    return make(bound(**fields), Store(store), sources={"neo": str(where)})


def facts_of(checkpoint: Checkpoint) -> dict[str, Any]:
    return checkpoint.part("00000", "inspect").facts


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize(("tied", "head"), [(True, "absent"), (True, "equal"), (False, "absent")])
@pytest.mark.parametrize("form", ["train_kit", "hub", "internvl"])
def test_every_published_form_is_the_same_model(
    form: Form, tied: bool, head: Any, num_shards: int, folder: Path, tmp_path: Path
) -> None:
    config = neo_config(tied=tied)
    tensors = write_neo(folder, config=config, form=form, head=head, num_shards=num_shards)
    depth = {} if form == "train_kit" else {"num_prebuffer_layers": 1}
    checkpoint = imported(folder, tmp_path / "store", **depth)
    copy = checkpoint.copy_to(tmp_path / "copy")
    model = load_model(copy)
    assert model.config == config
    assert model.state_dict().keys() == (tensors.keys() - {HEAD} if tied else tensors.keys())
    assert all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())
    written = json.loads((copy / "config.json").read_text())
    assert written.items() >= {**config.to_released(), "vision_config": written["vision_config"]}.items()
    assert written.get("template") == (None if form == "train_kit" else "neo1_0")
    for weights in folder.glob("*.safetensors"):
        assert (copy / weights.name).read_bytes() == weights.read_bytes()
    facts = facts_of(checkpoint)
    assert facts["head"] == ("own" if not tied else "table, stored twice" if head == "equal" else "table")
    assert (facts["num_prebuffer_layers"], facts["depth_is_stated"]) == (1, form == "train_kit")
    assert facts["left_out"] == ["modeling_neo_chat.py"]
    original = checkpoint.read(checkpoint.part("00000", "inspect").file(ORIGINAL_CONFIG_FILE))
    assert original == (folder / "config.json").read_bytes()
    assert {"LICENSE", "chat_template.jinja", "generation_config.json"} <= {file.name for file in copy.iterdir()}


def test_from_a_hub_at_a_commit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_neo(folder, form="hub", head="equal", num_shards=2)
    with hub_server({"models/Paranioar/NEO-tiny": folder}) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        checkpoint = imported("hf://Paranioar/NEO-tiny", tmp_path / "store", num_prebuffer_layers=1)
    assert checkpoint.part("00000", "inspect").made_by["commit"] == "c0ffee" + "0" * 34
    assert load_model(checkpoint.copy_to(tmp_path / "copy")).config == neo_config()


def test_it_packs_rows_is_tuned_cut_and_exported(folder: Path, tmp_path: Path) -> None:
    """With a head that is stored twice, as in the published 2B files."""
    write_neo(folder, form="hub", head="equal", num_shards=2, dtype="float32")
    released = bound(num_prebuffer_layers=1)
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), make_pairs.bind("pairs", PairsRecipe(decodable=True)))
    mixed = mix_samples.bind("mix", MixRecipe(shares={"pairs": 1.0}), {"pairs": kept})
    packing = PackRowsRecipe(max_row_tokens=512, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
    rows = pack_rows.bind("rows", packing, mixed, released)
    tune = TuneRecipe(
        num_steps=1, rows_per_step=2, peak_learning_rate=1e-3, num_warmup_steps=0, precision="fp32",
        checkpoint_every_steps=1,
    )  # fmt: skip
    tuned = tune_end_to_end.bind("tuned", tune, released, [rows])
    store, sources = Store(tmp_path / "store"), {"neo": str(folder)}
    after = load_model(make(tuned, store, sources=sources).copy_to(tmp_path / "tuned"))
    assert after.config.tied
    taken = make(take_prebuffer.bind("taken", TakePrebufferRecipe(), released), store, sources=sources)
    assert taken.parts[0].facts["num_tensors"] == 4 + 17 + 2 * 6
    exported = make(export.bind("exported", ExportRecipe(), released), store, sources=sources)
    assert load_model(exported.copy_to(tmp_path / "exported")).config == neo_config()


@pytest.mark.parametrize(("form", "head"), [("hub", "equal"), ("hub", "absent"), ("internvl", "absent")])
def test_what_came_in_goes_out_the_same(form: Form, head: Any, folder: Path, tmp_path: Path) -> None:
    """Weights to the bit, settings field by field, every other file to the byte; the code is ours."""
    stated = {"template": "neo1_0", "system_message": "Be brief.", "force_image_size": 448, "own": {"deep": [1, None]}}
    tensors = write_neo(folder, form=form, head=head, num_shards=3, changes={**stated, "torch_dtype": "bfloat16"})

    def with_more(config: dict[str, Any]) -> None:
        config["llm_config"] |= {"use_cache": True, "initializer_range": 0.01, "own_llm": 3, "hidden_size": None}
        config["vision_config"] |= {"own_vision": "x"}

    edited(with_more)(folder)
    (folder / "preprocessor_config.json").write_text('{"do_resize": false, "own": 7}')
    store, sources = Store(tmp_path / "store"), {"neo": str(folder)}
    exported = make(export.bind("out", ExportRecipe(), bound(num_prebuffer_layers=1)), store, sources=sources)
    copy = exported.copy_to(tmp_path / "out")
    read = read_tensors(copy)
    assert read.keys() == tensors.keys() - ({HEAD} if head == "equal" else set())
    assert differences(read, {name: tensors[name] for name in read}) == []
    before, after = json.loads((folder / "config.json").read_text()), json.loads((copy / "config.json").read_text())
    ours = {"auto_map", "model_type", "architectures", "tie_word_embeddings"}
    assert {name: after[name] for name in stated} == stated
    for section in ("llm_config", "vision_config"):
        kept = {k: v for k, v in before.pop(section).items() if k not in ours and v is not None}
        assert after.pop(section).items() >= kept.items()
    assert after.items() >= {k: v for k, v in before.items() if k not in ours}.items()
    assert (after["model_type"], after["architectures"]) == ("neo_chat", ["NEOChatModel"])
    assert json.loads((copy / "preprocessor_config.json").read_text()).items() >= {"do_resize": False, "own": 7}.items()
    assert json.loads((copy / "generation_config.json").read_text())["temperature"] == 0.6
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "LICENSE"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name
    again = make(bound(), Store(tmp_path / "again"), sources={"neo": str(copy)})
    assert load_model(again.copy_to(tmp_path / "again_copy")).config == neo_config()


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def of_another_network(folder: Path) -> None:
    shutil.rmtree(folder)
    write_look_alike(folder)


def of_a_language_model(folder: Path) -> None:
    shutil.rmtree(folder)
    write_qwen3(folder)


def no_depth(config: dict[str, Any]) -> None:
    del config["llm_config"]["extra_num_layers"]


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "depth unknown": (
        edited(no_depth),
        "no extra_num_layers.*3 layers of width 32.*give num_prebuffer_layers, a number",
    ),
    "depth of zero": (
        edited(lambda c: c["llm_config"].update(extra_num_layers=0)),
        "pre-Buffer of 0 layers, which is no",
    ),
    "look-alike": (of_another_network, "is no NEO checkpoint: it is a SenseNova-U1"),
    "language model": (of_a_language_model, "model_type is 'qwen3', a plain language model: fetch_llm reads it"),
    "ids of another model": (
        edited(lambda c: c.update(img_start_token_id=5)),
        r"img_start_token_id is 5 in config\.json, and 291 in the tokenizer",
    ),
    "more layers": (
        edited(lambda c: c["llm_config"].update(num_hidden_layers=4)),
        r"17 missing: language_model\.model\.layers\.3\.input_layernorm",
    ),
    "fewer layers": (
        edited(lambda c: c["llm_config"].update(num_hidden_layers=2)),
        r"17 unknown: language_model\.model\.layers\.2",
    ),
    "no base": (edited(lambda c: c["llm_config"].pop("rope_theta")), "llm_config has no rope_theta"),
    "no sections": (edited(lambda c: c.pop("llm_config")), r"config\.json has no llm_config"),
    "sections that are none": (edited(lambda c: c.update(llm_config=[1])), r"config\.json has no llm_config"),
    "a vision section that is none": (edited(lambda c: c.update(vision_config=[1])), "vision_config is no JSON object"),
    "a depth that is none": (
        edited(lambda c: c["llm_config"].update(extra_num_layers="one")),
        "extra_num_layers = 'one' is no whole number from 0 to 1,000",
    ),
    "a width that is a list": (
        edited(lambda c: c["llm_config"].update(hidden_size=[32, 32])),
        "hidden_size = .32, 32. is no",
    ),
    "other patches": (edited(lambda c: c["vision_config"].update(patch_size=14)), "patch_size = 14 is not supported"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_refused_in_words_before_it_is_copied(case: str, folder: Path, tmp_path: Path) -> None:
    write_neo(folder)
    spoil, message = REFUSED[case]
    spoil(folder)
    with pytest.raises(StageError, match=f"source 'neo'.*{message}"):
        imported(folder, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_the_depth_that_is_stated_cannot_be_contradicted(folder: Path, tmp_path: Path) -> None:
    write_neo(folder)
    with pytest.raises(StageError, match=r"extra_num_layers = 1 in config\.json, and num_prebuffer_layers = 2"):
        imported(folder, tmp_path / "store", num_prebuffer_layers=2)


def test_a_head_that_contradicts_its_configuration_is_taken_where_asked_for(folder: Path, tmp_path: Path) -> None:
    tensors = write_neo(folder, head="different")
    with pytest.raises(StageError, match=r"tie_word_embeddings true.*differs.*own_head=True"):
        imported(folder, tmp_path / "store")
    checkpoint = imported(folder, tmp_path / "store", own_head=True)
    model = load_model(checkpoint.copy_to(tmp_path / "copy"))
    assert (model.config.tied, facts_of(checkpoint)["head"]) == (False, "own")
    assert torch.equal(model.state_dict()[HEAD], tensors[HEAD])


def test_sizes_left_to_defaults_are_read_from_the_tensors(folder: Path, tmp_path: Path) -> None:
    """A configuration inside another is written without the values that its class has by default."""
    write_neo(folder, form="hub")

    def thin(config: dict[str, Any]) -> None:
        for name in ("hidden_size", "vocab_size", "head_dim", "num_attention_heads", "num_key_value_heads"):
            del config["llm_config"][name]
        del config["vision_config"]

    edited(thin)(folder)
    checkpoint = imported(folder, tmp_path / "store", num_prebuffer_layers=1)
    written = json.loads((checkpoint.copy_to(tmp_path / "copy") / "config.json").read_text())
    assert written == {**neo_config(min_pixels_px=65_536).to_released(), "template": "neo1_0"}


@pytest.mark.parametrize(("stated", "theta"), [(1000.0, 1000.0), ([10_000.0], 10_000.0), (None, 10_000.0)])
def test_the_base_of_the_patch_rotation_is_the_folders_own(
    stated: Any, theta: float, folder: Path, tmp_path: Path
) -> None:
    """The training kit's argument has 1,000 where every configuration class has 10,000: what is stated is taken."""
    write_neo(folder)
    edited(lambda config: config["vision_config"].update(rope_theta_vision=stated))(folder)
    checkpoint = imported(folder, tmp_path / "store")
    assert facts_of(checkpoint)["theta_patch"] == theta
    assert load_model(checkpoint.copy_to(tmp_path / "copy")).config.theta_patch == theta


def test_the_sizes_of_a_published_model_are_compared(folder: Path, tmp_path: Path) -> None:
    write_neo(folder)
    with pytest.raises(StageError, match=r"not the sizes of NEO-2B: hidden 32 instead of 2048, num_layers 3 instead"):
        imported(folder, tmp_path / "store", published="NEO-2B")
    expected = ImportCheckpointRecipe(source=Source("neo"), published="NEO-9B").expected_released()
    assert expected is not None
    assert NeoConfig.from_released(expected) == NEO_9B
    assert ImportCheckpointRecipe(source=Source("neo")).expected_released() is None
