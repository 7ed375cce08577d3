"""Draws: the stated shares, each sample as often as it should, in one shuffled order, computed part by part."""

import random
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.local import LocalContext, local_context, make
from stages.artifacts.kinds import DRAW_FILE, Draw
from stages.commit.execute_step import execute_step
from stages.commit.parts import scratch_folder
from stages.contract import Event, GangLayout, Source, StageError, Step
from stages.filter_pairs import FilterPairsRecipe
from stages.formats.draws import drawn_by_source
from stages.formats.sample_table import read_table
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.store.store import Store
from tests.worlds.mixture_world import (
    CHATS,
    KEPT,
    LLM,
    TEXTS,
    PairsRecipe,
    TextsRecipe,
    filter_pairs,
    jpeg,
    make_pairs,
    make_texts,
    run,
    spec_of,
)


def table_of(draw: Draw) -> pa.Table:
    return pa.concat_tables(read_table(draw.read(part.file(DRAW_FILE))) for part in draw.phase("draw"))


def in_order(draw: Draw) -> list[dict]:
    return table_of(draw).sort_by("place").to_pylist()


def bind(recipe: MixRecipe, **sources: Step) -> Step[Draw]:
    return mix_samples.bind("mix", recipe, sources)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_shares_of_samples_use_up_the_scarcest_source_and_repeat_none(store: Store) -> None:
    draw = make(bind(MixRecipe(shares={"pairs": 7, "text": 3}), pairs=KEPT, text=TEXTS), store)
    rows = in_order(draw)
    num_pairs = make(KEPT, store).manifest.items.kept
    assert Counter(row["source"] for row in rows) == {"pairs": num_pairs, "text": round(num_pairs * 3 / 7)}
    assert len({(row["source"], row["sample_id"]) for row in rows}) == len(rows)
    assert [row["place"] for row in rows] == list(range(len(rows)))


def test_every_kept_sample_is_drawn_or_counted_as_not_drawn(store: Store) -> None:
    draw = make(bind(MixRecipe(shares={"pairs": 1, "text": 1}, num_samples=20), pairs=KEPT, text=TEXTS), store)
    num_kept = sum(make(source, store).manifest.items.kept for source in (KEPT, TEXTS))
    assert draw.manifest.items.kept == 20
    assert draw.manifest.items.dropped == {"not_drawn": num_kept - 20}
    drawn = Counter()
    for part in draw.parts:
        drawn[part.facts["source"]] += part.facts["num_drawn"]
    assert drawn == {"pairs": 10, "text": 10}


def test_what_was_really_drawn_of_each_source_is_recorded_and_reported(tmp_path: Path) -> None:
    recipe = MixRecipe(shares={"pairs": 1, "text": 1}, unit="tokens", max_epochs={"text": 3}, num_samples=90)
    step, store, numbers = bind(recipe, pairs=KEPT, text=TEXTS), Store(tmp_path / "store"), {}
    for source in (KEPT, TEXTS):
        make(source, store)
    draw = Draw(store, execute_step(spec_of(step, store, "run-1"), local_context, lambda event: noted(event, numbers)))
    rows = in_order(draw)
    for source, counts in drawn_by_source(draw.phase("draw")).items():
        mine = [row["sample_id"] for row in rows if row["source"] == source]
        assert (counts["drawn"], counts["distinct"]) == (len(mine), len(set(mine)))
        assert numbers[f"drawn_{source}"] == len(mine) and numbers[f"tokens_{source}"] == counts["tokens"] > 0
        assert numbers[f"epochs_{source}"] == len(mine) / counts["samples"] and numbers[f"held_out_{source}"] == 0


def noted(event: Event, numbers: dict[str, float]) -> None:
    if event.event == "numbers":
        numbers.update(event.numbers)


def test_a_drawing_names_the_row_it_came_from(store: Store) -> None:
    draw = make(bind(MixRecipe(shares={"text": 1, "chat": 1}), text=TEXTS, chat=CHATS), store)
    texts = make(TEXTS, store)
    for row in in_order(draw):
        if row["source"] == "text":
            table = read_table(texts.read(texts.part(row["part"]).file("documents.parquet")))
            assert table["sample_id"][row["position"]].as_py() == row["sample_id"]
            assert table["verdict"][row["position"]].as_py() == "kept"


def test_repetition_is_asked_for_and_numbered(store: Store) -> None:
    shares = {"pairs": 1, "text": 1}
    num_text = make(TEXTS, store).manifest.items.kept
    refused = bind(MixRecipe(shares=shares, num_samples=2 * num_text + 20), pairs=KEPT, text=TEXTS)
    with pytest.raises(StageError, match=r'1\.\d+ passes over it; allow them with max_epochs=\{"text": 2\}'):
        make(refused, store)
    recipe = MixRecipe(shares=shares, num_samples=2 * num_text + 20, max_epochs={"text": 2})
    rows = [row for row in in_order(make(bind(recipe, pairs=KEPT, text=TEXTS), store)) if row["source"] == "text"]
    times = Counter(row["sample_id"] for row in rows)
    assert Counter(times.values()) == {1: num_text - 10, 2: 10}
    for sample_id, number in times.items():
        assert sorted(row["repetition"] for row in rows if row["sample_id"] == sample_id) == list(range(number))


