"""Packing end to end: every drawing is in one row or has a reason, rows hold what the samples say, bytes repeat."""

import json
import math
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from cluster.local import local_context, make
from neo_model.inputs.conversation import IMAGE_CONTEXT, encode_caption
from stages.artifacts.kinds import (
    DOCUMENT_RECORDS_FILE,
    DRAW_FILE,
    MEASURED_FILE,
    ROWS_FILE,
    SAMPLES_FILE,
    Draw,
    RawPairs,
    Rows,
)
from stages.artifacts.records import ItemBalance, sha256_of
from stages.commit.execute_step import execute_step
from stages.commit.parts import Draft
from stages.contract import Event, StageError, Step
from stages.formats.packed_rows.rows import RowReader
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.packing.write import rewrite_part
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.stages.packing.checker import check_rows
from tests.worlds.mixture_world import (
    CHATS,
    KEPT,
    LLM,
    TEXTS,
    ChatsRecipe,
    TextsRecipe,
    make_chats,
    make_texts,
    run,
    sample_id,
    spec_of,
)

MIX = mix_samples.bind(
    "mix",
    MixRecipe(shares={"pairs": 2, "text": 1, "chat": 1}, max_epochs={"pairs": 2, "text": 2, "chat": 2}),
    {"pairs": KEPT, "text": TEXTS, "chat": CHATS},
)
SMALL = PackRowsRecipe(max_row_tokens=512, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)


def bind(recipe: PackRowsRecipe, draw: Step[Draw] = MIX) -> Step[Rows]:
    return pack_rows.bind("rows", recipe, draw, LLM)


def drawn(draw: Draw) -> list[dict]:
    tables = [read_table(draw.read(part.file(DRAW_FILE))) for part in draw.phase("draw")]
    return pa.concat_tables(tables).to_pylist()


