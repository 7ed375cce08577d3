"""Sentences and looks, by index and without, beside brute force over all tables and pictures."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import make
from pipelines.commands.sighting_words import describe
from pipelines.indexes.build import make_indexes
from pipelines.indexes.subjects import indexed_of
from pipelines.lineage.forward import follow
from pipelines.lineage.graph import all_heads
from pipelines.lineage.sightings import Sighting
from pipelines.lineage.sought import Search, alike, sentence
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import CONVERSATIONS_FILE, DOCUMENTS_FILE, SAMPLES_FILE
from stages.contract import Step
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.duplicates.measures.picture_hashes import picture_hash, tells_apart
from stages.duplicates.measures.words import words_of
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.store.store import Store
from tests.worlds.copied_pairs import WHOLE, CopiesRecipe, make_copies, picture
from tests.worlds.listed_pairs import (
    ListedPairsRecipe,
    NewCaptionsRecipe,
    caption_again,
    list_pairs,
    new_caption_of,
    table_of,
)
from tests.worlds.mixture_world import CHATS, PAIRS, TEXTS

FILES = {"RawPairs": SAMPLES_FILE, "TextDocuments": DOCUMENTS_FILE, "Conversations": CONVERSATIONS_FILE}


def rows_of(step: Step[Any], store: Store) -> Iterator[dict]:
    artifact = make(step, store)
    name = FILES[artifact.kind]
    for part in artifact.parts:
        yield from read_table(artifact.read(part.file(name))).to_pylist()


def texts_of(row: dict) -> list[str]:
    texts = [row.get("caption"), row.get("text"), *(one["content"] for one in row.get("messages") or ())]
    return [text for text in texts if text]


def holds(text: str, words: list[str]) -> bool:
    there = words_of(text)
    return any(there[at : at + len(words)] == words for at in range(len(there) - len(words) + 1))


def found(store: Store, text: str, search: Search) -> dict[str, Sighting]:
    return {one.stage: one for one in follow(store, [sentence(text)], all_heads(store), search)}


def index_all(store: Store) -> None:
    for head in all_heads(store):
        if indexed_of(head, texts=True) is not None:
            make_indexes(store, head, texts=True)


def test_a_sentence_is_found_in_captions_texts_and_messages_wherever_it_stands(tmp_path: Path) -> None:
    store, chance = Store(tmp_path), random.Random(3)
    rows = {step.stage.name: [*rows_of(step, store)] for step in (PAIRS, TEXTS, CHATS)}
    asked = []
    for several in rows.values():
        for row in chance.sample(several, 2):
            if texts := texts_of(row):
                words = words_of(chance.choice(texts))
                start = chance.randrange(max(1, len(words) - 4))
                asked.append(" ".join(words[start : start + chance.randint(3, 6)]).upper())
    asked = [text for text in asked if len(words_of(text)) >= 3]
    answers: list[Any] = []
    for indexed in (False, True):
        if indexed:
            index_all(store)
        search = Search()
        answers.append([found(store, text, search) for text in asked])
        assert bool(search.unindexed) is not indexed
    for text, scanned, looked_up in zip(asked, *answers, strict=True):
        assert {name: one.details() for name, one in scanned.items()} == {
            name: one.details() for name, one in looked_up.items()
        }
        for stage, several in rows.items():
            wanted = {row["sample_id"] for row in several if any(holds(one, words_of(text)) for one in texts_of(row))}
            seen = looked_up.get(stage)
            assert {row["sample_id"] for row in getattr(seen, "rows", ())} == wanted
    assert len(asked) >= 4 and follow(store, [sentence("no such words anywhere")], all_heads(store), Search()) == []


def test_a_caption_that_verdicts_give_is_found_there_and_followed(tmp_path: Path) -> None:
    store, recipe = Store(tmp_path), ListedPairsRecipe()
    make(caption_again.bind("again", NewCaptionsRecipe(), list_pairs.bind("pairs", recipe)), store)
    held = [row for first in range(0, 300, 50) for row in table_of(recipe, first).to_pylist()]
    kept = {row["sample_id"] for row in held if row["verdict"] == "kept"}
    rewritten = sorted(kept, key=lambda one: one.hex())[0]
    text = new_caption_of(rewritten).split(": ")[1]
    for indexed in (False, True):
        if indexed:
            index_all(store)
        (sighting,) = follow(store, [sentence(text)], all_heads(store), Search())
        assert sighting.kind == "KeptPairs" and "kept" in describe(sighting)
        ids = sighting.carryover.sample_ids
        assert ids <= {one for one in kept if one[0] == rewritten[0]}
        both = follow(store, [sentence("number 7, near window")], all_heads(store), Search())
        assert [one.kind for one in both] == ["RawPairs", "KeptPairs"]
        wanted = {row["sample_id"] for row in held if holds(row["caption"], ["number", "7", "near", "window"])}
        assert {row["sample_id"] for row in getattr(both[0], "rows", ())} == wanted
        assert both[1].carryover.sample_ids == wanted & kept


def test_pictures_that_look_alike_are_those_whose_hashes_are_near(tmp_path: Path) -> None:
    store = Store(tmp_path)
    drawn = [f"{name} {side} JPEG {quality}" for name in WHOLE for side, quality in ((300, 90), (200, 60))]
    drawn += ["red 40 PNG 1"]
    listed = [(f"http://a.example/{number}", "", one) for number, one in enumerate(drawn)]
    copies = make_copies.bind("copies", CopiesRecipe(parts=[listed[::2], listed[1::2]]))
    unique = make(dedup_pairs.bind("unique", DedupPairsRecipe(max_share_lost=1), copies), store)
    reader = PairReader(make(copies, store))
    hashes = {
        pair.sample_id: picture_hash(reader.images.image_of(pair.image))
        for part in reader.parts
        for pair in reader.pairs_of(part)
    }
    for indexed in (False, True):
        if indexed:
            index_all(store)
        for asked in (picture("coffee 250 JPEG 75"), picture("moon 400 JPEG 95")):
            value = picture_hash(asked)
            for bits in (0, 3, 8, 30):
                near = alike(Artifact(store, unique.head), value, bits, Search())
                distance = {one: (value ^ other).bit_count() for one, other in hashes.items() if tells_apart(other)}
                assert {one.sample_id: one.num_bits for one in near} == {
                    one: number for one, number in distance.items() if number <= bits
                }
                assert [one.num_bits for one in near] == sorted(one.num_bits for one in near)
        assert len(alike(Artifact(store, unique.head), picture_hash(picture("coffee 250 JPEG 75")), 8, Search())) >= 2
        assert follow(store, [sentence("no such words anywhere")], all_heads(store), Search()) == []


def test_too_few_words_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than 3 words"):
        sentence("a cat!")
