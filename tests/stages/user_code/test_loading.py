"""A user's modules are imported from their texts, two versions beside one another, here and in another process."""

import pickle
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path

import pytest

from stages.user_code.files import UserFile
from stages.user_code.loading import carried, load_user_file
from tests.stages.user_code.user_folder import read_mine

MINE = """
import helpers
import lib.clean
import lib.clean as tidy
from helpers import WIDTH
from lib import clean
from lib.clean import strip

class Part:
    pass

def widths():
    from helpers import Box
    import helpers as again
    return [WIDTH, helpers.WIDTH, again.WIDTH, Box().width, len(lib.clean.strip(" a ")), tidy is clean, strip("b ")]

def make():
    return Part(), helpers.Box()
"""
HELPERS = "WIDTH = 64\n\nclass Box:\n    width = WIDTH\n"


@pytest.fixture
def file(tmp_path: Path) -> UserFile:
    clean = "from .. import helpers\nfrom .inner import trim\n\ndef strip(text):\n    return trim(text)\n"
    return read_mine(
        tmp_path,
        mine=MINE,
        helpers=HELPERS,
        **{"lib/__init__": "", "lib/clean": clean, "lib/inner": "def trim(text):\n    return text.strip()\n"},
    )


def test_every_spelling_of_an_import_leads_beside_the_file(file: UserFile) -> None:
    assert load_user_file(file).widths() == [64, 64, 64, 64, 1, True, "b"]
    assert not {"helpers", "lib", "lib.clean"} & sys.modules.keys()


def test_two_versions_live_beside_one_another(file: UserFile, tmp_path: Path) -> None:
    first = load_user_file(file)
    second = load_user_file(read_mine(tmp_path, helpers=HELPERS.replace("64", "128")))
    assert (first.helpers.WIDTH, second.helpers.WIDTH) == (64, 128)
    assert first.helpers.Box is not second.helpers.Box


def test_an_error_names_the_file_and_the_line(tmp_path: Path) -> None:
    file = read_mine(tmp_path, mine="\nimport helpers\n", helpers="\n\n1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        load_user_file(file)
    places = [(Path(frame.filename).name, frame.lineno) for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert places[-1] == ("helpers.py", 3) and ("mine.py", 2) in places
    with pytest.raises(ZeroDivisionError):  # nothing half-loaded stays
        load_user_file(file)


def test_a_main_file_that_is_imported_by_its_own_modules_is_one_module(tmp_path: Path) -> None:
    file = read_mine(
        tmp_path, mine="X = 1\nimport helpers\n", helpers="from mine import X\nimport mine\nY = mine.X + X\n"
    )
    module = load_user_file(file)
    assert module.helpers.Y == 2 and module.helpers.mine is module


def test_a_function_travels_with_its_code_to_a_process_that_has_no_file(file: UserFile, tmp_path: Path) -> None:
    module = load_user_file(file)
    sent = pickle.dumps(carried(file, partial(module.widths)))
    sent = pickle.dumps(pickle.loads(sent))  # noqa: S301  # handed on by a process between the two
    for path in tmp_path.rglob("*.py"):
        path.unlink()
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)())"
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout == b"[64, 64, 64, 64, 1, True, 'b']\n"


def test_what_needs_no_users_code_travels_as_it_is() -> None:
    assert carried(None, len) is len


def test_a_tracebacks_source_line_is_shown_where_the_file_is_gone(tmp_path: Path) -> None:
    file = read_mine(tmp_path, mine="def fail():\n    raise ValueError('on purpose')\n")
    (tmp_path / "mine.py").unlink()
    with pytest.raises(ValueError, match="on purpose") as caught:
        load_user_file(file).fail()
    assert "raise ValueError('on purpose')" in "".join(traceback.format_exception(caught.value))
