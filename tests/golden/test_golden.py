"""What a stage's number promises: the same defaults, and the same bytes for the same input.

`tests/golden/<stage>.json` holds the defaults of each stage's recipe and, where its output is the same on every
machine, the content digest of what it makes of a small fixed input. A difference under the same number is a fault:
artifacts made before and after the change would have one name. Raise the stage's number, then write the file anew
with `pytest tests/golden --refresh-golden`, which refuses without it. New fields with a default need no new number. Of
a stage whose artifacts nobody has yet, delete the file and write it anew.
"""

import inspect
import io
import json
import typing
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import BaseModel

from cluster.local import make
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import canonical_form
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, Stage, Step
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.dedup_texts import DedupTextsRecipe, dedup_texts
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.filter_text import FilterTextRecipe, filter_text
from stages.formats.tar import TarWriter
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.read_text import ReadTextRecipe, read_text
from stages.retry_pairs import RetryPairsRecipe, retry_pairs
from stages.store.store import Store
from stages.toy_world.train_toy_llm import ToyLlmRecipe, train_toy_llm
from stages.toy_world.world import ToyWorld
from tests.worlds.clip_world import ClipsRecipe, film_bytes, make_clips

FOLDER = Path(__file__).parent
REQUIRED = "(required)"
PACKAGES = ("pillow", "pyarrow", "tokenizers")
"""Packages whose version alone may change the bytes of these outputs."""
PACKAGES_OF = {"cut_clips": ("av",), "filter_text": ("py3langid",)}
"""Further ones, by stage."""

WORLD = ToyWorld(seed=7, num_train_images=60, num_heldout_images=4, num_documents=20, num_text_conversations=10)
SOURCES = {
    f"toy_{name}": f"toy:{name}.jsonl?seed=7&num_train_images=60&num_heldout_images=4&num_documents=20"
    "&num_text_conversations=10"
    for name in ("urls", "documents", "conversations")
}
"""The files of `WORLD`, by the names of their sources."""


def fixed_steps() -> list[Step[Any]]:
    """Every stage that handles data on a small fixed input, inputs before what reads them."""
    pairs = download_pairs.bind("pairs", DownloadPairsRecipe(source=Source("toy_urls"), num_urls_per_part=32))
    again_recipe = RetryPairsRecipe(source=Source("toy_urls"), reasons=("server_error",))
    again = retry_pairs.bind("again", again_recipe, pairs)
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), pairs)
    unique = dedup_pairs.bind("unique", DedupPairsRecipe(), kept)
    text = read_text.bind("text", ReadTextRecipe(source=Source("toy_documents"), num_documents_per_part=16))
    texts = dedup_texts.bind("texts", DedupTextsRecipe(), text)
    kept_text = filter_text.bind("kept_text", FilterTextRecipe(quality=None, max_share_lost=1), text)
    chat = read_conversations.bind("chat", ReadConversationsRecipe(source=Source("toy_conversations")), kept)
    shares = {"pairs": 4.0, "text": 3.0, "chat": 3.0}
    mixed = mix_samples.bind("mix", MixRecipe(shares=shares), {"pairs": kept, "text": text, "chat": chat})
    llm = train_toy_llm.bind("llm", ToyLlmRecipe(world=WORLD, hidden=32, num_layers=1, num_steps=1))
    recipe = PackRowsRecipe(max_row_tokens=1024, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
    rows = pack_rows.bind("rows", recipe, mixed, llm)
    own = import_pairs.bind("own", ImportPairsRecipe(source=Source("golden_tars")))
    recipe_of_pictures = CollectImagesRecipe(source=Source("golden_chat"), images=Source("golden_tars"))
    pictures = collect_images.bind("pictures", recipe_of_pictures)
    clips = make_clips.bind("clips", ClipsRecipe(is_decoded=False))
    kept_clips = filter_clips.bind("kept_clips", FilterClipsRecipe(), clips)
    films = CutClipsRecipe(source=Source("golden_films"), store="packets", max_clip_seconds=1.5, max_share_lost=1)
    cut = cut_clips.bind("cut", films)
    return [pairs, again, kept, unique, text, kept_text, texts, chat, mixed, llm, rows, own, pictures, kept_clips, cut]


def fixed_sources(folder: Path) -> dict[str, str]:
    """Files that steps read, written into `folder`: source to their place."""
    (folder / "tars").mkdir(parents=True)
    with TarWriter(folder / "tars/000.tar") as tar:
        for number, encoding in enumerate(("JPEG", "PNG", "GIF", "WEBP")):
            picture = io.BytesIO()
            Image.linear_gradient("L").resize((40 + number, 30)).convert("RGB").save(picture, encoding)
            ending = {"JPEG": "jpg"}.get(encoding, encoding.lower())
            tar.add(f"{number:03d}", {ending: picture.getvalue(), "txt": f"a gradient as {encoding}".encode()})
        tar.add("nothing", {"txt": b"a text without a picture"})
    turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "A gradient."}]
    names = ("000.jpg", "001.png", "000.jpg", "gone.jpg")
    (folder / "chat.json").write_text(json.dumps([{"image": name, "conversations": turns} for name in names]))
    films = folder / "films"
    films.mkdir()
    (films / "walk.mp4").write_bytes(film_bytes("walk"))
    (films / "walk.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\ntwo shapes walk\n")
    (films / "broken.mp4").write_bytes(film_bytes("walk")[:500])
    golden = {"golden_tars": folder / "tars", "golden_chat": folder / "chat.json", "golden_films": films}
    return {name: str(place) for name, place in golden.items()}


