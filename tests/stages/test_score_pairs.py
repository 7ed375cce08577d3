"""Pairs get scores by a CLIP, equal to what transformers computes, and a filter judges by them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cluster.local import make
from stages.artifacts.kinds import KeptPairs
from stages.contract import Source, StageError, Step
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.pair_scores.clip_input import ClipInput
from stages.pair_scores.clip_scorer import load_clip
from stages.score_pairs import ScorePairsRecipe, ScoreReason, _scorer, score_batch, score_pairs
from stages.store.store import Store
from tests.worlds.clip_models import write_clip, write_head
from tests.worlds.mixture_world import PairsRecipe, make_pairs

RAW = make_pairs.bind("raw", PairsRecipe(num_pairs=24, num_parts=2, decodable=True))
RECIPE = ScorePairsRecipe(clip=Source("toy_clip"), num_at_once=5)
WITH_HEAD = RECIPE.model_copy(update={"aesthetic_head": Source("toy_head")})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    write_head(folder / "heads/head.safetensors")
    return {"toy_clip": str(write_clip(folder / "clip")), "toy_head": str(folder / "heads/head.safetensors")}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def scored(models: dict[str, str], store: Store, recipe: ScorePairsRecipe = RECIPE, raw: Step[Any] = RAW) -> KeptPairs:
    return make(score_pairs.bind("scores", recipe, raw), store, sources=models)


def columns(artifact: KeptPairs, *names: str) -> list[tuple[Any, ...]]:
    reader = PairReader(artifact)
    tables = [reader.read_table(part).select(list(names)).to_pylist() for part in reader.parts]
    return [tuple(row[name] for name in names) for table in tables for row in table]


def test_scores_are_those_of_transformers(models: dict[str, str], store: Store) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import CLIPModel, PreTrainedTokenizerFast
    from transformers.models.clip import CLIPImageProcessorPil

    made = scored(models, store, WITH_HEAD)
    theirs = CLIPModel.from_pretrained(models["toy_clip"])
    processor = CLIPImageProcessorPil.from_pretrained(models["toy_clip"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=f"{models['toy_clip']}/tokenizer.json", pad_token="<|endoftext|>"
    )
    head = load_file(models["toy_head"])
    reader = PairReader(made)
    found = dict(
        zip([row[0] for row in columns(made, "sample_id")], columns(made, "similarity", "aesthetic"), strict=True)
    )
    for pair in reader:
        image = Image.open(io.BytesIO(reader.image(pair.sample_id))).convert("RGB")
        pixels = processor(images=image, return_tensors="pt")["pixel_values"]
        text = tokenizer([pair.caption], truncation=True, max_length=12, return_tensors="pt")
        with torch.inference_mode():
            out = theirs(pixel_values=pixels, input_ids=text["input_ids"], attention_mask=text["attention_mask"])
        similarity = float(out.logits_per_image[0, 0] / theirs.logit_scale.exp().detach())
        hidden = out.image_embeds[0] @ head["layers.0.weight"].T + head["layers.0.bias"]
        liked = float(hidden @ head["layers.2.weight"].T + head["layers.2.bias"])
        assert found[pair.sample_id] == pytest.approx((similarity, liked), abs=2e-4)
    assert len({value for value, _ in found.values()}) > 10


def test_the_size_of_a_batch_changes_no_score(models: dict[str, str], store: Store) -> None:
    together = dict(columns(scored(models, store), "sample_id", "similarity"))
    scorer = load_clip(Path(models["toy_clip"]), None)
    reader = PairReader(make(RAW, store))
    for pair in reader:
        ((similarity, liked),) = score_batch([pair], reader, scorer)  # type: ignore[misc]
        assert liked is None and similarity == pytest.approx(together[pair.sample_id], abs=2e-4)


def test_a_filter_judges_by_the_scores(models: dict[str, str], store: Store) -> None:
    scores = score_pairs.bind("scores", RECIPE, RAW)
    values = sorted(value for (value,) in columns(scored(models, store), "similarity"))
    limit = (values[8] + values[9]) / 2
    recipe = FilterPairsRecipe(min_similarity=limit, min_side_px=1, max_aspect=50)
    kept = make(filter_pairs.bind("kept", recipe, scores), store, sources=models)
    assert kept.manifest.items.dropped == {"mismatched": 9}
    assert all(value >= limit for (value,) in columns(kept, "similarity"))


def test_scores_have_names_of_ones_choice(models: dict[str, str], store: Store) -> None:
    recipe = WITH_HEAD.model_copy(update={"similarity_column": "clip_toy", "aesthetic_column": "liked"})
    (first, *_) = columns(scored(models, store, recipe), "clip_toy", "liked")
    assert all(isinstance(value, float) for value in first)
    assert "aesthetic" not in PairReader(scored(models, store)).read_table("00000").column_names
    with pytest.raises(ValueError, match="'caption' is a column that pairs have already"):
        ScorePairsRecipe(clip=Source("c"), similarity_column="caption")
    with pytest.raises(ValueError, match="both scores are called 'aesthetic'"):
        ScorePairsRecipe(clip=Source("c"), similarity_column="aesthetic")


def test_a_picture_that_cannot_be_decoded_fails_with_its_reason(models: dict[str, str], store: Store) -> None:
    noise = make_pairs.bind("raw", PairsRecipe(num_pairs=6, num_parts=1))
    made = scored(models, store, RECIPE.model_copy(update={"max_share_lost": 1.0}), noise)
    assert made.manifest.items.failed == {"picture_unreadable": 6}
    rows = [row for part in made.parts for row in read_table(made.read(part.file("columns.parquet"))).to_pylist()]
    assert rows == [{"similarity": None}] * 6


def test_a_model_that_gives_no_number_fails_with_its_reason(models: dict[str, str], store: Store) -> None:
    scorer = load_clip(Path(models["toy_clip"]), None)
    reader = PairReader(make(RAW, store))
    scorer.model.visual_projection.weight.data.fill_(float("nan"))
    pairs = list(reader)[:3]
    assert list(score_batch(pairs, reader, scorer)) == [ScoreReason.SCORE_NOT_FINITE] * 3


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", '{"model_type": "siglip"}', "is a model of type 'siglip'; scores are made by a CLIP"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("model.safetensors", None, "has no \\*.safetensors; weights in pickles are never opened"),
        ("preprocessor_config.json", '{"resample": 2}', "asks for resample 2; CLIP takes 3"),
        ("preprocessor_config.json", '{"size": {"height": 32, "width": 32}}', "CLIP resizes the shorter side"),
    ],
)
def test_a_folder_that_is_no_clip_is_refused_in_words(
    file: str, content: str | None, words: str, tmp_path: Path, store: Store
) -> None:
    folder = write_clip(tmp_path / "clip")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(StageError, match=words):
        scored({"toy_clip": str(folder)}, Store(tmp_path / "store"))


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((8, 1), r"layer 0 of head.safetensors has a weight of shape \(1, 8\); it gets 24 numbers"),
        ((24, 2), "gives 2 numbers"),
    ],
)
def test_a_head_for_another_clip_is_refused(
    sizes: tuple[int, ...], words: str, models: dict[str, str], tmp_path: Path
) -> None:
    head = write_head(tmp_path / "heads/head.safetensors", sizes)
    with pytest.raises(StageError, match=words):
        scored(models | {"toy_head": str(head)}, Store(tmp_path / "store"), WITH_HEAD)


def test_the_models_are_loaded_once_in_a_process(models: dict[str, str], tmp_path: Path) -> None:
    _scorer.cache_clear()
    made = scored(models, Store(tmp_path / "store"))
    assert len(made.parts) == 2 and _scorer.cache_info().misses == 1


def test_every_reason_is_reached() -> None:
    assert {ScoreReason.PICTURE_UNREADABLE, ScoreReason.SCORE_NOT_FINITE} == set(ScoreReason)


def test_pictures_are_prepared_as_transformers_does(tmp_path: Path) -> None:
    from transformers.models.clip import CLIPImageProcessorPil

    folder = write_clip(tmp_path / "clip")
    scorer, processor = load_clip(folder, None), CLIPImageProcessorPil.from_pretrained(folder)
    rng = np.random.default_rng(0)
    for height, width in ((32, 32), (47, 91), (200, 33), (64, 640), (17, 12)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        theirs = processor(images=Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(scorer.input.prepare(pixels), theirs, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 40), (3, 700), (700, 3), (1, 1000), (1201, 1), (20, 333)])
def test_thin_pictures_are_prepared_as_transformers_does_but_for_rounding(
    size: tuple[int, int], tmp_path: Path
) -> None:
    from transformers.models.clip import CLIPImageProcessorPil

    folder = write_clip(tmp_path / "clip")
    scorer, processor = load_clip(folder, None), CLIPImageProcessorPil.from_pretrained(folder)
    pixels = np.random.default_rng(0).integers(64, 192, (*size, 3), np.uint8)
    theirs = processor(images=Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
    two_levels = 2 / 255 / min(scorer.input.std)
    np.testing.assert_allclose(scorer.input.prepare(pixels), theirs, atol=1.01 * two_levels)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_what_is_made_of_a_thin_picture_is_bounded(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    plain = Image.Image.resize

    def resize(image: Image.Image, size: tuple[int, int], *args: Any, **named: Any) -> Image.Image:
        made.append(size)
        return plain(image, size, *args, **named)

    monkeypatch.setattr(Image.Image, "resize", resize)
    assert ClipInput(224, (224, 224)).prepare(np.zeros((*size, 3), np.uint8)).shape == (3, 224, 224)
    assert made == [(224, 224)]
