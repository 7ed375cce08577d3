"""Shares in tokens: what is counted before drawing is what packing counts, and the shares hold in what is packed."""

import math

import numpy as np
import pytest

from cluster.local import make
from stages.artifacts.kinds import WEIGHED_FILE, Draw
from stages.contract import StageError, Step
from stages.formats.draws import drawn_by_source
from stages.formats.sample_table import read_table
from stages.mix_samples import MixRecipe, mix_samples
from stages.mixing.shares import Allotment, allot, drawings
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.store.store import Store
from tests.worlds.mixture_world import CHATS, KEPT, LLM, TEXTS

SOURCES = {"pairs": KEPT, "text": TEXTS, "chat": CHATS}
SHARES = {"pairs": 3.0, "text": 2.0, "chat": 1.0}
LIMITS = {"max_sample_tokens": 48, "min_pixels_px": 1024, "max_pixels_px": 65_536}
"""Short enough that texts are cut, pictures made smaller, and some samples cannot be packed at all."""
RECIPE = MixRecipe(shares=SHARES, unit="tokens", max_epochs=dict.fromkeys(SHARES, 4), **LIMITS)


def bind(recipe: MixRecipe = RECIPE) -> Step[Draw]:
    return mix_samples.bind("mix", recipe, SOURCES, None, LLM)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def packed_tokens(store: Store) -> dict[str, int]:
    """Tokens of each source in the packed rows."""
    rows = make(pack_rows.bind("rows", PackRowsRecipe(max_row_tokens=512, **LIMITS), bind(), LLM), store)
    assert rows.manifest.items.dropped["too_long"] > 0
    assert sum(part.facts["num_with_smaller_pictures"] for part in rows.phase("measure")) > 0
    return {name: counts["tokens"] for name, counts in rows.part("plan").facts["packed"].items()}


def test_a_draw_records_the_very_tokens_that_packing_makes_of_it(store: Store, packed_tokens: dict[str, int]) -> None:
    drawn = drawn_by_source(make(bind(), store).phase("draw"))
    assert {source: counts["tokens"] for source, counts in drawn.items()} == packed_tokens


def test_packed_tokens_come_to_the_shares(store: Store, packed_tokens: dict[str, int]) -> None:
    """Within four standard errors of the samples of a part-used pass; whole passes are exact."""
    draw = make(bind(), store)
    drawn = drawn_by_source(draw.phase("draw"))
    per_share = {}
    for source, counts in drawn.items():
        weighed = [part for part in draw.phase("weigh") if part.facts["source"] == source]
        tables = [read_table(draw.read(part.file(WEIGHED_FILE))) for part in weighed]
        lengths = np.concatenate([table["num_tokens"].to_numpy() for table in tables])
        assert len(lengths) == counts["samples"]
        part_used = counts["drawn"] % counts["samples"]
        error = 4 * lengths.std() * math.sqrt(part_used * (1 - part_used / len(lengths))) + lengths.mean()
        assert error < 0.1 * packed_tokens[source]
        low, high = (packed_tokens[source] + sign * error for sign in (-1, 1))
        per_share[source] = low / SHARES[source], high / SHARES[source]
    assert max(low for low, _ in per_share.values()) <= min(high for _, high in per_share.values())


def test_over_many_samples_the_shares_in_tokens_are_within_a_fiftieth() -> None:
    """40,000 drawn samples whose lengths spread over three powers of ten."""
    chance = np.random.default_rng(0)
    lengths = {"long": chance.lognormal(7, 1, 90_000), "short": chance.lognormal(4, 1, 500_000)}
    kept = {source: len(values) for source, values in lengths.items()}
    means = {source: values.mean() for source, values in lengths.items()}
    allotment: Allotment = allot({"long": 1, "short": 1}, kept, means, num_samples=400_000, max_epochs={})
    tokens = {}
    for source, values in lengths.items():
        samples, _, _ = drawings(allotment, source, 0, len(values), seed=0)
        assert len(samples) < len(values)
        tokens[source] = values[samples].sum()
    assert tokens["long"] / sum(tokens.values()) == pytest.approx(0.5, rel=0.02)


def test_without_a_tokenizer_tokens_are_estimated(store: Store) -> None:
    estimated = make(mix_samples.bind("mix", RECIPE, SOURCES), store)
    counted = make(bind(), store)
    tokens = [sum(part.facts["num_tokens"] for part in draw.phase("weigh")) for draw in (estimated, counted)]
    assert tokens[0] != tokens[1] and 0.5 < tokens[0] / tokens[1] < 2


def test_a_tokenizer_for_shares_in_samples_is_refused(store: Store) -> None:
    with pytest.raises(StageError, match=r"shares count samples and BaseLlm.* counts tokens; leave it out"):
        make(bind(MixRecipe(shares=SHARES)), store)
