"""Conversations in the forms in which people have them: every record ends with a verdict, and pictures are found."""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cluster.local import make
from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.artifacts.kinds import BaseLlm
from stages.contract import Source, StageError
from stages.formats.packed_rows.rows import RowReader
from stages.formats.pairs import PairReader, pictures_of
from stages.formats.sample_sources import open_source
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.store.store import Store
from stages.toy_world.records import heldout_questions
from tests.worlds.mixture_world import LLM
from tests.worlds.own_talks import NAMES, read, rows_of
from tests.worlds.photo_world import PHOTOS, PhotosRecipe, make_photos, named, photo


def llava(number: int, image: Any) -> dict[str, Any]:
    asked = f"<image>\nWhat is in picture {number}?"
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": f"A {PHOTOS[number % 4]}."}]
    if number % 3 == 0:
        turns += [{"from": "human", "value": "Sure?"}, {"from": "gpt", "value": "Yes."}]
    return {"id": f"{number:03d}", "image": image, "conversations": turns}


@pytest.fixture
def llava_json(tmp_path: Path) -> Path:
    """Twenty conversations about four photographs, as LLaVA writes them."""
    path = tmp_path / "chats.json"
    path.write_text(json.dumps([llava(number, f"photos/{PHOTOS[number % 4]}.jpg") for number in range(20)], indent=1))
    return path


def test_a_llava_json_of_ones_own_is_read(llava_json: Path) -> None:
    made = read(llava_json, NAMES, num_conversations_per_part=6)
    rows = rows_of(made)
    assert [row["id"] for row in rows] == [f"{number:03d}" for number in range(20)]
    assert {row["verdict"] for row in rows} == {"kept"}
    assert [len(row["messages"]) for row in rows[:4]] == [4, 2, 2, 4]
    pictures = pictures_of(made)
    for number, row in enumerate(rows):
        assert pictures.image(row["image_ids"][0]) == photo(PHOTOS[number % 4])
    source = open_source(made)
    assert sum(1 for part in source.num_kept for _ in source.samples(part)) == 20


def test_the_same_conversations_in_every_form(tmp_path: Path) -> None:
    """JSON, JSONL, compressed, Parquet with bytes, data URIs, and messages with parts: the same pictures and words."""
    bytes_names = {named(photo(name)): name for name in PHOTOS}
    held = [photo(PHOTOS[number % 4]) for number in range(8)]
    uris = [f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" for data in held]
    plain = [llava(number, f"photos/{PHOTOS[number % 4]}.jpg") for number in range(8)]
    parts = [
        {
            "id": f"{number:03d}",
            "messages": [
                {"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": uri}},
                    {"type": "text", "text": record["conversations"][0]["value"].removeprefix("<image>\n")},
                ]},
                *({"role": "user" if number % 2 else "assistant", "content": turn["value"]}
                  for number, turn in enumerate(record["conversations"][1:])),
            ],
        }
        for number, (record, uri) in enumerate(zip(plain, uris, strict=True))
    ]  # fmt: skip
    forms: dict[str, tuple[Any, dict[str, str]]] = {
        "chats.jsonl": (plain, NAMES),
        "uris.jsonl": ([{**record, "image": [uri]} for record, uri in zip(plain, uris, strict=True)], bytes_names),
        "parts.jsonl": (parts, bytes_names),
        "bytes.parquet": (
            [{**record, "image": {"bytes": data, "path": "0.jpg"}} for record, data in zip(plain, held, strict=True)],
            bytes_names,
        ),
        "listed.parquet": (
            [{**{k: v for k, v in record.items() if k != "image"}, "images": [{"bytes": data, "path": None}]}
             for record, data in zip(plain, held, strict=True)],
            bytes_names,
        ),
    }  # fmt: skip
    told = []
    for name, (records, names) in forms.items():
        path = tmp_path / name
        if name.endswith("parquet"):
            pq.write_table(pa.Table.from_pylist(records), path)
        else:
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        made = read(path, names)
        pictures = pictures_of(made)
        told.append(
            [
                (row["id"], [pictures.image(one) for one in row["image_ids"]], row["messages"], row["verdict"])
                for row in rows_of(made)
            ]
        )
    assert all(form == told[0] for form in told)
    assert [(row[3], row[1]) for row in told[0]] == [("kept", [data]) for data in held]