def tables(rows: Rows, phase: str, name: str) -> list[dict]:
    return [row for part in rows.phase(phase) for row in read_table(rows.read(part.file(name))).to_pylist()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def packed(store: Store) -> Rows:
    return make(bind(SMALL), store)


def test_every_drawing_ends_in_one_row(packed: Rows, store: Store) -> None:
    wanted = Counter((row["source"], row["sample_id"]) for row in drawn(make(MIX, store)))
    in_rows: Counter[tuple[str, bytes]] = Counter()
    for row in RowReader(packed):
        in_rows.update(zip(row.sources, row.sample_ids, strict=True))
    assert in_rows == wanted
    assert packed.manifest.items == ItemBalance(kept=wanted.total())
    listed = Counter((row["source"], row["sample_id"]) for row in tables(packed, "write", SAMPLES_FILE))
    assert listed == wanted


def test_a_document_is_its_sample_tokenised_and_its_picture_copied(packed: Rows, store: Store) -> None:
    pairs, tokenizer = PairReader(make(KEPT, store)), tokenizer_of(make(LLM, store))
    context = tokenizer.token_to_id(IMAGE_CONTEXT)
    num_seen = 0
    for row in RowReader(packed):
        edges = row.document_offsets.tolist()
        is_picture_start = (row.token_ids == context) & (np.roll(row.token_ids, 1) != context)
        for number, source in enumerate(row.sources):
            start, end = edges[number : number + 2]
            pictures = slice(int(is_picture_start[:start].sum()), int(is_picture_start[:end].sum()))
            tokens_of_pictures = [int(height * width // 4) for height, width in row.image_grids[pictures]]
            assert (row.token_ids[start:end] == context).sum() == sum(tokens_of_pictures)
            if source == "pairs":
                pair = pairs.pair(row.sample_ids[number])
                expected = encode_caption(tokenizer, pair.caption, tokens_of_pictures)
                assert row.token_ids[start:end].tolist() == expected.token_ids
                assert row.supervised[start:end].tolist() == expected.supervised
                assert row.images[pictures] == [pairs.image_of(pair.image)]
                num_seen += 1
    assert num_seen == packed.part("plan").facts["packed"]["pairs"]["samples"] > 50


def test_the_plan_certifies_itself(packed: Rows) -> None:
    facts = packed.part("plan").facts
    lengths = [len(row.token_ids) for row in RowReader(packed)]
    assert facts["num_rows"] == len(lengths)
    assert facts["num_tokens"] == sum(lengths)
    assert facts["fill"] == pytest.approx(sum(lengths) / len(lengths) / 512)
    assert facts["lower_bound_rows"] == math.ceil(sum(lengths) / 512)
    assert max(lengths) <= 512
    per_source = Counter(source for row in RowReader(packed) for source in row.sources)
    assert {name: counts["documents"] for name, counts in facts["packed"].items()} == per_source


def test_each_tar_says_what_it_holds_of_each_source(packed: Rows) -> None:
    reader = RowReader(packed)
    lengths = [np.diff(row.document_offsets).tolist() for row in reader]
    assert reader.index("document_tokens")["document_tokens"].to_pylist() == lengths
    for part in packed.phase("write"):
        held: dict[str, Counter[str]] = {}
        for number in range(part.facts["first_row"], part.facts["first_row"] + part.facts["num_rows"]):
            row = reader.read(number)
            for source, num_tokens in zip(row.sources, np.diff(row.document_offsets).tolist(), strict=True):
                held.setdefault(source, Counter()).update(documents=1, tokens=num_tokens)
        assert part.facts["sources"] == held
        assert sum(counts["tokens"] for counts in held.values()) == part.facts["num_tokens"]


def test_the_certificate_and_the_sources_are_reported(tmp_path: Path) -> None:
    store, numbers = Store(tmp_path / "store"), {}

    def post(event: Event) -> None:
        if event.event == "numbers":
            numbers.update(event.numbers)

    make(MIX, store)
    make(LLM, store)
    rows = execute_step(spec_of(bind(SMALL), store, "run-1"), local_context, post)
    facts = next(part for part in rows.parts if part.phase == "plan").facts
    assert numbers["num_rows"] == facts["num_rows"] and numbers["gap"] == facts["gap"]
    assert numbers["samples_pairs"] == facts["packed"]["pairs"]["samples"]
    assert sum(numbers[f"tokens_{source}"] for source in facts["packed"]) == numbers["num_tokens"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window_documents": 20},
        {"max_sample_tokens": 40, "min_pixels_px": 16_384},  # some are dropped, some get smaller pictures, some are cut
        {"max_row_tokens": 90, "max_sample_tokens": 60},  # long documents: rows hold one or two
    ],
)
def test_a_checker_that_shares_nothing_with_the_packer_confirms_the_certificate(store: Store, changes: dict) -> None:
    rows = make(bind(SMALL.model_copy(update=changes)), store)
    certificate = check_rows(store.folder, rows.fingerprint)
    assert certificate["gap"] <= 0.05


def test_the_checker_finds_what_is_wrong(tmp_path: Path) -> None:
    """It would say so if a document were lost or a row counted twice."""
    store = Store(tmp_path / "store")
    rows = make(bind(SMALL), store)
    path = store.folder / rows.folder / "manifest.json"
    whole = path.read_text()
    for wrong in ({"num_documents": -1}, {"lower_bound_rows": 1}, {"num_images": 1}):
        manifest = json.loads(whole)
        facts = next(part for part in manifest["parts"] if part["phase"] == "plan")["facts"]
        facts |= {name: facts[name] + change for name, change in wrong.items()}
        path.write_text(json.dumps(manifest))
        with pytest.raises(AssertionError):
            check_rows(store.folder, rows.fingerprint)
    manifest = json.loads(whole)
    manifest["parts"].pop()
    path.write_text(json.dumps(manifest))
    with pytest.raises(AssertionError):
        check_rows(store.folder, rows.fingerprint)


def test_rows_and_tars_follow_the_recipe(packed: Rows) -> None:
    written = packed.phase("write")
    assert [part.facts["num_rows"] for part in written][:-1] == [4] * (len(written) - 1)
    first = [part.facts["first_row"] for part in written]
    assert first == list(range(0, packed.part("plan").facts["num_rows"], 4))


def test_the_same_bytes_come_out_in_another_store_and_after_deaths(packed: Rows, tmp_path: Path) -> None:
    """A driver that dies in the middle of writing finds its parts again; the rest comes out as it would have."""
    other = Store(tmp_path / "other")
    make(MIX, other)
    make(LLM, other)
    spec = spec_of(bind(SMALL), other, "run-1")
    run(spec, stop_after_parts=9)
    assert not (other.folder / spec.folder / "manifest.json").exists()
    manifest = run(spec_of(bind(SMALL), other, "run-2"))
    assert manifest.content == packed.manifest.content
    attempts = Counter(part.made_by["attempt"] for part in manifest.parts)
    assert attempts == {"run-1": 9, "run-2": len(manifest.parts) - 9}


def test_one_part_is_written_again_from_the_rows_alone(packed: Rows, tmp_path: Path) -> None:
    """As where its tar is damaged and a training cannot wait for a repair of the store."""
    written = packed.phase("write")[1]
    draft = Draft(tmp_path, lambda _: None)
    rewrite_part(packed, written.part, draft)
    assert {name: sha256_of(path) for name, path in draft.files()} == {f.name: f.sha256 for f in written.files}
    assert (draft.items, draft.facts) == (written.items, written.facts)


def test_another_seed_is_another_spec_of_the_same_documents(packed: Rows, store: Store) -> None:
    other = make(bind(SMALL.model_copy(update={"seed": 1})), store)
    first, second = ([row.sample_ids for row in RowReader(rows)] for rows in (packed, other))
    assert first != second
    assert Counter(one for ids in first for one in ids) == Counter(one for ids in second for one in ids)


def test_windows_lose_nothing_either(packed: Rows, store: Store) -> None:
    windowed = make(bind(SMALL.model_copy(update={"window_documents": 20})), store)
    first, second = (Counter(one for row in RowReader(rows) for one in row.sample_ids) for rows in (packed, windowed))
    assert first == second


def test_what_cannot_be_packed_is_listed_with_its_reason(store: Store) -> None:
    """Pictures of two 128 x 96 px and more do not fit 40 tokens; chats about two of them never do."""
    recipe = SMALL.model_copy(update={"max_sample_tokens": 40, "min_pixels_px": 16_384})
    rows = make(bind(recipe), store)
    samples = tables(rows, "write", SAMPLES_FILE)
    assert Counter((row["source"], row["sample_id"]) for row in samples) == Counter(
        (row["source"], row["sample_id"]) for row in drawn(make(MIX, store))
    )
    dropped = [row for row in samples if row["verdict"] == "dropped"]
    assert rows.manifest.items == ItemBalance(
        kept=len(samples) - len(dropped), dropped=dict(Counter(row["reason"] for row in dropped))
    )
    assert rows.manifest.items.dropped.keys() == {"too_long"}
    in_rows = {sample_id for row in RowReader(rows) for sample_id in row.sample_ids}
    assert in_rows.isdisjoint(row["sample_id"] for row in dropped)
    measured = {row["sample_id"]: row for row in tables(rows, "measure", MEASURED_FILE)}
    assert all(measured[row["sample_id"]]["reason"] == "too_long" for row in dropped)
    smaller = [row for row in measured.values() if (row["max_pixels_px"] or 65_536) < 65_536]
    assert smaller and all(row["num_tokens"] <= 40 < row["num_tokens_wanted"] for row in smaller)
    others = [row for row in measured.values() if row["verdict"] == "kept" and row not in smaller]
    assert others and all(row["num_tokens"] == row["num_tokens_wanted"] for row in others)


def test_a_source_of_which_nothing_fits_is_accounted_for(store: Store) -> None:
    chats = make_chats.bind("few", ChatsRecipe(num_chats=3), KEPT)
    draw = mix_samples.bind("mix", MixRecipe(shares={"pairs": 2, "chat": 1}), {"pairs": KEPT, "chat": chats})
    rows = make(bind(SMALL.model_copy(update={"max_sample_tokens": 60, "min_pixels_px": 16_384}), draw), store)
    assert rows.part("chat-00000", "measure").facts["num_documents"] == 0
    assert rows.manifest.items.dropped["too_long"] >= 3
    check_rows(store.folder, rows.fingerprint)


def test_a_long_text_becomes_documents_of_one_sample(store: Store) -> None:
    long = "red blue green " * 400
    texts = make_texts.bind("long", TextsRecipe(texts=(long, "a short one", "another"), num_parts=1))
    draw = mix_samples.bind("mix", MixRecipe(shares={"text": 1}), {"text": texts})
    rows = make(bind(PackRowsRecipe(max_row_tokens=256), draw), store)
    assert rows.manifest.items == ItemBalance(kept=3)
    cut = rows.part("text-00000", "measure").facts
    assert cut["num_cut_texts"] == 1 and cut["num_documents"] > 4
    pieces = {}
    for row in RowReader(rows):
        assert row.images == []
        facts = json.loads(_member(rows, row.number, "json"))["documents"]
        for number, document in enumerate(facts):
            start, end = row.document_offsets[number : number + 2]
            pieces[document["sample_id"], document["piece"]] = row.token_ids[start:end].tolist()
    tokenizer = tokenizer_of(make(LLM, store))
    whole = [token for key in sorted(pieces) if key[0] == sample_id("text 0").hex() for token in pieces[key]]
    assert tokenizer.decode(whole, skip_special_tokens=True) == long


def _member(rows: Rows, number: int, ending: str) -> bytes:
    part = next(part for part in reversed(rows.phase("write")) if part.facts["first_row"] <= number)
    with tarfile.open(rows.store.folder / part.file(ROWS_FILE).key) as tar:
        return tar.extractfile(f"{number:09d}.{ending}").read()


def test_nothing_to_pack_is_said_with_the_reasons(store: Store) -> None:
    with pytest.raises(StageError, match="none of the samples drawn can be packed: {'too_long': "):
        draw = mix_samples.bind("mix", MixRecipe(shares={"chat": 1}), {"chat": CHATS})
        make(bind(PackRowsRecipe(max_row_tokens=4, max_pixels_px=65_536), draw), store)


def test_a_picture_that_changed_under_us_stops_the_part_and_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    kept = make(KEPT, store)
    make(MIX, store)
    raw = kept.input("raw", RawPairs).parts[0]
    path = store.folder / raw.file("pairs.tar").key
    path.write_bytes(path.read_bytes().replace(b"\xff\xd8\xff", b"\xff\xd8\xfe"))
    with pytest.raises(StoreError, match=r"pairs\.tar of .* is damaged at byte \d+: the image of sample [0-9a-f]{32}"):
        make(bind(SMALL), store)


def test_a_measured_document_that_changed_under_us_stops_the_part_and_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    rows = make(bind(SMALL), store)
    path = store.folder / rows.phase("measure")[0].file(DOCUMENT_RECORDS_FILE).key
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    with pytest.raises(StoreError, match=r"documents\.bin is damaged at byte \d+ .*neo audit"):
        for part in rows.phase("write"):
            rewrite_part(rows, part.part, Draft(tmp_path / part.part, lambda _: None))
    path.write_bytes(whole[:100])
    with pytest.raises(StoreError, match=r"documents\.bin cannot be read .*cut short.*neo audit"):
        rewrite_part(rows, rows.phase("write")[0].part, Draft(tmp_path / "again", lambda _: None))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_pixels_px": 10, "max_pixels_px": 9}, "min_pixels_px 10 is above max_pixels_px 9"),
        ({"max_row_tokens": 8, "max_sample_tokens": 9}, "max_sample_tokens 9 is above a row of 8"),
        ({"max_row_token": 8}, "max_row_token"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PackRowsRecipe(**fields)
