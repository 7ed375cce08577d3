"""An exported folder loads by transformers alone, and answers as this package does, whichever way it is asked.

Another version of transformers is tried where `NEO_OTHER_TRANSFORMERS` is a Python that has it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from neo_model.generate import Prompt, generate
from neo_model.inputs.conversation import add_special_tokens, encode_prompt, special_ids
from neo_model.inputs.pictures import open_pixels, to_uint8_patches
from neo_model.weights.released import read_config, tokenizer_sidecars, write_released
from stages.exporting.loadable import make_loadable
from stages.toy_world.tokenizer import train_tokenizer
from tests.neo_model.tiny import lively_model, tiny_config

SCRIPT = Path(__file__).parent / "loads_alone.py"
QUESTIONS = [("what colour is it?", 1), ("which <|im_end|> is a house?", 2), ("a ball?", 0)]
LIMITS = {"min_pixels_px": 4096, "max_pixels_px": 40_960}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / "cat.jpg", folder / "coffee.png"]
    for path, pixels in zip(paths, (data.chelsea(), data.coffee()), strict=True):
        Image.fromarray(pixels).resize((200, 150)).save(path)
    return paths


@pytest.fixture(
    scope="module",
    params=[pytest.param(False, id="with a head", marks=pytest.mark.long), pytest.param(True, id="tied")],
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pictures: list[Path]):
    """A folder, and what this package answers to the questions."""
    tokenizer = train_tokenizer(["what colour is the ball? it is red", "a picture of a house"] * 20, 60)
    add_special_tokens(tokenizer)
    ids = special_ids(tokenizer)
    names = {"image_context_id": ids.image_context, "image_start_id": ids.image_start, "image_end_id": ids.image_end}
    config = tiny_config(vocab_size=tokenizer.get_vocab_size() + 8, tied=request.param, **names, **LIMITS)
    model, folder = lively_model(config).eval(), tmp_path_factory.mktemp("exported") / "model"
    write_released(folder, config, model.state_dict(), tokenizer_sidecars(tokenizer))
    make_loadable(folder, config)
    prompts = []
    for question, count in QUESTIONS:
        read = [open_pixels(path.read_bytes(), max_pixels_px=10**6, colour="srgb") for path in pictures[:count]]
        cut = [to_uint8_patches(pixels, config.min_pixels_px, config.max_pixels_px) for pixels in read]
        message = {"role": "user", "content": "<image>\n" * count + question}
        document = encode_prompt(tokenizer, [message], [height * width // 4 for _, (height, width) in cut])
        images, grids = [patches for patches, _ in cut], [grid for _, grid in cut]
        prompts.append(Prompt(token_ids=document.token_ids, patches=images, grids=grids))
    answers = generate(model, prompts, max_new_tokens=12, stop_ids=[ids.turn_end])
    return folder, [tokenizer.decode(answer).strip() for answer in answers]


def answers_of(python: str, folder: Path, pictures: list[Path], tmp_path: Path, script: Path = SCRIPT) -> dict:
    asked = [
        {"question": question, "pictures": [str(one) for one in pictures[:count]]} for question, count in QUESTIONS
    ]
    (tmp_path / "asked.json").write_text(json.dumps({"questions": asked}))
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    command = [python, str(script), str(folder), str(tmp_path / "asked.json")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("which", ["this transformers", "another"])
def test_it_answers_without_this_package_as_with_it(exported, pictures, which, tmp_path) -> None:
    python = sys.executable if which == "this transformers" else os.environ.get("NEO_OTHER_TRANSFORMERS")
    if not python:
        pytest.skip("NEO_OTHER_TRANSFORMERS names no Python with another version of transformers")
    folder, answers = exported
    told = answers_of(python, folder, pictures, tmp_path)
    assert len(set(answers)) == len(QUESTIONS), "the questions tell answers apart"
    ways = ("chat", "generate", "without cache", "saved", "offloaded", "automatic")
    assert {way: told[way] for way in ways if way in told} == {way: answers for way in ways if way in told}
    assert told["config"] == "NEOChatConfig"
    assert told["classes"] == ["NEOChatModel"] * 2
    assert told["half"] == "torch.bfloat16"
    assert told["names"], "a saved model has the names of the released tensors"
    assert told["beams"][0] == 2 * len(QUESTIONS)
    assert told["saved template"] == LIMITS["min_pixels_px"]
    assert told["loss"] > 0


def test_what_the_base_model_brought_is_kept(exported, tmp_path) -> None:
    folder, _ = exported
    config = read_config(folder)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (other / name).write_bytes((folder / name).read_bytes())
    stated = json.loads((other / "config.json").read_text())
    own = {"AutoConfig": "configuration_gone.Gone"}
    (other / "config.json").write_text(json.dumps({**stated, "template": "own", "auto_map": own, "force": 1}))
    (other / "chat_template.jinja").write_text("own template")
    (other / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "eos_token_id": 7}')
    (other / "preprocessor_config.json").write_text('{"own": 1}')
    (other / "tokenizer_config.json").write_text(
        '{"auto_map": {"AutoTokenizer": ["their/repo--code.Theirs", null]}, "a": 1}'
    )
    make_loadable(other, config)
    made = json.loads((other / "config.json").read_text())
    assert (made["template"], made["force"]) == ("own", 1)
    assert made["auto_map"] == stated["auto_map"] != own
    assert (other / "chat_template.jinja").read_text() == "own template"
    generation = json.loads((other / "generation_config.json").read_text())
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert (generation["do_sample"], generation["temperature"]) == (True, 0.6)
    assert generation["eos_token_id"] == [*ends, 7], "a base model knows no end of a turn"
    assert json.loads((other / "preprocessor_config.json").read_text())["own"] == 1
    assert json.loads((other / "tokenizer_config.json").read_text()) == {"a": 1}, "code of others is not named"
    assert read_config(other) == config


def test_a_template_inside_the_settings_of_the_tokenizer_is_not_overridden(exported, tmp_path) -> None:
    folder, _ = exported
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (other / name).write_bytes((folder / name).read_bytes())
    (other / "tokenizer_config.json").write_text('{"chat_template": "own"}')
    make_loadable(other, read_config(folder))
    assert not (other / "chat_template.jinja").exists()