def test_shares_of_tokens_weigh_pictures_and_text(store: Store) -> None:
    recipe = MixRecipe(shares={"pairs": 1, "text": 1}, unit="tokens", min_pixels_px=1024, max_epochs={"text": 9})
    draw = make(bind(recipe, pairs=KEPT, text=TEXTS), store)
    by_source = Counter(row["source"] for row in in_order(draw))
    weighed = {part.part: part.facts["num_tokens"] for part in draw.phase("weigh")}
    kept = {"pairs": make(KEPT, store).manifest.items.kept, "text": make(TEXTS, store).manifest.items.kept}
    tokens = {
        source: number * sum(weight for part, weight in weighed.items() if part.startswith(source)) / kept[source]
        for source, number in by_source.items()
    }
    assert tokens["pairs"] == pytest.approx(tokens["text"], rel=0.02)
    assert by_source["text"] > by_source["pairs"]


def test_licences_and_languages_are_counted_as_they_were_drawn(tmp_path: Path) -> None:
    """Twice, because the pairs are passed over twice; the filter's verdicts count."""
    rows = [
        {"image": jpeg(random.Random(number), (96, 64)), "text": f"picture {number}", "LICENSE": licence}
        for number, licence in enumerate(["cc0-1.0", "cc0-1.0", "cc-by-4.0", None])
    ]
    rows.append({"image": jpeg(random.Random(9), (8, 8)), "text": "too small", "LICENSE": "cc0-1.0"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    pairs = import_pairs.bind("pairs", ImportPairsRecipe(source=Source("mine"), num_pairs_per_part=2))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(max_share_lost=1), pairs)
    draw = bind(MixRecipe(shares={"pairs": 1}, max_epochs={"pairs": 2}), pairs=kept)
    made = make(draw, tmp_path / "store", sources={"mine": str(tmp_path / "mine.parquet")})
    assert made.head.carried == {"pairs": {"licence": {"cc0-1.0": 4, "": 2, "cc-by-4.0": 2}}}
    assert sum(part.facts["num_drawn"] for part in made.phase("draw")) == 8


def test_another_seed_draws_others_in_another_order(store: Store) -> None:
    recipes = [MixRecipe(shares={"text": 1}, num_samples=15, seed=seed) for seed in (0, 1)]
    first, second = ([row["sample_id"] for row in in_order(make(bind(r, text=TEXTS), store))] for r in recipes)
    assert first != second and set(first) != set(second)


def test_a_draw_is_the_same_bytes_in_another_store(store: Store, tmp_path: Path) -> None:
    step = bind(MixRecipe(shares={"pairs": 7, "text": 3}), pairs=KEPT, text=TEXTS)
    assert make(step, store).manifest.content == make(step, Store(tmp_path / "other")).manifest.content


def test_a_draw_is_the_same_whoever_makes_its_parts_and_when(store: Store, tmp_path: Path) -> None:
    """Backwards, and by three attempts of which two end early, as workers of any number would come to do them."""
    recipe = MixRecipe(shares={"pairs": 7, "text": 3}, unit="tokens", max_epochs={"text": 2})
    exam = make_texts.bind("exam", TextsRecipe(num_texts=4, num_parts=2))
    step = mix_samples.bind("mix", recipe, {"pairs": KEPT, "text": TEXTS}, {"exam": exam}, LLM)
    wanted = make(step, store).manifest.content
    backwards, interrupted = Store(tmp_path / "backwards"), Store(tmp_path / "interrupted")
    for other in (backwards, interrupted):
        for source in step.walk()[:-1]:
            make(source, other)
    assert execute_step(spec_of(step, backwards, "run-1"), backwards_context, lambda _: None).content == wanted
    assert run(spec_of(step, interrupted, "run-1"), stop_after_parts=3) is None
    assert run(spec_of(step, interrupted, "run-2"), stop_after_parts=8) is None
    assert run(spec_of(step, interrupted, "run-3")).content == wanted


class BackwardsContext(LocalContext):
    """Makes the parts of a phase from the last to the first."""

    def make_parts(self, work, parts, phase, keep) -> None:
        super().make_parts(work, parts[::-1], phase, keep)


@contextmanager
def backwards_context(writer, post):
    with scratch_folder(writer.step) as scratch:
        yield BackwardsContext(writer=writer, scratch=scratch, post=post, layout=GangLayout())


def test_held_out_data_are_refused_wherever_they_come_from(store: Store) -> None:
    heldout = filter_pairs.bind("k", FilterPairsRecipe(), make_pairs.bind("p", PairsRecipe(split="heldout")))
    with pytest.raises(StageError, match="'quiz' .* held-out split, by make_pairs"):
        make(bind(MixRecipe(shares={"quiz": 1, "text": 1}), quiz=heldout, text=TEXTS), store)
    make(bind(MixRecipe(shares={"quiz": 1, "text": 1}, purpose="examine"), quiz=heldout, text=TEXTS), store)


def test_shares_and_sources_must_name_the_same(store: Store) -> None:
    with pytest.raises(StageError, match=r"shares are given for \['pairs'\].* the sources are \['text'\]"):
        make(bind(MixRecipe(shares={"pairs": 1}), text=TEXTS), store)