def test_records_of_mixed_types_end_with_a_verdict_each(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    say = {"role": "assistant", "content": "Yes.", "weight": 1}
    records: list[Any] = [
        {"id": 1, "messages": [{"role": "user", "content": "<image> Hi"}, say], "image": ""},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, say]},
        {"id": None, "messages": [{"role": "user", "content": "Draft?"}, say | {"weight": 0}, {**say, "weight": 1}]},
        {"id": 1, "messages": [{"role": "user", "content": "Where?"}, say], "images": ["gone.jpg"]},
        {"id": 1, "messages": [{"role": "user", "content": "2+2?"}, {"role": "tool", "content": "4"}, say]},
        {"id": 1, "messages": [{"role": "user", "content": "Hi again"}, say]},
        {"id": 1, "messages": [{"role": "user", "content": "Hi again"}, say]},
    ]
    lines = [json.dumps(record).encode() for record in records]
    path.write_bytes(b"\n".join([*lines, b'{"id": "l", "messages": [{"role": "user", "content": "\xe9"}, 7]}', b"{"]))
    made = read(path, NAMES, max_share_lost=0.5)
    rows = rows_of(made)
    reasons = [None, None, None, "image_missing", "tool_turn", None, "repeated_row", "schema", "malformed_row"]
    assert [row["reason"] for row in rows] == ["placeholders", *reasons[1:]]
    assert len({row["sample_id"] for row in rows}) == len(rows)
    assert [message["supervised"] for message in rows[2]["messages"]] == [None, False, True]
    assert rows[3]["missing_images"] == ["gone.jpg"]
    assert rows[1]["id"] is None


def test_text_alone_needs_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    turns = json.dumps([{"from": "human", "value": "hi, you"}, {"from": "gpt", "value": "hello"}]).replace('"', '""')
    path.write_text(f'dialog,n\n"{turns}",1\n')
    made = read(path, columns={"messages": "dialog"})
    (row,) = rows_of(made)
    assert [message["content"] for message in row["messages"]] == ["hi, you", "hello"]
    assert row["verdict"] == "kept"


def test_a_share_is_held_out_by_the_sample_id_alone(llava_json: Path) -> None:
    split = {}
    for name in ("train", "heldout"):
        made = read(llava_json, NAMES, heldout_share=0.3, split=name, num_conversations_per_part=3)
        split[name] = {row["sample_id"]: row["reason"] for row in rows_of(made)}
    assert split["train"].keys() == split["heldout"].keys()
    assert all({split["train"][one], split["heldout"][one]} == {None, "other_split"} for one in split["train"])
    assert 1 <= Counter(split["heldout"].values())[None] <= 12
    with pytest.raises(ValidationError, match="needs a heldout_share above 0"):
        ReadConversationsRecipe(source=Source("chats"), split="heldout")
    with pytest.raises(ValidationError, match="'mesages' is no name that is read here"):
        ReadConversationsRecipe(source=Source("chats"), columns={"mesages": "dialog"})


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([{"text": "hi"}], "has no column 'messages'; its columns are 'text'"),
        ([{"messages": [{"who": "a", "said": "b"}]}], "have the fields who, said: wanted are role and content"),
        ([{"conversations": None, "image": "a"}], "has no turns in its messages"),
    ],
)
def test_a_table_of_another_shape_is_refused_once(tmp_path: Path, records: Any, words: str) -> None:
    path = tmp_path / "chats.json"
    path.write_text(json.dumps(records))
    with pytest.raises(StageError, match=words):
        read(path)
    assert not list((tmp_path / "store").glob("artifacts/read_conversations/*/records/read/*"))


def test_a_step_that_keeps_nothing_fails_with_an_example(llava_json: Path) -> None:
    with pytest.raises(StageError, match=r"of 20 conversations, none were kept.* 20 image_missing .*photos/astronaut"):
        read(llava_json, {"other.jpg": "coffee"})


