"""VLMEvalKit's base class asks an exported folder through our adapter, and gets the answers of this package."""

import importlib.util
import mimetypes
import os.path
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tests.stages.evaluation.rules.test_against_kits import defined_in, kit_folder
from tests.stages.exporting.test_loadable import QUESTIONS, exported, pictures  # noqa: F401

ADAPTER = Path(__file__).parents[3] / "docs" / "vlmevalkit" / "neo.py"


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Our file as a module of the kit, beside the kit's own base class."""
    folder = kit_folder("NEO_VLMEVALKIT") / "vlmeval"
    validators = pytest.importorskip("validators")
    smp = defined_in(folder / "smp/file.py", osp=os.path, mimetypes=mimetypes, validators=validators)
    base = types.ModuleType("vlmeval.vlm.base")
    vars(base).update(defined_in(folder / "vlm/base.py", parse_file=smp["parse_file"], abstractmethod=lambda one: one))
    for name in ("vlmeval", "vlmeval.vlm"):
        package = types.ModuleType(name)
        package.__path__ = []
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, "vlmeval.vlm.base", base)
    spec = importlib.util.spec_from_file_location("vlmeval.vlm.neo", ADAPTER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_kit_gets_the_answers_of_this_package(
    adapter: types.ModuleType,
    exported: Any,  # noqa: F811
    pictures: list[Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    folder, answers = exported
    model = adapter.NEO(str(folder), dtype="float32", max_new_tokens=12)
    told = [model.generate([*(str(path) for path in pictures[:count]), question]) for question, count in QUESTIONS]
    # Several pictures stand on lines with numbers here, so that question is another one than `answers` is about.
    assert [told[0], told[2]] == [answers[0], answers[2]] and told[1] != answers[1]
    assert adapter._places(2) == "Image-1: <image>\nImage-2: <image>\n"
