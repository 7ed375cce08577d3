"""Pipelines are found by name or file, and a wrong one says where it is wrong."""

from pathlib import Path

import pytest

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import find_pipeline, load_user_file, read_user_file, shipped_pipelines
from tests.pipelines.conftest import TOYS

STEP = "from stages.contract import stage\nfrom tests.worlds.pipeline_world import LlmRecipe, toy_llm\n"


def test_shipped_recipes_have_a_name_and_a_line_about_them() -> None:
    assert "tiny" in shipped_pipelines()
    assert all(about.endswith(".") for about in shipped_pipelines().values())


def test_a_shipped_recipe_and_a_users_file_are_found() -> None:
    assert find_pipeline("tiny").name == "tiny"
    found = find_pipeline(f"{TOYS}:data")
    assert list(found.steps) == ["pairs", "kept", "mix", "rows"]
    assert found.user_file is not None and found.user_file.source == Path(TOYS).read_text()


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ("tinny", r"no pipeline 'tinny' \(did you mean 'tiny'\?\)"),
        (TOYS, "names no pipeline"),
        ("nowhere.py:x", "there is no file nowhere.py"),
        (f"{TOYS}:dato", r"has no function 'dato' \(did you mean 'data'\?\)"),
        (f"{TOYS}:misbound", r"line \d+: step 'kept': input 'raw' takes RawPairs, but step 'llm' makes BaseLlm"),
        (f"{TOYS}:twins", "two different steps are named 'llm'"),
    ],
)
def test_what_cannot_be_found_is_named_with_what_to_do(request_: str, complaint: str) -> None:
    with pytest.raises(BadCommandError, match=complaint):
        find_pipeline(request_)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("def p(:\n", "line 1: SyntaxError"),
        ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError"),
        ("def p():\n    return 3\n", "returned 3; a pipeline returns a step"),
        ("def p():\n    return []\n", "returned \\[\\]; a pipeline returns a step"),
        (f"{STEP}def p():\n    return toy_llm.bind('a/b', LlmRecipe())\n", "step name 'a/b': use 1 to 100 letters"),
        (f"{STEP}def p():\n    return toy_llm.bind('-x', LlmRecipe())\n", "step name '-x'"),
    ],
)
def test_a_faulty_file_says_which_line(tmp_path: Path, source: str, complaint: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(BadCommandError, match=complaint):
        find_pipeline(f"{path}:p")


def test_an_edited_file_is_another_module(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("value = 1\n")
    first = read_user_file(path)
    path.write_text("value = 2\n")
    second = read_user_file(path)
    assert load_user_file(first).value == 1
    assert load_user_file(second).value == 2
    assert first.module != second.module


def test_a_stage_of_a_users_own_file_can_be_planned(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from stages.contract import Recipe, StageContext\nfrom stages.artifacts.kinds import TextDocuments\n"
        "from stages.contract import stage\n\n\nclass MineRecipe(Recipe):\n    size: int = 1\n\n\n"
        "@stage(number=1, recipe=MineRecipe, makes=TextDocuments)\n"
        "def mine(recipe: MineRecipe, *, ctx: StageContext) -> None: ...\n\n\n"
        "def p():\n    return mine.bind('mine', MineRecipe(size=2))\n"
    )
    steps = find_pipeline(f"{path}:p").steps
    assert steps["mine"].stage.import_path.startswith("neo_user_file_mine_")