def test_pictures_of_the_toy_world_are_found_among_those_kept(toy_pairs: Any, carry: Any) -> None:
    world = toy_pairs.world
    recipe = ReadConversationsRecipe(source=Source("toy_conversations"), num_conversations_per_part=120)
    made = carry(read_conversations.bind("chat", recipe, toy_pairs.kept_step), toy_pairs.store)
    reader, rows = PairReader(toy_pairs.kept), rows_of(made)
    assert len(rows) == world.num_train_images + world.num_text_conversations
    with_picture, without = rows[: world.num_train_images], rows[world.num_train_images :]
    assert all(found["verdict"] == "kept" and found["image_ids"] == [] for found in without)
    kept = [found for found in with_picture if found["verdict"] == "kept"]
    assert {found["reason"] for found in with_picture} == {None, "image_missing"}
    assert len(kept) == len({pair.url for pair in reader})
    for found in kept:
        assert reader.pair(found["image_ids"][0])
        placeholders = [message["content"].count(IMAGE_PLACEHOLDER) for message in found["messages"]]
        assert placeholders[0] == sum(placeholders) == 1


def test_heldout_questions_keep_their_truth(toy_pairs: Any, carry: Any) -> None:
    recipe = ReadConversationsRecipe(source=Source("toy_questions"))
    made = carry(read_conversations.bind("questions", recipe, toy_pairs.heldout_step), toy_pairs.store)
    rows, questions = rows_of(made), list(heldout_questions(toy_pairs.world))
    assert made.manifest.items.kept == len(questions) == len(rows)
    for found, question in zip(rows, questions, strict=True):
        assert (found["kind"], found["answer"]) == (question.kind, question.answer)
        spoken = [{"role": message["role"], "content": message["content"]} for message in found["messages"]]
        assert spoken[-1] == {"role": "assistant", "content": question.answer}
        assert spoken[:-1] == question.messages


def test_what_is_learned_from_reaches_the_packed_rows(tmp_path: Path) -> None:
    """Flags of turns and text that spells a placeholder, from a JSON of one's own to rows; once without pictures."""
    turns = [
        {"from": "human", "value": "<image>\nWhat does <image> mean?"},
        {"from": "gpt", "value": "draft", "is_input": True},
        {"from": "human", "value": "Again."},
        {"from": "gpt", "value": "It is a tag: <image>."},
    ]
    for name, record in {
        "pictures": {"id": 1, "image": "photos/coffee.jpg", "conversations": turns},
        "text": {"id": 1, "conversations": [{"from": "human", "value": "What is it?"}, *turns[1:]]},
    }.items():
        path = tmp_path / name / "chats.json"
        path.parent.mkdir()
        path.write_text(json.dumps([record]))
        pictures = make_photos.bind("photos", PhotosRecipe(names=NAMES)) if name == "pictures" else None
        talks = read_conversations.bind("talks", ReadConversationsRecipe(source=Source("chats")), pictures)
        mixed = mix_samples.bind("mix", MixRecipe(shares={"talks": 1}), {"talks": talks})
        recipe = PackRowsRecipe(max_row_tokens=512, min_pixels_px=1024, max_pixels_px=65_536)
        packed = pack_rows.bind("rows", recipe, mixed, LLM)
        made = make(packed, path.parent / "store", sources={"chats": str(path)})
        (row,) = RowReader(made)
        tokenizer = tokenizer_of(made.input("llm", BaseLlm))
        learned = [int(token) for token, said in zip(row.token_ids, row.supervised, strict=True) if said]
        assert tokenizer.decode(learned, skip_special_tokens=False) == "It is a tag: <image>.<|im_end|>\n"
        assert len(row.images) == (name == "pictures")


def test_two_runs_give_the_same_bytes(llava_json: Path, tmp_path: Path) -> None:
    first = read(llava_json, NAMES)
    other = tmp_path / "elsewhere" / "renamed.json"
    other.parent.mkdir()
    other.write_bytes(llava_json.read_bytes())
    assert read(other, NAMES).manifest.content == first.manifest.content
    assert isinstance(first.store, Store)
