"""The digest of a stage's code: what it refers to counts, at any distance; what it does not refer to never does."""

from pathlib import Path

import pytest

from stages.user_code.digest import code_digest, code_of
from stages.user_code.files import read_user_file
from stages.user_code.loading import load_user_file
from tests.stages.user_code.user_folder import digest_of, read_mine, write_files

STAGE = '''
"""Load pairs."""

import json
from functools import partial

from stages.artifacts.kinds import KeptPairs
from stages.contract import Part, Recipe, StageContext, stage

WORDS = ["a", "b"]
UNUSED = 3


class LoadRecipe(Recipe):
    """What is loaded."""

    limit: int = 10
    """Number of pairs."""


def clean(text):
    """Strip it."""
    return text.strip()  # both ends


def load_part(part, draft, recipe):
    draft.path("words.json").write_text(json.dumps([clean(word) for word in WORDS][: recipe.limit]))


@stage(number=1, recipe=LoadRecipe, makes=KeptPairs)
def load(recipe: LoadRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(load_part, recipe=recipe), over=[Part(name="all")], phase="load")


def pipeline():
    return load.bind("load", LoadRecipe(limit=3))
'''


def edited(before: str, after: str) -> str:
    assert STAGE.count(before) == 1
    return STAGE.replace(before, after)


DECIDES = {
    "the stage": edited('phase="load"', 'phase="again"'),
    "its part function": edited("[: recipe.limit]", "[: recipe.limit + 1]"),
    "what the part function calls": edited("text.strip()", "text.lower()"),
    "a constant": edited('["a", "b"]', '["a", "c"]'),
    "a default of the recipe": edited("limit: int = 10", "limit: int = 11"),
    "what a name is imported from": edited("import json", "import ujson as json"),
    "something that runs at import": edited("UNUSED = 3", "WORDS.append('z')"),
    "a decorator of the user's": edited("def clean(text)", "@print\ndef clean(text)"),
}
DECIDES_NOTHING = {
    "a comment": edited("  # both ends", "  # left and right"),
    "formatting": edited("text.strip()", "(text\n        .strip( ) )"),
    "docstrings": edited('"""Strip it."""', '"""Strip the text."""').replace('"""Number of pairs."""', '"""Pairs."""'),
    "the pipeline": edited("LoadRecipe(limit=3)", "LoadRecipe(limit=4)"),
    "a name that nothing uses": edited("UNUSED = 3", "UNUSED = 4\nANOTHER = 5"),
    "another stage": f"{STAGE}\n\n@stage(number=1, recipe=LoadRecipe, makes=KeptPairs)\ndef other(r, *, ctx): pass\n",
    "the order of imports": edited(
        "import json\nfrom functools import partial", "from functools import partial\nimport json"
    ),
    "an import that nothing uses": edited("import json\n", "import json\nimport os\n"),
    "what runs as a script only": f"{STAGE}\n\nif __name__ == '__main__':\n    print(pipeline())\n",
    "the order of functions": edited("def clean(text):\n", "def between(): ...\n\n\ndef clean(text):\n"),
}


@pytest.mark.parametrize("edit", DECIDES)
def test_what_decides_changes_the_digest(tmp_path: Path, edit: str) -> None:
    assert digest_of(tmp_path, mine=DECIDES[edit]) != digest_of(tmp_path, mine=STAGE)


@pytest.mark.parametrize("edit", DECIDES_NOTHING)
def test_what_decides_nothing_does_not(tmp_path: Path, edit: str) -> None:
    assert digest_of(tmp_path, mine=DECIDES_NOTHING[edit]) == digest_of(tmp_path, mine=STAGE)


def test_the_folder_does_not_count_and_the_name_of_the_module_does(tmp_path: Path) -> None:
    codes = []
    for place in ("here/mine.py", "there/mine.py", "here/theirs.py"):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAGE)
        module = load_user_file(read_user_file(path))
        codes.append(code_of(module.load.function))
    assert codes[0].identity == codes[1].identity != codes[2].identity
    assert (codes[2].module, codes[2].file) == ("theirs", "theirs.py")


def test_a_function_that_is_in_no_users_file_has_no_code() -> None:
    assert code_of(code_of) is None


SPLIT = """
import helpers
from lib.clean import strip as tidy
from stages.contract import stage

def load(recipe, *, ctx):
    return helpers.widen(tidy("x"))

def other(recipe, *, ctx):
    return helpers.narrow("x")
"""
HELPERS = "FACTOR = 2\n\ndef widen(x):\n    return x * FACTOR\n\ndef narrow(x):\n    return x\n"
CLEAN = "from .inner import chars\n\ndef strip(x):\n    return x.strip(chars())\n\ndef unused(x): ...\n"
INNER = "def chars():\n    return ' '\n"


@pytest.mark.parametrize(
    ("changed", "decides"),
    [
        ({"helpers": HELPERS.replace("FACTOR = 2", "FACTOR = 3")}, True),
        ({"helpers": HELPERS.replace("return x\n", "return x + 1\n")}, False),
        ({"lib/inner": INNER.replace("' '", "'-'")}, True),
        ({"lib/clean": CLEAN.replace("def unused(x): ...", "def unused(y): ...")}, False),
        ({"lib/__init__": "print('imported')\n"}, True),
        ({"helpers": f"{HELPERS}\nprint(narrow)\n"}, True),
        ({"mine": SPLIT.replace("helpers.widen", "getattr(helpers, 'widen')")}, True),
    ],
)
def test_the_modules_beside_the_file_count_by_what_is_used_of_them(
    tmp_path: Path, changed: dict[str, str], decides: bool
) -> None:
    texts = {"mine": SPLIT, "helpers": HELPERS, "lib/clean": CLEAN, "lib/inner": INNER, "lib/__init__": ""}
    before = digest_of(tmp_path, **texts)
    assert (digest_of(tmp_path, **{**texts, **changed}) != before) is decides


