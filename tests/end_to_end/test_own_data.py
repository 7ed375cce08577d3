"""People's own data, in every form in which they have them, down to packed rows; and a released checkpoint tuned on it.

Everything runs in this process, without Ray: the stages are those of any run.
"""

from pathlib import Path

import pytest

from cluster.local import make
from stages.artifacts.artifact import Artifact
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, StageError, Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.read_questions import ReadQuestionsRecipe, read_questions
from stages.read_text import ReadTextRecipe, read_text
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.worlds.model_folders import write_neo, write_qwen3
from tests.worlds.own_data import (
    served,
    write_conversations,
    write_pairs,
    write_pictures,
    write_questions,
    write_texts,
    write_url_tables,
)

PACK = PackRowsRecipe(max_row_tokens=512, min_pixels_px=1024, max_pixels_px=16_384)


@pytest.fixture
def llm(tmp_path: Path) -> Step:
    write_qwen3(tmp_path / "qwen3")
    return fetch_llm.bind("llm", FetchLlmRecipe(source=Source("qwen3")))


def packed(sources: dict[str, Step], llm: Step, shares: dict[str, float] | None = None) -> Step:
    draw = mix_samples.bind("mix", MixRecipe(shares=shares or dict.fromkeys(sources, 1.0)), sources)
    return pack_rows.bind("rows", PACK, draw, llm)


def kept(name: str, pairs: Step) -> Step:
    return filter_pairs.bind(f"{name}_kept", FilterPairsRecipe(), pairs)


def documents_of(rows: Artifact) -> dict[str, int]:
    """Source to its number of documents in packed rows."""
    counted: dict[str, int] = {}
    for part in rows.manifest.parts:
        for name, counts in part.facts.get("sources", {}).items():
            counted[name] = counted.get(name, 0) + counts["documents"]
    return counted


def test_url_tables_of_every_form(tmp_path: Path, llm: Step) -> None:
    write_pictures(tmp_path / "web")
    with served(tmp_path / "web") as address:
        tables = write_url_tables(tmp_path / "tables", address)
        places = {f"table{number}": str(path) for number, path in enumerate(tables.values())}
        steps = {}
        for name in places:
            recipe = DownloadPairsRecipe(source=Source(name), allow_hosts=("127.0.0.1",), num_tries=1)
            steps[name] = kept(name, download_pairs.bind(name, recipe))
        rows = make(packed(steps, llm), tmp_path / "store", sources={**places, "qwen3": str(tmp_path / "qwen3")})
    assert documents_of(rows) == dict.fromkeys(places, 4), "the fifth row of each has a URL that nobody serves"


def test_pairs_of_every_form(tmp_path: Path, llm: Step) -> None:
    places = {name.split(".")[0]: str(path) for name, path in write_pairs(tmp_path / "pairs").items()}
    steps = {name: kept(name, import_pairs.bind(name, ImportPairsRecipe(source=Source(name)))) for name in places}
    rows = make(packed(steps, llm), tmp_path / "store", sources={**places, "qwen3": str(tmp_path / "qwen3")})
    assert documents_of(rows) == dict.fromkeys(places, 4)


def test_conversations_and_texts_of_every_form(tmp_path: Path, llm: Step) -> None:
    write_pictures(tmp_path / "images")
    tables = write_conversations(tmp_path / "talks")
    texts = write_texts(tmp_path / "texts")
    places = {name.split(".")[0]: str(path) for name, path in {**tables, **texts}.items()}
    images = {"llava": Source("images")}
    steps: dict[str, Step] = {}
    for name in ("llava", "openai", "onevision"):
        source = Source(name)
        recipe = CollectImagesRecipe(source=source, images=images.get(name))
        pictures = collect_images.bind(f"{name}_pictures", recipe)
        steps[name] = read_conversations.bind(name, ReadConversationsRecipe(source=source), pictures)
    for name in ("text", "files"):
        steps[name] = read_text.bind(name, ReadTextRecipe(source=Source(name)))
    places |= {"images": str(tmp_path / "images"), "qwen3": str(tmp_path / "qwen3")}
    counts = {"llava": 20, "openai": 4, "onevision": 4, "text": 4, "files": 4}
    shares = {name: float(count) for name, count in counts.items()}
    rows = make(packed(steps, llm, shares), tmp_path / "store", sources=places)
    assert documents_of(rows) == counts


def test_a_released_checkpoint_is_tuned_on_a_json_evaluated_and_exported(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    write_neo(tmp_path / "neo", form="hub")
    talks_file = write_conversations(tmp_path / "talks")["llava.json"]
    bench_file = write_questions(tmp_path / "bench.tsv")

    chat, bench = Source("chat"), Source("bench")
    recipe = ImportCheckpointRecipe(source=Source("neo"), num_prebuffer_layers=1)
    released = import_checkpoint.bind("released", recipe)
    collected = CollectImagesRecipe(source=chat, images=Source("images"))
    pictures = collect_images.bind("pictures", collected)
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=chat), pictures)
    bench_pictures = collect_images.bind("bench_pictures", CollectImagesRecipe(source=bench))
    questions = read_questions.bind("questions", ReadQuestionsRecipe(source=bench), bench_pictures)
    draw = mix_samples.bind("mix", MixRecipe(shares={"talks": 1}), {"talks": talks})
    rows = pack_rows.bind("rows", PACK, draw, released)
    tuning = TuneRecipe(
        num_steps=2, rows_per_step=2, peak_learning_rate=1e-4, num_warmup_steps=1, precision="fp32",
        checkpoint_every_steps=2,
    )  # fmt: skip
    tuned = tune_end_to_end.bind("tuned", tuning, released, [rows])
    evaluation = evaluate.bind("evaluate", EvaluateRecipe(max_new_tokens=4), tuned, questions)
    places = {"neo": "neo", "chat": talks_file, "images": "images", "bench": bench_file}
    sources = {name: str(tmp_path / place) for name, place in places.items()}

    made = make(evaluation, tmp_path / "store", sources=sources)
    assert made.manifest.items.total == 4
    again = evaluate.bind("again", EvaluateRecipe(max_new_tokens=1, num_cards=1), tuned, talks)
    with pytest.raises(StageError, match=r"was trained on what .* draws from .* set allow_trained_on=true"):
        make(again, tmp_path / "store", sources=sources)
    told = evaluate.bind("told", again.recipe.model_copy(update={"allow_trained_on": True}), tuned, talks)
    assert make(told, tmp_path / "store", sources=sources).manifest.items.kept > 0
    exported = make(export.bind("export", ExportRecipe(title="Mine"), tuned), tmp_path / "store", sources=sources)
    names = {entry.name for part in exported.manifest.parts for entry in part.files}
    assert {"model/config.json", "model/tokenizer.json"} <= names
