"""The stage that stages/README.md shows is a whole stage: it is made over pairs, without Ray, as the page says."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from cluster.local import make
from stages.store.store import Store
from tests.worlds.mixture_world import PairsRecipe, make_pairs

README = Path(__file__).parents[2] / "stages" / "README.md"


@pytest.fixture
def shown(tmp_path: Path) -> ModuleType:
    """The example as a module of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    file = tmp_path / "keep_wordy_pairs.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("keep_wordy_pairs", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_made_and_accounts_for_every_pair(shown: ModuleType, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    pairs = make_pairs.bind("pairs", PairsRecipe())
    num_pairs = make(pairs, store).manifest.items.kept
    kept = {}
    for min_words in (1, 100):
        step = shown.keep_wordy_pairs.bind("wordy", shown.WordyRecipe(min_words=min_words), pairs)
        items = make(step, store).manifest.items
        assert items.total == num_pairs > 0
        kept[min_words] = (items.kept, items.dropped)
    assert kept == {1: (num_pairs, {}), 100: (0, {"too_few_words": num_pairs})}