@pytest.mark.parametrize(
    "load",
    [
        "def load(recipe, *, ctx):\n    return getattr(helpers, recipe.name)('x')\n",
        "def load(recipe, *, ctx):\n    return globals()[recipe.name]('x')\n",
        "def load(recipe, *, ctx):\n    return eval(recipe.name)\n",
        "import sys\ndef load(recipe, *, ctx):\n    return sys.modules[recipe.name]\n",
        "from importlib import import_module\ndef load(recipe, *, ctx):\n    return import_module(recipe.name)\n",
        "def load(recipe, *, ctx):\n    from helpers import no_such_name\n    return no_such_name\n",
        "from helpers import *\ndef load(recipe, *, ctx):\n    return narrow(recipe)\n",
        "def load(recipe, *, ctx):\n    import helpers as h\n    return h.narrow('x')\n",
        "class Load:\n    def a(self):\n        from helpers import narrow as f\n        return f\n    def b(self):\n"
        "        from helpers import widen as f\n        return f\n\ndef load(recipe, *, ctx):\n    return Load\n",
    ],
)
def test_code_that_is_reached_without_being_named_counts_whole(tmp_path: Path, load: str) -> None:
    mine = f"import helpers\n{load}"
    before = digest_of(tmp_path, mine=mine, helpers=HELPERS)
    assert digest_of(tmp_path, mine=mine, helpers=HELPERS.replace("return x\n", "return x + 1\n")) != before


@pytest.mark.parametrize(
    "register",
    [
        "REGISTRY = {}\n\ndef register(f):\n    REGISTRY[f.__name__] = f\n    return f\n\n"
        "@register\ndef hidden(x):\n    return 1\n",
        "class Base:\n    kinds = []\n    def __init_subclass__(cls):\n        Base.kinds.append(cls)\n\n"
        "REGISTRY = Base\n\n"
        "class Hidden(Base):\n    size = 1\n",
        "REGISTRY = {}\n\ndef hidden(x):\n    return 1\n\nREGISTRY['hidden'] = hidden\n",
        "REGISTRY = {}\n\ndef hidden(x):\n    return 1\n\n_ = REGISTRY.setdefault('hidden', hidden)\n",
    ],
)
def test_what_registers_itself_counts(tmp_path: Path, register: str) -> None:
    mine = f"{register}\ndef load(recipe, *, ctx):\n    return REGISTRY\n"
    after = mine.replace("return 1", "return 2").replace("size = 1", "size = 2")
    assert after != mine
    assert digest_of(tmp_path, mine=after) != digest_of(tmp_path, mine=mine)


def test_a_stage_of_a_module_beside_the_file_does_not_depend_on_who_imports_it(tmp_path: Path) -> None:
    helper = "def load(recipe, *, ctx):\n    return 1\n"
    write_files(tmp_path, mine="from shared import load\n", shared=helper, theirs="import shared\nX = 3\n")
    mine, theirs = read_user_file(tmp_path / "mine.py"), read_user_file(tmp_path / "theirs.py")
    assert code_digest(mine, "shared", "load") == code_digest(theirs, "shared", "load")


def test_what_the_pipelines_file_does_to_a_module_at_import_counts_for_that_modules_stages(tmp_path: Path) -> None:
    helper = "FACTOR = 1\n\ndef load(recipe, *, ctx):\n    return FACTOR\n"
    before = digest_of(tmp_path, module="shared", mine="import shared\n", shared=helper)
    assert digest_of(tmp_path, module="shared", mine="import shared\nshared.FACTOR = 2\n", shared=helper) != before


def test_an_annotation_written_as_text_is_a_reference(tmp_path: Path) -> None:
    mine = "class Pairs:\n    size = 1\n\ndef load(recipe, pairs: 'list[Pairs]', *, ctx): ...\n"
    assert digest_of(tmp_path, mine=mine) != digest_of(tmp_path, mine=mine.replace("size = 1", "size = 2"))


def test_docstrings_count_where_code_reads_them(tmp_path: Path) -> None:
    mine = 'def f():\n    """One."""\n\ndef load(recipe, *, ctx):\n    return f.__doc__\n'
    assert digest_of(tmp_path, mine=mine) != digest_of(tmp_path, mine=mine.replace("One.", "Two."))


def test_the_digest_is_the_same_in_every_release() -> None:
    """Reading the file of another person on another machine gives this number, or every artifact would be renamed."""
    here = Path(__file__).with_name("frozen_stage.py")
    assert code_digest(read_user_file(here), "frozen_stage", "load") == (
        "9936686cd6fb22c7d5a8f2264a06f9937752eaaa82b94460c68126757b6b6289"
    )


def test_modules_that_import_one_another_end(tmp_path: Path) -> None:
    mine = "import helpers\n\ndef load(recipe, *, ctx):\n    return helpers.widen(1)\n\ndef base():\n    return 1\n"
    helpers = "import mine\n\ndef widen(x):\n    return mine.base() * x\n"
    before = digest_of(tmp_path, mine=mine, helpers=helpers)
    assert digest_of(tmp_path, mine=mine.replace("return 1\n", "return 2\n"), helpers=helpers) != before
    assert read_mine(tmp_path, mine=mine, helpers=helpers).modules == {"mine", "helpers"}
