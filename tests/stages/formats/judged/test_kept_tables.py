"""Verdicts on verdicts: what all of them keep, with the columns that they give, for pairs and for texts."""

import pickle
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from cluster.local import make
from stages.artifacts.kinds import COLUMNS_FILE, VERDICTS_FILE, KeptPairs, KeptTexts, RawPairs, TextDocuments
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.judged.kept_tables import KeptTables
from stages.formats.judged.texts import TextReader
from stages.formats.pairs import PairReader
from stages.formats.sample_sources import open_source
from stages.formats.sample_table import ItemReason, balance_of, read_table, verdict_columns, write_table
from stages.mix_samples import MixRecipe, mix_samples
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.worlds.mixture_world import PairsRecipe, TextsRecipe, make_pairs, make_texts


class EveryRecipe(Recipe):
    drop_every: int = 3
    """Row of a part that is dropped: each whose number is a multiple."""
    given: bool = True
    """Whether the rows that are kept get new columns."""
    short: bool = False
    """Whether the table of new columns is too short."""


class Dropped(ItemReason):
    EVERY = "every"


def judge(part: Part, draft: PartDraft, reader: KeptTables, recipe: EveryRecipe) -> None:
    table = reader.table(part.name)
    reasons = [Dropped.EVERY if row % recipe.drop_every == 0 else None for row in range(table.num_rows)]
    verdicts = pa.table({"sample_id": table["sample_id"], **verdict_columns(reasons)})
    write_table(verdicts, draft.path(VERDICTS_FILE))
    draft.count(balance_of(verdicts))
    name = "caption" if "caption" in table.column_names else "text"
    if recipe.given:
        texts = [f"new {row}" if row % 2 else None for row in range(table.num_rows)]
        given = pa.table({name: pa.array(texts, pa.string()), "score": pa.array(map(float, range(table.num_rows)))})
        write_table(given.slice(int(recipe.short)), draft.path(COLUMNS_FILE))


@stage(number=1, recipe=EveryRecipe, makes=KeptPairs)
def judge_pairs(recipe: EveryRecipe, raw: RawPairs | KeptPairs, *, ctx: StageContext) -> None:
    reader = PairReader(raw)
    ctx.spread(partial(judge, reader=reader, recipe=recipe), over=reader.parts_to_judge, phase="judge")


@stage(number=1, recipe=EveryRecipe, makes=KeptTexts)
def judge_texts(recipe: EveryRecipe, raw: TextDocuments | KeptTexts, *, ctx: StageContext) -> None:
    reader = TextReader(raw)
    ctx.spread(partial(judge, reader=reader, recipe=recipe), over=reader.parts_to_judge, phase="judge")


RAW = make_pairs.bind("raw", PairsRecipe())
FIRST = judge_pairs.bind("first", EveryRecipe(), RAW)
SECOND = judge_pairs.bind("second", EveryRecipe(drop_every=4, given=False), FIRST)
FILTERED = filter_pairs.bind("filtered", FilterPairsRecipe(min_caption_chars=6), SECOND)
TEXTS = make_texts.bind("texts", TextsRecipe())
KEPT_TEXTS = judge_texts.bind("kept_texts", EveryRecipe(), judge_texts.bind("once", EveryRecipe(drop_every=5), TEXTS))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def rows(step: Any, store: Store, part: str) -> list[dict[str, Any]]:
    table = PairReader(make(step, store)).read_table(part)
    chosen: list[dict[str, Any]] = table.select(["sample_id", "caption", "score", "position"]).to_pylist()
    return chosen


def test_given_columns_stand_in_place_of_those_of_the_judged_rows(store: Store) -> None:
    for part in ("00000", "00002"):
        raw = PairReader(make(RAW, store)).read_table(part).to_pylist()
        expected = [
            {
                "sample_id": row["sample_id"],
                "caption": f"new {number}" if number % 2 else row["caption"],
                "score": float(number),
                "position": number,
            }
            for number, row in enumerate(raw)
            if number % 3
        ]
        assert rows(FIRST, store, part) == expected


