"""Draws: the stated shares, each sample as often as it should, in one shuffled order, computed part by part."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.local import LocalContext, local_context
from stages.artifacts.kinds import DRAW_FILE, Draw
from stages.commit.execute_step import execute_step
from stages.commit.parts import scratch_folder
from stages.contract import Event, GangLayout, StageError, Step
from stages.filter_pairs import FilterPairsRecipe
from stages.formats.draws import drawn_by_source
from stages.formats.sample_table import read_table
from stages.mix_samples import Allotment, MixRecipe, allot, drawings, mix_samples
from stages.packing.bin_packing import plan_rows
from stages.store.store import Store
from tests.worlds.mixture_world import (
    CHATS,
    KEPT,
    LLM,
    TEXTS,
    PairsRecipe,
    TextsRecipe,
    filter_pairs,
    make,
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


def test_the_same_draw_for_another_partition_of_the_work() -> None:
    """Parts are computed alone, so how samples are cut into parts does not change who is drawn nor where."""
    allotment = Allotment(num_kept={"a": 100, "b": 31}, num_drawn={"a": 40, "b": 77})
    whole = [array.tolist() for array in drawings(allotment, "b", 0, 31, seed=3)]
    cut: list[list[int]] = [[], [], []]
    for first, number in ((0, 10), (10, 1), (11, 20)):
        samples, repetitions, places = drawings(allotment, "b", first, number, seed=3)
        for into, values in zip(cut, (samples + first, repetitions, places), strict=True):
            into.extend(values.tolist())
    assert cut == whole


@given(num_kept=st.integers(1, 60), num_drawn=st.integers(1, 200), other=st.integers(1, 50), seed=st.integers(0, 5))
def test_places_are_each_taken_once_and_samples_equally_often(num_kept, num_drawn, other, seed) -> None:
    allotment = Allotment(num_kept={"a": num_kept, "z": other}, num_drawn={"a": num_drawn, "z": other})
    samples, repetitions, places = drawings(allotment, "a", 0, num_kept, seed)
    _, _, others = drawings(allotment, "z", 0, other, seed)
    assert sorted([*places.tolist(), *others.tolist()]) == list(range(num_drawn + other))
    times = np.bincount(samples, minlength=num_kept)
    assert times.sum() == num_drawn and times.max() - times.min() <= 1
    assert len(set(zip(samples.tolist(), repetitions.tolist(), strict=True))) == num_drawn


def test_neither_source_nor_length_says_where_a_sample_is_drawn_or_packed() -> None:
    """Over a million lengths the mean place of each source, and of each tenth of its lengths, is within 1% of the
    middle: in the draw and, packed whole or in windows, in the rows. The sources lie sorted by length, the worst case.
    """
    allotment = Allotment(num_kept={"pairs": 700_000, "text": 400_000}, num_drawn={"pairs": 700_000, "text": 300_000})
    chance = np.random.default_rng(0)
    lengths = np.zeros(allotment.total, np.uint16)
    groups: dict[str, np.ndarray] = {}
    for source, kept in allotment.num_kept.items():
        own = np.sort(np.clip(chance.lognormal(6, 1, kept), 1, 16_384).astype(np.uint16))
        samples, _, places = drawings(allotment, source, 0, kept, seed=0)
        lengths[places] = own[samples]
        groups |= {f"{source} {tenth}": places[samples * 10 // kept == tenth] for tenth in range(10)}
        groups[source] = places
    in_draw = np.arange(allotment.total) / allotment.total
    assert strays(groups, in_draw) < 0.005
    for window in (None, 4096):
        plan = plan_rows(lengths, row_tokens=16_384, key="rows", window_documents=window)
        in_rows = np.empty(allotment.total)
        in_rows[plan.documents] = np.repeat(np.arange(plan.num_rows), np.diff(plan.row_starts)) / plan.num_rows
        assert strays(groups, in_rows) < 0.005


def strays(groups: dict[str, np.ndarray], where: np.ndarray) -> float:
    """How far the mean place of any group is from the middle."""
    return max(abs(where[places].mean() - 0.5) for places in groups.values())


@given(
    shares=st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 100), min_size=1),
    kept=st.integers(50_000, 10**7),
    num_samples=st.integers(20_000, 40_000),
)
def test_allotted_numbers_add_up_and_follow_the_shares(shares, kept, num_samples) -> None:
    allotment = allot(
        MixRecipe(shares=shares, num_samples=num_samples), dict.fromkeys(shares, kept), dict.fromkeys(shares, 1.0)
    )
    assert allotment.total == num_samples
    for source, share in shares.items():
        assert abs(allotment.num_drawn[source] - num_samples * share / sum(shares.values())) < 1


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


def test_a_source_too_small_for_its_share_to_show_is_refused() -> None:
    with pytest.raises(StageError, match="source 'b' gets no sample of 5"):
        allot(MixRecipe(shares={"a": 99, "b": 1}, num_samples=5), {"a": 10, "b": 10}, {"a": 1.0, "b": 1.0})
