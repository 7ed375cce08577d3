"""Importing what a command line needs is quick: stages, recipes and the commands load nothing heavy.

Each module on disk is imported in a process of its own, forked from one that knows pydantic only.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "mlflow", "deepspeed", "transformers", "img2dataset")
LIGHT_FOLDERS = ("stages/*.py", "stages/toy_world/*.py", "pipelines/recipes/*.py")
LIGHT_FILES = (
    "pipelines/cli.py", "pipelines/planning/plan.py",
    "neo_model/config.py", "neo_model/inputs/pictures.py", "neo_model/inputs/conversation.py",
)  # fmt: skip

PROBE = """
import importlib, json, multiprocessing, sys, pydantic
heavy, modules = json.loads(sys.argv[1])

def load(module):
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return sorted(set(heavy) & set(sys.modules))

with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
    print(json.dumps(dict(zip(modules, pool.map(load, modules, chunksize=1)))))
"""


def declares_a_stage(path: Path) -> bool:
    """Whether a function of this file is decorated with `@stage(...)`."""
    return any(
        isinstance(decorator, ast.Call) and getattr(decorator.func, "id", None) == "stage"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
    )


def light_modules() -> list[str]:
    """The modules that must stay light, found on disk."""
    paths = {path for pattern in LIGHT_FOLDERS for path in ROOT.glob(pattern)}
    paths |= {path for path in (ROOT / "stages").rglob("*.py") if declares_a_stage(path)}
    paths |= {ROOT / name for name in LIGHT_FILES if (ROOT / name).is_file()}
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str] | str]:
    """Heavy packages that each module brings along, or why it could not be imported."""
    asked = json.dumps([HEAVY, light_modules()])
    done = subprocess.run([sys.executable, "-c", PROBE, asked], cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, list[str] | str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("module", light_modules())
def test_a_stage_or_recipe_imports_nothing_heavy(module: str, loaded: dict[str, list[str] | str]) -> None:
    assert loaded[module] == [], f"import {', '.join(HEAVY)} inside the function that needs them"


def test_the_probe_sees_heavy_imports() -> None:
    asked = json.dumps([["torch", "json"], ["stages.contract.context", "torch"]])
    done = subprocess.run([sys.executable, "-c", PROBE, asked], cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"stages.contract.context": ["json"], "torch": ["json", "torch"]}
