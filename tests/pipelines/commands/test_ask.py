"""`neo ask`: a model that has learned its colours, asked about pictures, films, and films as they run."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neo_model.generate import Prompt, generate
from neo_model.inputs.conversation import encode_prompt, load_tokenizer, special_ids
from neo_model.inputs.pictures import open_pixels, to_uint8_patches
from neo_model.inputs.video_text import clip_lines
from neo_model.weights.released import load_model
from pipelines.asking.viewer import JPEG_QUALITY
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.formats.fit_sample import MAX_FRAME_PIXELS_PX, MIN_FRAME_PIXELS_PX
from stages.store.refs import set_ref
from stages.video.encoding import encode_film
from stages.video.reader import VideoReader
from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.colour_world import COLOURS, ColourWorld, make_colour_world

QUESTION = "What colour is it?"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ColourWorld:
    return make_colour_world(tmp_path_factory.mktemp("colour_world"))


@pytest.fixture
def asked(site: NeoSite, world: ColourWorld) -> NeoSite:
    """A site on the store of the colour world."""
    site.file.write_text(f'store = "{world.store.folder}"\nmlflow = "http://127.0.0.1:9"\n')
    return site


@pytest.fixture(scope="module")
def ref(world: ColourWorld) -> str:
    """The checkpoint, by the beginning of its fingerprint."""
    return world.make(world.checkpoint).fingerprint[:12]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A picture of each colour, and a film of six seconds that shows red, green and blue."""
    folder = tmp_path_factory.mktemp("files")
    made = {name: folder / f"{name}.png" for name in COLOURS}
    for name, path in made.items():
        Image.new("RGB", (96, 64), COLOURS[name]).save(path)
    shades = [COLOURS[name] for name in ("red", "green", "blue") for _ in range(20)]
    frames = [np.full((64, 96, 3), shade, np.uint8) for shade in shades]
    made["film"] = folder / "film.mp4"
    made["film"].write_bytes(encode_film(frames, [number / 10 for number in range(60)]))
    return made


