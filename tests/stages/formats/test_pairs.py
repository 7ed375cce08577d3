"""Pairs are found by table, by name and by URL, and an image is read by one range that is checked."""

import io
import pickle
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import PAIRS_FILE, VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.filter_pairs import DropReason
from stages.formats.pairs import PairReader
from stages.formats.sample_table import balance_of, verdict_columns, write_table
from stages.store.errors import StoreError
from stages.store.store import Store


def test_kept_pairs_come_in_table_order_with_their_place(toy_pairs: Any) -> None:
    reader = PairReader(toy_pairs.kept)
    pairs = list(reader)
    assert len(pairs) == reader.num_kept == toy_pairs.kept.manifest.items.kept
    assert pairs == sorted(pairs, key=lambda pair: (pair.part, pair.position))
    for pair in pairs[::7]:
        verdicts = toy_pairs.kept.part(pair.part)
        assert pair.position < verdicts.items.total
        assert reader.pair(pair.sample_id) == pair


def test_raw_pairs_hold_more_than_kept_pairs(toy_pairs: Any) -> None:
    raw = {pair.sample_id: pair for pair in PairReader(toy_pairs.raw)}
    kept = {pair.sample_id: pair for pair in PairReader(toy_pairs.kept)}
    assert kept.keys() < raw.keys() and len(raw) == toy_pairs.raw.manifest.items.kept
    assert all(kept[name].image.offset == raw[name].image.offset for name in kept)


def test_an_image_is_the_one_that_was_downloaded(toy_pairs: Any) -> None:
    reader = PairReader(toy_pairs.kept)
    for pair in list(reader)[::20]:
        data = reader.image(pair.sample_id)
        assert len(data) == pair.image.size_bytes
        assert Image.open(io.BytesIO(data)).format == "JPEG"
        assert reader.sample_id_of(pair.url) is not None


def test_a_url_that_was_not_kept_has_no_sample(toy_pairs: Any) -> None:
    reader = PairReader(toy_pairs.kept)
    dropped = {pair.url for pair in PairReader(toy_pairs.raw)} - {pair.url for pair in reader}
    assert dropped
    assert all(reader.sample_id_of(url) is None for url in dropped)
    with pytest.raises(KeyError, match="no kept pair of KeptPairs"):
        reader.pair(bytes(16))


def test_the_first_of_two_pairs_with_one_url_is_found(toy_pairs: Any) -> None:
    reader = PairReader(toy_pairs.raw)
    first = next(iter(reader))
    assert reader.sample_id_of(first.url) == first.sample_id


def test_a_reader_travels_small(toy_pairs: Any) -> None:
    reader = PairReader(toy_pairs.kept)
    before = len(pickle.dumps(reader))
    pairs = list(reader)
    reader.pair(pairs[0].sample_id)
    assert len(pickle.dumps(reader)) == before
    assert list(pickle.loads(pickle.dumps(reader))) == pairs  # noqa: S301 - our own


def test_a_flipped_bit_is_noticed_and_named(toy_pairs: Any, tmp_path: Any) -> None:
    import shutil

    shutil.copytree(toy_pairs.store.folder, tmp_path / "store")
    raw = open_artifact(Store(tmp_path / "store"), "download_pairs", toy_pairs.raw.fingerprint, RawPairs)
    pair = next(iter(PairReader(raw)))
    path = raw.store.folder / raw.part(pair.part).file(PAIRS_FILE).key
    damaged = bytearray(path.read_bytes())
    damaged[pair.image.offset + 100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(
        StoreError, match=f"pairs.tar of .* is damaged at byte {pair.image.offset}: .*{pair.sample_id.hex()}"
    ):
        PairReader(raw).image(pair.sample_id)


class HalvingRecipe(Recipe):
    """Every second pair of each part is dropped."""


def halve_part(part: Part, draft: PartDraft, kept: KeptPairs) -> None:
    table = PairReader(kept).table(part.name)
    reasons = [DropReason.TOO_LARGE if number % 2 else None for number in range(table.num_rows)]
    verdicts = pa.table({"sample_id": table["sample_id"], **verdict_columns(reasons)})
    write_table(verdicts, draft.path(VERDICTS_FILE))
    draft.count(balance_of(verdicts))


@stage(number=1, recipe=HalvingRecipe, makes=KeptPairs)
def halve_pairs(recipe: HalvingRecipe, raw: KeptPairs, *, ctx: StageContext) -> None:
    over = [Part(name=record.part, num_items=record.items.kept) for record in raw.parts]
    ctx.spread(partial(halve_part, kept=raw), over=over, phase="judge")


def test_verdicts_may_be_about_pairs_that_earlier_verdicts_kept(toy_pairs: Any, carry: Any) -> None:
    step = halve_pairs.bind("twice", HalvingRecipe(), halve_pairs.bind("once", HalvingRecipe(), toy_pairs.kept_step))
    twice = carry(step, toy_pairs.store)
    reader = PairReader(twice)
    assert [judge.stage for judge in reader.judges] == ["filter_pairs", "halve_pairs", "halve_pairs"]
    assert reader.raw.fingerprint == toy_pairs.raw.fingerprint
    whole: dict[str, list[Any]] = {}
    for pair in PairReader(toy_pairs.kept):
        whole.setdefault(pair.part, []).append(pair)
    wanted = [pair.sample_id for part in whole.values() for pair in part[::4]]
    pairs = list(reader)
    assert [pair.sample_id for pair in pairs] == wanted and len(wanted) == twice.head.items.kept
    assert {pair.position % 2 for pair in pairs} == {0}
    assert reader.image(wanted[-1]) == PairReader(toy_pairs.raw).image(wanted[-1])
