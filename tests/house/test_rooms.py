"""The floor plan: stages stand at the top of their floor, a folder is small, and one name means one thing."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.house.test_imports import declares_a_stage
from tests.house.test_layout import FILES, ROOT

MAX_MODULES_IN_A_FOLDER = 16
LARGER_FOLDERS = {
    "pipelines/commands": "one file for each command, and nothing beside them but what they share",
    "stages": "one file for each stage, and nothing beside them",
}
"""Folders that may hold more modules, and why."""
STAGES_ELSEWHERE = {"train_toy_llm"}
"""It makes the language model of the toy world, which no real pipeline has a use for."""
ROOMS = sorted({path.parent for path in FILES})


def modules_in(folder: Path) -> list[Path]:
    return [path for path in FILES if path.parent == folder and path.name != "__init__.py"]


def test_the_top_of_stages_holds_stages_and_nothing_else() -> None:
    declares = {path.stem: declares_a_stage(ROOT / path) for path in modules_in(Path("stages"))}
    assert [name for name, is_stage in declares.items() if not is_stage] == []
    elsewhere = {path.stem for path in FILES if path.parts[0] == "stages" and declares_a_stage(ROOT / path)}
    assert elsewhere - declares.keys() == STAGES_ELSEWHERE


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_folder_can_be_taken_in_at_a_glance(room: Path) -> None:
    if str(room) not in LARGER_FOLDERS:
        assert len(modules_in(room)) <= MAX_MODULES_IN_A_FOLDER, f"{room}: which room is missing?"


def test_a_folder_that_may_be_larger_is_larger() -> None:
    """An exception that is no longer needed goes."""
    assert all(len(modules_in(Path(room))) > MAX_MODULES_IN_A_FOLDER for room in LARGER_FOLDERS)


def test_no_public_class_name_stands_for_two_things() -> None:
    where = defaultdict(list)
    for path in FILES:
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(str(path))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_the_readme_of_a_room_names_what_is_in_it(room: Path) -> None:
    readme = ROOT / room / "README.md"
    if not modules_in(room) and readme.parent.name == "recipes":
        return
    assert readme.is_file(), f"{room} has no README.md"
    text = readme.read_text()
    files = {path.name for path in modules_in(room)}
    rooms = {f"{other.name}/" for other in ROOMS if other.parent == room}
    assert sorted(name for name in files | rooms if name not in text) == []


def test_no_two_modules_of_a_room_differ_by_an_ending_alone() -> None:
    """`packing.plan` beside `packing.planning` sends a reader to the wrong one."""
    stems = Counter((path.parent, path.stem.rstrip("s")) for path in FILES)
    assert [key for key, number in stems.items() if number > 1] == []
