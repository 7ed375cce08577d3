"""What the publisher leaves open is found in the lineage: terms of the model it grew on, languages of its samples."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from cluster.local import make
from stages.artifacts.kinds import CARD_FILE, Checkpoint
from stages.contract import Source
from stages.export import ExportRecipe, export
from stages.exporting.card_metadata import Terms
from stages.exporting.lineage import ExportLineage
from stages.exporting.statements import read_lineage, statements
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.store.store import Store
from tests.stages.exporting.test_model_card import LINEAGE, MODEL
from tests.worlds.model_folders import write_neo

OPEN: dict[str, Any] = {
    "title": "x", "licence": None, "licence_link": None, "base_models": (), "languages": (), "datasets": (),
    "limits": (),
}  # fmt: skip


def grown_on(*terms: Terms) -> ExportLineage:
    return ExportLineage(chain=LINEAGE.chain, grown_on={str(number): one for number, one in enumerate(terms)})


@pytest.mark.parametrize(
    ("terms", "found"),
    [
        ([Terms(name="mit")], Terms(name="mit")),
        ([Terms(name="mit"), Terms(name="mit")], Terms(name="mit")),
        ([Terms(name="mit"), Terms(name="gpl-3.0")], Terms()),
        ([Terms(name="mit"), Terms()], Terms()),
        ([], Terms()),
    ],
)
def test_terms_are_taken_over_where_all_models_state_the_same(terms: list[Terms], found: Terms) -> None:
    assert statements(grown_on(*terms), **OPEN).terms == found
    assert statements(grown_on(*terms), **OPEN | {"licence": "bsd"}).terms == Terms(name="bsd")


def test_languages_are_those_of_what_it_learned_from() -> None:
    spoken = {"pairs": {"language": {"de": 9, "en": 20}}}
    chain = [one.model_copy(update={"carried": spoken}) if one.kind == "Draw" else one for one in LINEAGE.chain]
    assert statements(ExportLineage(chain=chain), **OPEN).languages == ("en", "de")
    assert statements(ExportLineage(chain=chain), **OPEN | {"languages": ("fr",)}).languages == ("fr",)
    rows_unread = [*chain[:-1], MODEL.model_copy(update={"inputs": {}})]
    assert statements(ExportLineage(chain=rows_unread), **OPEN).languages == ()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, str], Any]:
    folder = tmp_path_factory.mktemp("imported")
    write_neo(folder / "neo", num_shards=2)
    released = import_checkpoint.bind("neo", ImportCheckpointRecipe(source=Source("neo")))
    return Store(folder / "store"), {"neo": str(folder / "neo")}, released


def test_the_licence_of_a_folder_from_outside_reaches_the_card(imported: Any, tmp_path: Path) -> None:
    store, sources, released = imported
    checkpoint: Checkpoint = make(released, store, sources=sources)
    lineage = read_lineage(checkpoint, {})
    assert lineage.grown_on == {checkpoint.fingerprint: Terms(name="apache-2.0")}
    exported = make(export.bind("export", ExportRecipe(), released), store, sources=sources)
    card = ModelCard.load(exported.copy_to(tmp_path / "exported") / CARD_FILE)
    assert card.data.license == "apache-2.0"
    assert (tmp_path / "exported" / "LICENSE").is_file()