def test_verdicts_on_verdicts_keep_what_all_of_them_keep(store: Store) -> None:
    first, second = (rows(step, store, "00001") for step in (FIRST, SECOND))
    assert [row | {"position": 0} for row in second] == [
        row | {"position": 0} for number, row in enumerate(first) if number % 4
    ]
    assert [row["position"] for row in second] == [number for number in range(len(first)) if number % 4]


def test_a_filter_of_ours_judges_the_captions_that_an_earlier_stage_wrote(store: Store) -> None:
    made = make(FILTERED, store)
    seen = PairReader(make(SECOND, store))
    captions = [caption for part in seen.parts for caption in seen.read_table(part)["caption"].to_pylist()]
    short = sum(len(caption) < 6 for caption in captions)
    assert short > 0 and made.manifest.items.dropped["caption_too_short"] <= short
    kept = list(PairReader(made))
    assert kept and all(len(pair.caption) >= 6 for pair in kept)
    assert {pair.caption for pair in kept} <= set(captions)
    assert made.manifest.items.total == make(SECOND, store).manifest.items.kept


def test_some_columns_are_read_without_the_others(store: Store) -> None:
    reader = PairReader(make(SECOND, store))
    assert set(reader.read_table("00000", ["score"]).column_names) == {"sample_id", "verdict", "score", "position"}
    whole = reader.read_table("00000")
    for names in (["caption"], ["score", "url"], ["nothing"]):
        some = reader.read_table("00000", names)
        assert some == whole.select(some.column_names)


def test_the_pictures_are_those_of_the_raw_artifact_at_the_end(store: Store) -> None:
    reader = pickle.loads(pickle.dumps(PairReader(make(FILTERED, store))))  # noqa: S301
    assert reader.raw.fingerprint == make(RAW, store).fingerprint
    raw = PairReader(make(RAW, store))
    for pair in list(reader)[::4]:
        assert reader.image(pair.sample_id) == raw.image(pair.sample_id)
        assert reader.pair(pair.sample_id) == pair


def test_texts_that_were_changed_are_what_is_mixed(store: Store) -> None:
    artifact = make(KEPT_TEXTS, store)
    source = open_source(artifact)
    texts = {sample.sample_id: sample.text for part in source.num_kept for sample in source.samples(part)}
    assert len(texts) == artifact.manifest.items.kept == sum(source.num_kept.values()) > 0
    read = {one for part in source.num_kept for one in source.table(part)["text"].to_pylist()}
    assert set(texts.values()) == read
    assert any(text.startswith("new ") for text in read) and not all(text.startswith("new ") for text in read)
    recipe = MixRecipe(shares={"a": 1, "b": 1})
    draw = make(mix_samples.bind("mix", recipe, {"a": KEPT_TEXTS, "b": FILTERED}), store)
    assert draw.manifest.items.kept > 0


def test_a_column_table_of_other_rows_is_refused(store: Store) -> None:
    made = make(judge_pairs.bind("short", EveryRecipe(short=True), RAW), store)
    with pytest.raises(StoreError, match="part 00000 gives columns to 17 of 18 rows"):
        PairReader(made).read_table("00000")


def test_verdicts_on_other_rows_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = PairReader(make(FIRST, store))
    assert made.judged is not None
    monkeypatch.setattr(
        made.judged, "read_table", lambda part, columns=None: PairReader.read_table(made.judged, "00001")
    )
    with pytest.raises(StoreError, match="judges other samples than its input 'raw' kept"):
        made.read_table("00000")


def test_positions_are_rows_of_the_verdict_table(store: Store) -> None:
    made = make(SECOND, store)
    for part in made.parts:
        verdicts = read_table(made.read(part.file(VERDICTS_FILE)))
        kept = PairReader(made).read_table(part.part)
        assert verdicts.take(kept["position"])["sample_id"] == kept["sample_id"]
        assert pc.all(pc.equal(kept["verdict"], "kept")).as_py()