def read_at_once(world: ColourWorld, film: Path, times: list[float], content: str, question: str = QUESTION) -> str:
    """The answer of one forward over this content, whose images are the frames of a film at these times."""
    folder = world.open(world.checkpoint).copy_to(film.parent / "model")
    model = load_model(folder)
    tokenizer = load_tokenizer(folder)
    with VideoReader() as reader:
        reader.open(film)
        jpegs = [frame.jpeg for frame in reader.frames(times, MAX_FRAME_PIXELS_PX, JPEG_QUALITY)]
    pixels = [open_pixels(jpeg, max_pixels_px=10**6) for jpeg in jpegs]
    images = [to_uint8_patches(one, MIN_FRAME_PIXELS_PX, MAX_FRAME_PIXELS_PX) for one in pixels]
    counts = [grid_h * grid_w // 4 for _, (grid_h, grid_w) in images]
    token_ids = encode_prompt(tokenizer, [{"role": "user", "content": content + question}], counts).token_ids
    prompt = Prompt(token_ids=token_ids, patches=[patches for patches, _ in images], grids=[grid for _, grid in images])
    ids = special_ids(tokenizer)
    (answer,) = generate(model, [prompt], max_new_tokens=20, stop_ids=[ids.turn_end, ids.end_of_text])
    text: str = tokenizer.decode(answer)
    return text.strip()


def test_a_picture_is_asked_about(asked: NeoSite, ref: str, files: dict[str, Path]) -> None:
    for name in COLOURS:
        said = asked.neo("ask", ref, str(files[name]), QUESTION)
        assert (said.code, said.out.splitlines()[1]) == (0, name)
        assert said.last_line == f"Next: neo ask {ref} {files[name]} --site {asked.file}   (then type questions)"


def test_the_document_has_answers_and_what_was_shown(asked: NeoSite, ref: str, files: dict[str, Path]) -> None:
    document = asked.neo("ask", ref, str(files["red"]), str(files["film"]), QUESTION, "--json").json
    picture, film = document["shown"]
    assert document["exit_code"] == 0 and document["model"].startswith("learn/")
    assert picture["kind"] == "picture" and picture["num_tokens"] > 6
    assert film["kind"] == "film" and film["frame_times"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert [one["question"] for one in document["answers"]] == [QUESTION]
    assert document["num_tokens"] >= picture["num_tokens"] + film["num_tokens"]


def test_a_film_is_read_as_in_training(asked: NeoSite, world: ColourWorld, ref: str, files: dict[str, Path]) -> None:
    document = asked.neo("ask", ref, str(files["film"]), QUESTION, "--max-new-tokens", "20", "--json").json
    times = document["shown"][0]["frame_times"]
    assert document["answers"][0]["answer"] == read_at_once(world, files["film"], times, clip_lines(times, 6.0))
    few = asked.neo("ask", ref, str(files["film"]), QUESTION, "--frames", "2", "--json").json
    assert few["shown"][0]["frame_times"] == [2.0, 4.0]
    cut = asked.neo("ask", ref, str(files["film"]), QUESTION, "--fps", "5", "--max-frames", "10")
    assert "6.0 s, 10 frames of 30 at that rate, spread evenly" in cut.out


@pytest.mark.parametrize("remember", [False, True])
def test_a_film_is_asked_about_while_it_runs(
    asked: NeoSite, world: ColourWorld, ref: str, files: dict[str, Path], remember: bool
) -> None:
    words = ["ask", ref, str(files["film"]), QUESTION, "--every", "2.5", "--max-new-tokens", "20"]
    document = asked.neo(*words, "--json", *(["--remember"] if remember else [])).json
    answers = document["answers"]
    assert [one["time_seconds"] for one in answers] == [2.5, 5.0, 6.0]
    assert document["shown"][0]["frame_times"] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    if not remember:
        assert document["num_tokens"] == document["shown"][0]["num_tokens"], "the question left nothing"
    seen = [0.0, 1.0, 2.0]
    content = "".join(f"[00:0{time:.2f}]:<image>\n" for time in seen)
    assert answers[0]["answer"] == read_at_once(world, files["film"], seen, content)
    seen = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    content = "".join(f"[00:0{time:.2f}]:<image>\n" for time in seen)
    if not remember:
        assert answers[1]["answer"] == answers[2]["answer"] == read_at_once(world, files["film"], seen, content)
        assert [f"[00:0{one['time_seconds']:.2f}] {one['answer']}" for one in answers] == [
            line for line in asked.neo(*words).out.splitlines() if line.startswith("[")
        ]


def test_questions_are_typed(asked: NeoSite, ref: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTION}\n\nHow is it turned?\n"))
    said = asked.neo("ask", ref, str(files["green"]))
    assert said.out.splitlines()[1:3] == ["green", "wide"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTION}\nHow is it turned?\n"))
    remembered = asked.neo("ask", ref, str(files["green"]), "--remember", "--json").json
    assert [one["question"] for one in remembered["answers"]] == [QUESTION, "How is it turned?"]


def test_a_model_is_named_by_its_folder_or_by_its_evaluation(
    asked: NeoSite, world: ColourWorld, ref: str, files: dict[str, Path], tmp_path: Path
) -> None:
    folder = world.open(world.checkpoint).copy_to(tmp_path / "own")
    assert asked.neo("ask", str(folder), str(files["blue"]), QUESTION).out.splitlines()[1] == "blue"
    step = evaluate.bind(
        "evaluate", EvaluateRecipe(max_prompt_tokens=120, max_new_tokens=4), world.checkpoint, world.questions
    )
    evaluation = world.make(step)
    set_ref(world.store, "colours/evaluate", {"stage": "evaluate", "fingerprint": evaluation.fingerprint})
    document = asked.neo("ask", "colours/evaluate", str(files["blue"]), QUESTION, "--json").json
    assert document["model"].endswith(ref) and document["answers"][0]["answer"] == "blue"
    exported = world.make(export.bind("export", ExportRecipe(), world.checkpoint)).fingerprint[:12]
    assert asked.neo("ask", exported, str(files["blue"]), QUESTION).out.splitlines()[1] == "blue"


def test_what_cannot_be_asked_is_said(
    asked: NeoSite, world: ColourWorld, ref: str, files: dict[str, Path], tmp_path: Path
) -> None:
    film, red = str(files["film"]), str(files["red"])
    torn, text, empty = tmp_path / "torn.jpg", tmp_path / "text.mp4", tmp_path / "empty.mp4"
    torn.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    text.write_text("#EXTM3U\nfile:///etc/passwd\n")
    empty.write_bytes(b"")
    shutil.copytree(world.open(world.checkpoint).copy_to(tmp_path / "own"), tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"nothing")
    pictures = world.make(world.pictures).fingerprint[:12]
    cases = [
        (["nowhere", red, QUESTION], 2, "'nowhere' is no folder, and nothing in"),
        ([pictures, red, QUESTION], 2, "of kind RawPairs: only a whole model answers"),
        ([str(tmp_path), red, QUESTION], 2, "holds no NEO that can be asked"),
        ([str(tmp_path / "broken"), red, QUESTION], 2, "holds no NEO that can be asked: "),
        ([ref, "lost.mp4", QUESTION], 2, "'lost.mp4' is no file"),
        ([ref, "lost.mp4"], 2, "'lost.mp4' is no file"),
        ([ref, "What?", QUESTION], 2, "'What?' is no file"),
        ([ref, str(tmp_path), QUESTION], 2, "is a folder"),
        ([ref, str(torn), QUESTION], 3, "torn.jpg is no picture that can be read: "),
        ([ref, str(text), QUESTION], 3, "text.mp4 is no picture, and no film that can be read: playlist"),
        ([ref, str(empty), QUESTION], 3, "empty.mp4 is no picture, and no film that can be read: "),
        ([ref, red, QUESTION, "--every", "2"], 2, "--every needs one film"),
        ([ref, film, "--every", "2"], 2, "needs a question"),
        ([ref, film, QUESTION, "--every", "2", "--frames", "3"], 2, "--fps, not --frames"),
        ([ref, film, QUESTION, "--every", "2", "--fps", "5", "--max-frames", "12"], 2, "--fps 2 shows it to its end"),
    ]
    for words, code, message in cases:
        said = asked.neo("ask", *words)
        assert (said.code, message in said.err) == (code, True), (words, said)
        assert said.last_line.startswith("Next: neo ")
    long = asked.neo("ask", ref, film, QUESTION + " again" * 20_000)
    assert long.code == 3 and "question and answer do not fit" in long.err


def test_a_model_that_is_not_made_yet_is_said(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    (site.artifact_folder("rows") / "manifest.json").unlink()
    said = site.neo("ask", "data/rows", QUESTION)
    assert said.code == 2
    assert "is not committed: a model answers once the step that makes it has ended" in said.err
    assert said.last_line.startswith("Next: neo status")


def test_attention_is_drawn(asked: NeoSite, ref: str, files: dict[str, Path], tmp_path: Path) -> None:
    drawing = tmp_path / "out.png"
    words = ["ask", ref, str(files["red"]), str(files["green"]), QUESTION, "--max-new-tokens", "4"]
    document = asked.neo(*words, "--show-attention", str(drawing), "--json").json
    (answer,) = document["answers"]
    assert answer["answer"] == asked.neo(*words, "--json").json["answers"][0]["answer"]
    assert answer["attention"]["file"] == str(drawing)
    assert " ".join(one["word"] for one in answer["attention"]["words"]) == " ".join(answer["answer"].split())
    assert all(len(one["shares"]) == 2 and 0 < sum(one["shares"]) < 1 for one in answer["attention"]["words"])
    assert Image.open(drawing).size[0] == 1320
    said = asked.neo(*words, "--show-attention", str(drawing))
    assert f"{drawing}: what each word of the answer attended to" in said.out


def test_a_drawing_that_cannot_be_made_is_refused_in_words(
    asked: NeoSite, ref: str, files: dict[str, Path], tmp_path: Path
) -> None:
    drawing, red, film = str(tmp_path / "out.png"), str(files["red"]), str(files["film"])
    wrong = {
        (red, "--show-attention", drawing): "it needs one question",
        (red, QUESTION, "--show-attention", str(tmp_path / "out.jpg")): "let the name end in .png",
        (red, QUESTION, "--show-attention", str(tmp_path / "no" / "out.png")): "is no folder to write to",
        (film, QUESTION, "--show-attention", drawing): "film.mp4 is a film",
        (QUESTION, "--show-attention", drawing): "there is no picture",
    }
    for words, told in wrong.items():
        said = asked.neo("ask", ref, *words)
        assert said.code == 2 and told in said.err.replace("\n", " "), said
    assert not Path(drawing).exists()
