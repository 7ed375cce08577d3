"""A sample followed through real sources, draws and rows: what each is said to hold is what it holds."""

from pathlib import Path

import pytest

from cluster.local import make
from pipelines.commands.sighting_words import describe
from pipelines.lineage.finders import FINDERS, SOURCE_TABLES
from pipelines.lineage.forward import trace_sample
from pipelines.lineage.graph import all_heads
from pipelines.lineage.sightings import Sighting
from stages.artifacts import kinds
from stages.artifacts.kinds import DRAW_FILE, BaseLlm, Draw, ModelFolder, Rows
from stages.formats.packed_rows.rows import RowReader
from stages.formats.sample_table import read_table
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.store import Store
from tests.worlds.mixture_world import CHATS, KEPT, LLM, TEXTS, PairsRecipe, make_pairs, sample_id

EXAM = make_pairs.bind("exam", PairsRecipe(num_pairs=12, num_parts=2, split="heldout"))
RECIPE = MixRecipe(shares={"pairs": 3, "text": 2, "chat": 1}, max_epochs={"pairs": 2, "text": 4, "chat": 4})
MIX = mix_samples.bind("mix", RECIPE, {"pairs": KEPT, "text": TEXTS, "chat": CHATS}, {"exam": EXAM})
SHORT = PackRowsRecipe(max_row_tokens=128, max_sample_tokens=48, min_pixels_px=1024, num_rows_per_part=8)
ROWS = pack_rows.bind("rows", SHORT, MIX, LLM)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    make(ROWS, store)
    return store


def sightings_of(store: Store, sample: bytes) -> dict[str, Sighting]:
    """By stage; of the exam and the pairs, which one stage makes, the last."""
    return {sighting.stage: sighting for sighting in trace_sample(store, sample, all_heads(store))}


def drawings(store: Store) -> list[dict]:
    draw = make(MIX, store)
    assert isinstance(draw, Draw)
    return [row for part in draw.phase("draw") for row in read_table(draw.read(part.file(DRAW_FILE))).to_pylist()]


def test_a_held_out_sample_ends_at_the_draw_which_says_as_what_it_is_known(store: Store) -> None:
    chats = read_table(make(CHATS, store).read(make(CHATS, store).parts[0].file("conversations.parquet"))).to_pylist()
    examined = {sample_id(f"pair {number}") for number in range(12)}
    chat, picture = next((row["sample_id"], one) for row in chats for one in row["image_ids"] if one in examined)
    seen = sightings_of(store, picture)
    assert f"held out, known by its sample_id, as {picture.hex()} of exam" in describe(seen["mix_samples"])
    assert describe(seen["filter_pairs"]).endswith("kept") and "pack_rows" not in seen
    assert chat.hex() in seen["make_chats"].details()["sample_ids"]
    conversation = sightings_of(store, chat)["mix_samples"]
    assert describe(conversation).startswith("held out, known by its picture, as ")
    assert conversation.details()["held_out"][0]["held_out_in"] == "exam"


@pytest.mark.parametrize("source", ["text", "chat"])
def test_a_drawn_sample_is_led_to_its_repetitions_and_its_documents_in_rows(store: Store, source: str) -> None:
    rows = make(ROWS, store)
    assert isinstance(rows, Rows)
    packed = {row.number: row.sample_ids for row in RowReader(rows)}
    in_rows = {sample for ids in packed.values() for sample in ids}
    drawn = [row for row in drawings(store) if row["source"] == source and row["sample_id"] in in_rows]
    sample = max(drawn, key=lambda row: row["repetition"])["sample_id"]
    seen = sightings_of(store, sample)
    repetitions = sorted(row["repetition"] for row in drawn if row["sample_id"] == sample)
    assert sorted(one["repetition"] for one in seen["mix_samples"].details()["drawings"]) == repetitions
    holding = {row: [n for n, one in enumerate(ids) if one == sample] for row, ids in packed.items() if sample in ids}
    details = seen["pack_rows"].details()
    assert {int(row) for row in details["rows"]} == set(holding)
    assert {int(row): numbers for row, numbers in details["documents"].items()} == dict(list(holding.items())[:8])


def test_what_could_not_be_packed_is_told_with_its_reason(store: Store) -> None:
    rows = make(ROWS, store)
    assert isinstance(rows, Rows)
    tables = [read_table(rows.read(part.file("samples.parquet"))).to_pylist() for part in rows.phase("write")]
    lost = next(row for table in tables for row in table if row["verdict"] != "kept")
    assert describe(sightings_of(store, lost["sample_id"])["pack_rows"]) == f"not packed: dropped ({lost['reason']})"


def test_a_text_that_was_dropped_is_told_with_its_reason_and_goes_nowhere(store: Store) -> None:
    seen = sightings_of(store, sample_id("text 8"))
    assert {stage: describe(one) for stage, one in seen.items()} == {"make_texts": "part 00000: dropped (empty)"}


def test_what_the_draw_had_no_place_for_is_said_not_to_be_drawn(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    few = MixRecipe(shares={"text": 1}, num_samples=3)
    draw = make(mix_samples.bind("few", few, {"text": TEXTS}), store)
    drawn = read_table(draw.read(draw.phase("draw")[0].file(DRAW_FILE)))["sample_id"].to_pylist()
    other = next(sample_id(f"text {number}") for number in range(0, 8, 2) if sample_id(f"text {number}") not in drawn)
    assert describe(sightings_of(store, other)["mix_samples"]) == "not drawn"


def test_every_kind_of_artifact_begins_samples_is_searched_or_reads_nothing() -> None:
    named = {kind.kind for kind in vars(kinds).values() if isinstance(kind, type) and kind.__module__ == kinds.__name__}
    assert named - FINDERS.keys() - SOURCE_TABLES.keys() == {BaseLlm.kind, ModelFolder.kind}
