"""A Qwen3 folder comes in from wherever it lies, in every form, and what is none is refused before it is copied."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cluster.local import make
from stages.artifacts.kinds import BaseLlm
from stages.contract import Event, PartRecorded, Source, StageError, Step
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.store import Store
from tests.hub_server import hub_server
from tests.s3_server import environment, make_bucket, s3_server
from tests.stages.training.test_loop import RECIPE
from tests.worlds.mixture_world import TEXTS
from tests.worlds.model_folders import of_transformers_5, qwen3_json, write_qwen3, write_weights

COMMIT = "c0ffee" + "0" * 34
SHARDS = ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]
SETTINGS = [
    "LICENSE", "README.md", "chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "qwen3"


def fetched(where: Path | str, store: Path, **fields: Any) -> BaseLlm:
    return make(bound(**fields), Store(store), sources={"qwen3": str(where)})


def bound(**fields: Any) -> Step[BaseLlm]:
    return fetch_llm.bind("llm", FetchLlmRecipe(source=Source("qwen3"), **fields))


def copied(llm: BaseLlm, folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in llm.copy_to(folder).iterdir()}


def originals(folder: Path, names: list[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def test_a_sharded_folder_is_taken_over_file_by_file(folder: Path, tmp_path: Path) -> None:
    write_qwen3(folder, num_shards=3)
    for name in ("pytorch_model.bin", "modeling_custom.py", "picture.png"):
        (folder / name).write_bytes(b"\x80\x02cos\nsystem\n")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    llm = fetched(folder, tmp_path / "store")
    names = [*SETTINGS, *SHARDS, "model.safetensors.index.json"]
    assert copied(llm, tmp_path / "copy") == originals(folder, names)
    assert [(part.phase, len(part.files)) for part in llm.parts] == [("inspect", 8), *[("weights", 1)] * 3]
    facts = llm.part("00000", "inspect").facts
    assert facts["left_out"] == ["modeling_custom.py", "picture.png", "pytorch_model.bin"]
    assert (facts["source"], facts["licence"], facts["licence_files"]) == ("qwen3", "apache-2.0", ["LICENSE"])
    assert (facts["dtypes"], facts["num_tensors"], facts["num_layers"]) == (["BF16"], 24, 2)


FORMS: dict[str, dict[str, Any]] = {
    "tied": {},
    "tied, head stored too": {"head": "equal"},
    "tied, head in a shard of its own": {"head": "equal", "num_shards": 2},
    "untied": {"config": qwen3_json(tie_word_embeddings=False), "head": "different"},
    "untied without a head": {"config": qwen3_json(tie_word_embeddings=False)},
    "fp32": {"dtype": "float32"},
    "fp16": {"dtype": "float16"},
    "transformers 5": {"config": of_transformers_5(qwen3_json())},
}
HEADS = {"tied, head stored too": "table, stored twice", "tied, head in a shard of its own": "table, stored twice"}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_language_model_under_a_prebuffer(form: str, folder: Path, tmp_path: Path) -> None:
    from stages.train_prebuffer import untrained_model

    tensors = write_qwen3(folder, **FORMS[form])
    llm = fetched(folder, tmp_path / "store")
    head = HEADS.get(form, "own" if form == "untied" else "table")
    model = untrained_model(llm.copy_to(tmp_path / "copy"), RECIPE)
    assert model.config.theta_t == 1e6
    assert torch.equal(
        model.language_model.model.embed_tokens.weight, tensors["model.embed_tokens.weight"].to(torch.float32)
    )
    if form == "untied":
        assert torch.equal(model.language_model.lm_head.weight, tensors["lm_head.weight"].to(torch.float32))
    if form != "untied without a head":
        assert llm.part("00000", "inspect").facts["head"] == head


def test_from_a_hub_at_a_commit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_qwen3(folder, num_shards=3)
    with hub_server({"models/Qwen/Qwen3-tiny": folder}) as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        llm = fetched("hf://Qwen/Qwen3-tiny", tmp_path / "store")
    names = [*SETTINGS, *SHARDS, "model.safetensors.index.json"]
    assert copied(llm, tmp_path / "copy") == originals(folder, names)
    inspected = llm.part("00000", "inspect")
    assert inspected.made_by["commit"] == COMMIT
    assert all("/main/" not in line for line in asked if "/resolve/" in line), "files are read at the commit"
    local = fetched(folder, tmp_path / "other")
    assert (local.fingerprint, local.manifest.content) == (llm.fingerprint, llm.manifest.content)


def test_from_a_bucket(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_qwen3(folder, num_shards=2)
    with s3_server(tmp_path / "s3.log") as address:
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        bucket = Store(f"{make_bucket(address, 'models')}/qwen3")
        for file in folder.iterdir():
            bucket.create(file.name, file.read_bytes())
        llm = fetched("s3://models/qwen3", tmp_path / "store")
    local = fetched(folder, tmp_path / "other")
    assert (local.fingerprint, local.manifest.content) == (llm.fingerprint, llm.manifest.content)


def test_a_folder_that_transformers_saved(folder: Path, tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    write_qwen3(folder)
    config = Qwen3Config(
        vocab_size=320, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )  # fmt: skip
    (folder / "model.safetensors").unlink()
    Qwen3ForCausalLM(config).save_pretrained(folder, max_shard_size="20KB")
    llm = fetched(folder, tmp_path / "store")
    assert len(llm.phase("weights")) > 2
    assert (llm.part("00000", "inspect").facts["head"], llm.part("00000", "inspect").facts["dtypes"]) == (
        "table",
        ["F32"],
    )


def test_an_interrupted_copy_resumes_with_what_is_missing(folder: Path, tmp_path: Path) -> None:
    """The second shard changes after the first is recorded, and is put back."""
    write_qwen3(folder, num_shards=3)
    good, store, sources = (folder / SHARDS[1]).read_bytes(), Store(tmp_path / "store"), {"qwen3": str(folder)}

    def spoil_the_next(event: Event) -> None:
        if isinstance(event, PartRecorded) and (event.phase, event.part) == ("weights", "00000"):
            (folder / SHARDS[1]).write_bytes(good[:-1] + b"?")

    with pytest.raises(StageError, match=f"{SHARDS[1]} has other bytes than were pinned"):
        make(bound(), store, sources=sources, post=spoil_the_next)
    (folder / SHARDS[1]).write_bytes(good)
    parts = make(bound(), store, sources=sources).phase("weights")
    assert len({part.made_by["attempt"] for part in parts}) == 2
    assert parts[1].made_by["attempt"] == parts[2].made_by["attempt"]


def test_samples_are_drawn_and_packed_with_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    write_qwen3(folder, num_shards=2, head="equal")
    llm = bound()
    mixed = mix_samples.bind("mix", MixRecipe(shares={"text": 1.0}, unit="tokens"), {"text": TEXTS}, None, llm)
    recipe = PackRowsRecipe(max_row_tokens=512, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
    rows = make(pack_rows.bind("rows", recipe, mixed, llm), tmp_path / "store", sources={"qwen3": str(folder)})
    assert rows.manifest.items.kept > 0
    assert tokenizer_of(rows.input("llm", BaseLlm)).get_vocab_size() == 305


def with_config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(qwen3_json(**changes)))  # type: ignore[func-returns-value]


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names]  # type: ignore[func-returns-value]


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_few_rows(folder: Path) -> None:
    write_qwen3(folder, config=qwen3_json(vocab_size=300))


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def without_last_layer(folder: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    write_weights(folder, {name: one for name, one in tensors.items() if ".layers.1.mlp" not in name}, 1)


def quantized(folder: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    write_weights(folder, tensors | {name: tensors[name].to(torch.int8)}, 1)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "mixture of experts": (with_config(model_type="qwen3_moe"), "no plain Qwen3 .*'qwen3_moe', a mixture of experts"),
    "another model": (
        with_config(model_type="llama", architectures=["LlamaForCausalLM"]),
        "model_type is 'llama'.*Llam",
    ),
    "quantized": (with_config(quantization_config={"quant_method": "awq"}), "quantized .quantization_config 'awq'"),
    "quantized values": (quantized, r"1 tensors are I8 \(model\.layers\.0\.mlp\.up_proj\.weight\)"),
    "sliding window": (with_config(use_sliding_window=True, sliding_window=4096), "use_sliding_window = True is not"),
    "attention bias": (with_config(attention_bias=True), "attention_bias = True is not supported"),
    "scaled rotation": (with_config(rope_scaling={"rope_type": "yarn", "factor": 4.0}), "rope type 'yarn'"),
    "odd sizes": (with_config(hidden_size=None), "has no hidden_size"),
    "size that is none": (
        with_config(num_attention_heads="four"),
        "num_attention_heads = 'four' is no whole number from 1",
    ),
    "a depth that is none": (
        with_config(num_hidden_layers="two"),
        "num_hidden_layers = 'two' is no whole number from 1",
    ),
    "a depth beyond all tensors": (
        with_config(num_hidden_layers=900),
        "num_hidden_layers 900, and the weights",
    ),
    "a norm that is none": (with_config(rms_norm_eps=float("nan")), "rms_norm_eps = nan is outside 1e-12 to 0.1"),
    "a depth beyond all models": (with_config(num_hidden_layers=10**8), "= 100000000 is outside 1 to 1,000"),
    "other shapes": (with_config(intermediate_size=64), r"6 misshapen: model\.layers\.0\.mlp\.gate_proj\.weight is"),
    "fewer layers": (with_config(num_hidden_layers=1), "11 unknown: model.layers.1"),
    "missing tensors": (without_last_layer, r"3 missing: model\.layers\.1\.mlp\.gate_proj"),
    "pickles only": (pickled, r"weights in pytorch_model\.bin, a pickle, .* convert it"),
    "cut off": (cut_off, r"model\.safetensors is cut off: it has [\d,]+ bytes, its header describes"),
    "no tokenizer": (without("tokenizer.json"), r"no tokenizer\.json, nor vocab\.json and merges\.txt"),
    "too few spare rows": (with_few_rows, r"has id 304 and the model has 300 rows.*13 for a Qwen3"),
    "no config": (without("config.json"), r"no config\.json, so it is no model folder; its files are LICENSE"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_qwen3_is_refused_in_words_before_it_is_copied(case: str, folder: Path, tmp_path: Path) -> None:
    write_qwen3(folder)
    spoil, message = REFUSED[case]
    spoil(folder)
    with pytest.raises(StageError, match=f"source 'qwen3'.*{message}"):
        fetched(folder, tmp_path / "store")
    stored = [file.name for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert not [name for name in stored if "safetensors" in name]


def test_missing_shards_are_named(folder: Path, tmp_path: Path) -> None:
    write_qwen3(folder, num_shards=3)
    (folder / SHARDS[1]).unlink()
    with pytest.raises(StageError, match=f"lacks 1 of the 3 weight files .*{SHARDS[1]}"):
        fetched(folder, tmp_path / "store")


def test_a_head_that_contradicts_its_configuration_is_taken_where_asked_for(folder: Path, tmp_path: Path) -> None:
    from neo_model.weights.qwen3 import from_qwen3
    from neo_model.weights.released import read_tensors
    from stages.train_prebuffer import untrained_model

    tensors = write_qwen3(folder, head="different")
    with pytest.raises(
        StageError, match=r"source 'qwen3': config\.json says .*tie_word_embeddings true.*own_head=True"
    ):
        fetched(folder, tmp_path / "store")
    llm = fetched(folder, tmp_path / "store", own_head=True)
    copy = llm.copy_to(tmp_path / "copy")
    assert json.loads((copy / "config.json").read_text())["tie_word_embeddings"] is False
    assert llm.part("00000", "inspect").facts["head"] == "own"
    config = untrained_model(copy, RECIPE).config
    converted = from_qwen3(read_tensors(copy), config)
    assert torch.equal(converted["language_model.lm_head.weight"], tensors["lm_head.weight"])


def test_the_sizes_of_a_published_model_are_compared(folder: Path, tmp_path: Path) -> None:
    write_qwen3(folder)
    with pytest.raises(StageError, match=r"not the sizes of Qwen3-1\.7B: hidden_size 32 instead of 2048"):
        fetched(folder, tmp_path / "store", published="Qwen3-1.7B")
    expected = FetchLlmRecipe(source=Source("qwen3"), published="Qwen3-1.7B").expected_config()
    assert expected is not None
    assert expected["num_hidden_layers"] == 28
    assert FetchLlmRecipe(source=Source("qwen3")).expected_config() is None