STEPS = {step.stage.name: step for step in fixed_steps()}
ROUNDED = {"train_toy_llm"}
"""Stages whose output holds rounded sums, which differ between machines: only what others make of it is held fixed."""


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Content digest of what each fixed step makes, by stage name."""
    store = Store(tmp_path_factory.mktemp("golden"))
    sources = SOURCES | fixed_sources(tmp_path_factory.mktemp("sources"))
    return {name: make(step, store, sources=sources).manifest.content for name, step in STEPS.items()}


def test_defaults_and_output_are_those_of_the_number(
    stage_on_disk: Stage[Artifact], contents: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    file, now = FOLDER / f"{stage_on_disk.name}.json", described(stage_on_disk, contents)
    before = json.loads(file.read_text()) if file.is_file() else None
    if request.config.getoption("--refresh-golden", default=False):
        refuse_silent_change(before, now)
        file.write_text(json.dumps(now, indent=2) + "\n")
        return
    assert before is not None, "no golden file: pytest tests/golden --refresh-golden"
    refuse_silent_change(before, now)
    assert before["number"] == now["number"], "the number was raised: pytest tests/golden --refresh-golden"
    assert before["defaults"] == now["defaults"], "there are new fields: pytest tests/golden --refresh-golden"
    assert before.get("recipe") == now.get("recipe"), (
        "the fixed input was changed: pytest tests/golden --refresh-golden"
    )
    assert before.get("made_with") == now.get("made_with"), (
        "the packages that touch these bytes are not those that pyproject.toml pins: pip install -e '.[dev]', or raise "
        "the pins there and pytest tests/golden --refresh-golden"
    )


def test_no_golden_file_is_left_of_a_stage_that_went() -> None:
    sources = "".join(path.read_text() for path in (FOLDER.parents[1] / "stages").rglob("*.py"))
    assert [file.stem for file in FOLDER.glob("*.json") if f"\ndef {file.stem}(" not in sources] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"defaults": {"min_side_px": 65}}, "default of min_side_px"),
        ({"defaults": {}}, "default of min_side_px"),
        ({"output": "b" * 64}, "other bytes"),
    ],
)
def test_a_change_under_the_same_number_is_refused(change: dict[str, Any], message: str) -> None:
    before = {
        "number": 1,
        "defaults": {"min_side_px": 64},
        "recipe": {},
        "output": "a" * 64,
        "made_with": {"pyarrow": "25.0.0"},
    }
    refuse_silent_change(before, before | {"defaults": {"min_side_px": 64, "new": 1}})
    refuse_silent_change(before, before | change | {"number": 2})
    refuse_silent_change(before, before | {"output": "b" * 64, "made_with": {"pyarrow": "26.0.0"}})
    with pytest.raises(AssertionError, match=message):
        refuse_silent_change(before, before | change)


def refuse_silent_change(before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Raise where a default or the output changed and the number did not."""
    if before is None or before["number"] != now["number"]:
        return
    for name, value in before["defaults"].items():
        assert now["defaults"].get(name) == value, f"the default of {name} was {value}: raise the stage's number"
    same_input = before.get("recipe") == now.get("recipe") and before.get("made_with") == now.get("made_with")
    if same_input:
        assert before.get("output") == now.get("output"), "other bytes under the same number: raise the stage's number"


def described(stage: Stage[Artifact], contents: Mapping[str, str]) -> dict[str, Any]:
    """What the golden file of a stage holds."""
    found: dict[str, Any] = {"number": stage.number, "defaults": dict(defaults_of(stage.recipe_type))}
    if stage.name in STEPS.keys() - ROUNDED:
        found["recipe"] = canonical_form(STEPS[stage.name].recipe)
        found["made_with"] = {package: version(package) for package in (*PACKAGES, *PACKAGES_OF.get(stage.name, ()))}
        found["output"] = contents[stage.name]
    return found


def defaults_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and default of every field, and of every field of the models that the fields hold."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        yield prefix + name, REQUIRED if field.is_required() else canonical_form(default, name)
        for inner in models_in(field.annotation):
            yield from defaults_of(inner, f"{prefix}{name}:{inner.__name__}.")


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)
