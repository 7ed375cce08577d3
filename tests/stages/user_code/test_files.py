"""Which files belong to a user's pipeline file: those beside it that it imports, and no others."""

import ast
import hashlib
from pathlib import Path

import pytest

from stages.user_code.files import UserFile, imported_names, read_user_file
from tests.stages.user_code.user_folder import read_mine, write_files


def test_what_a_file_imports_from_beside_it_comes_with_it_and_nothing_else_does(tmp_path: Path) -> None:
    file = read_mine(
        tmp_path,
        mine="import json, helpers\nfrom lib import clean\n\ndef f():\n    import late\n",
        helpers="from lib.deep.names import NAMES\n",
        late="",
        unused="",
        **{
            "lib/__init__": "",
            "lib/clean": "from . import inner\n",
            "lib/inner": "",
            "lib/unused": "",
            "lib/deep/names": "",
        },
    )
    found = ["helpers.py", "late.py", "lib/__init__.py", "lib/clean.py", "lib/deep/names.py", "lib/inner.py"]
    assert list(file.beside) == found
    assert file.modules == {"mine", "helpers", "late", "lib", "lib.clean", "lib.deep", "lib.deep.names", "lib.inner"}


@pytest.mark.parametrize("name", ["stages", "cluster", "json"])
def test_names_of_ours_and_of_the_standard_library_are_never_a_users(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, **{name: "raise ImportError\n", f"{name}/__init__": "raise ImportError\n"})
    assert read_mine(tmp_path, mine=f"import {name}\nfrom {name} import anything\n").beside == {}


def test_a_folder_of_data_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "pairs.jsonl").write_text("{}")
    assert read_mine(tmp_path, mine="from datasets import load_dataset\n").beside == {}


def test_the_digest_of_one_file_is_that_of_sha256sum_and_of_several_that_of_the_listing(tmp_path: Path) -> None:
    alone = read_mine(tmp_path, mine="x = 1\n")
    assert alone.digest == alone.sha256 == hashlib.sha256(b"x = 1\n").hexdigest()
    pair = read_mine(tmp_path, mine="import helpers\n", helpers="")
    listing = (
        f"{hashlib.sha256(b'').hexdigest()}  helpers.py\n{hashlib.sha256(b'import helpers').hexdigest()}  mine.py\n"
    )
    listing = listing.replace(hashlib.sha256(b"import helpers").hexdigest(), pair.sha256)
    assert pair.digest == hashlib.sha256(listing.encode()).hexdigest()
    edited = read_mine(tmp_path, mine="import helpers\n", helpers="y = 2\n")
    assert edited.module != pair.module


def test_a_file_that_does_not_parse_is_read_as_it_is(tmp_path: Path) -> None:
    assert read_mine(tmp_path, mine="def f(:\n").source == "def f(:\n"
    assert list(read_mine(tmp_path, mine="import helpers\n", helpers="def f(:\n").beside) == ["helpers.py"]


def test_a_file_of_an_earlier_plan_has_nothing_beside_it() -> None:
    old = UserFile(path="/gone/mine.py", module="neo_user_file_mine_0", sha256="0" * 64, source="")
    assert (old.texts, old.digest, old.modules) == ({"mine.py": ""}, "0" * 64, {"mine"})


@pytest.mark.parametrize(
    ("statement", "package", "names"),
    [
        ("import a.b, c", "", ["a", "a.b", "c"]),
        ("from a import b, c", "", ["a", "a.b", "a.c"]),
        ("from a import *", "", ["a"]),
        ("from . import b", "lib.deep", ["lib", "lib.deep", "lib.deep.b"]),
        ("from ..x import b", "lib.deep", ["lib", "lib.x", "lib.x.b"]),
        ("from . import b", "", ["b"]),
        ("from ... import b", "lib", []),
    ],
)
def test_the_names_that_an_import_may_load(statement: str, package: str, names: list[str]) -> None:
    (node,) = ast.parse(statement).body
    assert isinstance(node, ast.Import | ast.ImportFrom)
    assert imported_names(node, package) == names


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    write_files(tmp_path, **{"real/mine": "import helpers\n", "real/helpers": ""})
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "mine.py")
    assert list(read_user_file(tmp_path / "link.py").beside) == ["helpers.py"]
