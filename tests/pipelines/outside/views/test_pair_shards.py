"""Pairs that share a picture, and pairs with new captions: every kept one is in the view, under a key of its own."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import webdataset

from cluster.local import make
from pipelines.outside.views.layouts import LAYOUTS
from pipelines.outside.views.views import lay_out, plan_view
from stages.artifacts.kinds import PAIRS_FILE, SAMPLES_FILE, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import balance_of, sample_id_type, write_table
from stages.formats.tar import TarWriter
from stages.store.store import Store
from tests.stages.formats.judged.test_kept_tables import EveryRecipe, judge_pairs
from tests.worlds.mixture_world import sample_id

NUM_PAIRS = 12


class SharedRecipe(Recipe):
    num_pictures: int = 4
    """Pictures of a part: pairs 0, 4 and 8 share the first of four."""


def write_shared(part: Part, draft: PartDraft, num_pictures: int) -> None:
    rows: list[dict[str, Any]] = []
    with TarWriter(draft.path(PAIRS_FILE)) as tar:
        offsets: list[int] = []
        for number in range(NUM_PAIRS):
            which = number % num_pictures
            key, image = f"{part.name}{which:06d}", b"\xff\xd8\xff" + f"{part.name} {which}".encode() * 9
            row = {"sample_id": sample_id(f"{part.name} {number}"), "url": f"http://toy.invalid/{which}", "key": key}
            row |= {"caption": f"pair {number} of {part.name}", "score": number / 2, "verdict": "kept", "reason": None}
            row |= {"sha256": hashlib.sha256(image).digest(), "width_px": 8, "height_px": 8}
            if which == number:
                facts = {"caption": row["caption"], "sample_id": row["sample_id"].hex(), "score": row["score"]}
                members = {"jpg": image, "txt": row["caption"].encode(), "json": json.dumps(facts).encode()}
                offsets.append(tar.add(key, members)["jpg"])
            rows.append(row | {"image_offset": offsets[which], "image_size_bytes": len(image)})
    names = {"sample_id": sample_id_type(), "sha256": pa.binary(32), "image_offset": pa.int64()}
    names |= {name: pa.string() for name in ("url", "caption", "verdict", "reason", "key")}
    names |= {"width_px": pa.int32(), "height_px": pa.int32(), "image_size_bytes": pa.int64(), "score": pa.float64()}
    table = pa.Table.from_pylist(rows, schema=pa.schema(names))
    write_table(table, draft.path(SAMPLES_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=SharedRecipe, makes=RawPairs)
def make_shared(recipe: SharedRecipe, *, ctx: StageContext) -> None:
    from functools import partial

    parts = [Part(name=name, num_items=NUM_PAIRS) for name in ("a", "b")]
    ctx.spread(partial(write_shared, num_pictures=recipe.num_pictures), over=parts, phase="download")


@contextmanager
def unseen(num_items: int) -> Iterator[Any]:
    yield lambda number: None


def read(artifact: Any, folder: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    planned = plan_view(artifact, LAYOUTS["wds"], None)
    ended = lay_out(artifact, planned, folder, unseen)
    urls = f"{folder}/{planned.layout.pattern(len(planned.shards))}"
    return list(webdataset.WebDataset(urls, shardshuffle=False)), dict(ended)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


SHARED = make_shared.bind("shared", SharedRecipe())


def test_pairs_that_share_a_picture_are_all_there_beside_the_linked_tars(store: Store, tmp_path: Path) -> None:
    raw = make(SHARED, store)
    samples, ended = read(raw, tmp_path)
    assert ended == {"linked": 2, "written": 2}
    captions = [one["txt"].decode() for one in samples]
    assert sorted(captions) == sorted(f"pair {number} of {part}" for part in "ab" for number in range(NUM_PAIRS))
    assert len({one["__key__"] for one in samples}) == len(samples)
    by_caption = {one["txt"].decode(): one for one in samples}
    assert by_caption["pair 8 of a"]["jpg"] == by_caption["pair 0 of a"]["jpg"]
    assert by_caption["pair 8 of a"]["__key__"] == "a000000-0002"
    assert json.loads(by_caption["pair 8 of a"]["json"])["score"] == 4.0


def test_new_captions_and_columns_of_verdicts_are_those_of_the_view(store: Store, tmp_path: Path) -> None:
    kept = make(judge_pairs.bind("judged", EveryRecipe(drop_every=5), SHARED), store)
    samples, ended = read(kept, tmp_path)
    assert ended == {"written": 2} and len(samples) == kept.head.items.kept == 18
    texts = {json.loads(one["json"])["sample_id"]: one["txt"].decode() for one in samples}
    assert texts[sample_id("a 1").hex()] == "new 1" and texts[sample_id("a 2").hex()] == "pair 2 of a"
    assert all(json.loads(one["json"])["caption"] == one["txt"].decode() for one in samples)
    assert json.loads(samples[0]["json"])["score"] == json.loads(samples[0]["json"])["score"] // 1
