"""Conversations in the forms in which people have them: every record ends with a verdict, and pictures are found."""

import base64
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cluster.local import make
from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.artifacts.kinds import CONVERSATIONS_FILE, BaseLlm, Conversations
from stages.contract import Source, StageError
from stages.formats.packed_rows.rows import RowReader
from stages.formats.pairs import PairReader, pictures_of
from stages.formats.sample_sources import open_source
from stages.formats.sample_table import read_table
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.store.store import Store
from stages.toy_world.records import heldout_questions
from tests.worlds.clip_world import ClipsRecipe, clip_id, film_bytes, make_clips, url_of
from tests.worlds.mixture_world import LLM
from tests.worlds.photo_world import PHOTOS, PhotosRecipe, make_photos, named, photo


def rows_of(made: Any) -> list[dict[str, Any]]:
    return pa.concat_tables(read_table(made.read(part.file(CONVERSATIONS_FILE))) for part in made.parts).to_pylist()


def read(path: Path | str, names: dict[str, str] | None = None, **fields: Any) -> Conversations:
    """The conversations of a file, over photographs that were collected under these names."""
    folder = Path(path).parent
    pictures = make_photos.bind("photos", PhotosRecipe(names=names)) if names else None
    recipe = ReadConversationsRecipe(source=Source("chats"), **fields)
    return make(read_conversations.bind("talks", recipe, pictures), folder / "store", sources={"chats": str(path)})


def llava(number: int, image: Any) -> dict[str, Any]:
    asked = f"<image>\nWhat is in picture {number}?"
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": f"A {PHOTOS[number % 4]}."}]
    if number % 3 == 0:
        turns += [{"from": "human", "value": "Sure?"}, {"from": "gpt", "value": "Yes."}]
    return {"id": f"{number:03d}", "image": image, "conversations": turns}


NAMES = {f"photos/{name}.jpg": name for name in PHOTOS}


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


def read_videos(folder: Path, records: list[Any], clips: Any, **fields: Any) -> list[dict[str, Any]]:
    """The rows of records over the photographs and the clips of `clips`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    pictures = make_photos.bind("photos", PhotosRecipe(names=NAMES))
    recipe = ReadConversationsRecipe(source=Source("chats"), max_share_lost=1, **fields)
    step = read_conversations.bind("talks", recipe, pictures, clips)
    return rows_of(make(step, folder / "store", sources={"chats": str(path)}))


ASKED = [{"from": "human", "value": "<video>\nWhat moves?"}, {"from": "gpt", "value": "A square."}]
WHOLE = make_clips.bind("clips", ClipsRecipe(films=("walk", "jump", "still"), num_clips_per_film=1))
HALVES = make_clips.bind("clips", ClipsRecipe(films=("walk", "still", "lone")))


def test_videos_are_found_in_every_form(tmp_path: Path) -> None:
    """The same clip and the same words from LLaVA-Video's JSON, from fields, from parts, and by address."""
    words = "What moves?"
    stands_for = [{"from": "human", "value": f"<image>\n{words}"}, ASKED[1]]
    part = {"type": "video_url", "video_url": {"url": url_of("walk")}}
    forms: list[dict[str, Any]] = [
        {"id": "0", "conversations": stands_for, "data_source": "0_30_s", "video": "walk.mp4"},
        {"id": "1", "conversations": ASKED, "video": ["walk.mp4"]},
        {"id": "2", "conversations": ASKED, "videos": [url_of("walk")]},
        {"id": "3", "conversations": [{"from": "human", "value": words}, ASKED[1]], "video_path": "./walk.mp4"},
        {"id": "4", "conversations": [{"from": "human", "value": [part, {"type": "text", "text": words}]}, ASKED[1]]},
        {"id": "5", "conversations": ASKED, "video": "walk.mp4", "start": 0, "end": "00:04"},
    ]
    for row in read_videos(tmp_path, forms, WHOLE):
        assert (row["reason"], row["id"], row["clip_ids"]) == (None, row["id"], [clip_id("walk")])
        assert (row["messages"][0]["content"], row["video_style"]) == (f"<video>\n{words}", "timestamps")
        assert [message["video_tags"] for message in row["messages"]] == [None, None]


def test_pictures_and_videos_keep_their_order(tmp_path: Path) -> None:
    text = "<image>\n<video>\nIs <image> in <video>? And is <video> a tag? <video>"
    turns = [{"from": "human", "value": text}, {"from": "gpt", "value": "No, <video> is an element."}]
    photos = [f"photos/{name}.jpg" for name in PHOTOS[:2]]
    films = ["walk.mp4", "jump.mp4", "walk.mp4", "still.mp4"]
    record = {"id": "0", "conversations": turns, "image": photos, "video": films}
    ((row,), (spatial,)) = (
        read_videos(tmp_path / one, [record], WHOLE, video_style=one) for one in ("bare", "spatial")
    )
    assert row["clip_ids"] == [clip_id(name.removesuffix(".mp4")) for name in films]
    assert len(row["image_ids"]) == 2
    assert [message["video_tags"] for message in row["messages"]] == [None, []]
    assert (row["messages"][0]["content"], row["video_style"], spatial["video_style"]) == (text, "bare", "spatial")


def test_a_record_means_the_whole_of_a_video_or_the_stretch_that_it_gives(tmp_path: Path) -> None:
    def record(number: int, video: Any, **fields: Any) -> dict[str, Any]:
        return {"id": str(number), "conversations": ASKED, "video": video, **fields}

    records = [
        record(0, "walk.mp4"),
        record(1, "walk.mp4", start=2, end=4),
        record(2, {"path": "walk.mp4", "end": 2}),
        record(3, "walk.mp4", start=1, end=3),
        record(4, "lone.mp4"),
        record(5, "gone.mp4"),
        record(6, "never.mp4"),
        record(7, "walk.mp4", start=3, end=1),
    ]
    rows = read_videos(tmp_path, records, HALVES)
    assert [(row["reason"], row["clip_ids"]) for row in rows] == [
        ("video_ambiguous", []),
        (None, [clip_id("walk", 1)]),
        (None, [clip_id("walk", 0)]),
        ("video_missing", []),
        (None, [clip_id("lone")]),
        ("video_missing", []),
        ("video_missing", []),
        ("video_reference", []),
    ]
    assert rows[3]["missing_clips"] == ["walk.mp4"]
    assert {row["reason"] for row in read_videos(tmp_path / "none", records[:7], None)} == {"video"}


def test_a_video_is_found_by_its_digest_and_behind_prefixes(tmp_path: Path) -> None:
    path = tmp_path / "chats.parquet"
    turns = [{"from": "human", "value": "What moves?"}, ASKED[1]]
    held = {"bytes": film_bytes("walk"), "path": "0.mp4"}
    pq.write_table(pa.Table.from_pylist([{"conversations": turns, "video": held}]), path)
    step = read_conversations.bind("talks", ReadConversationsRecipe(source=Source("chats")), None, WHOLE)
    (row,) = rows_of(make(step, tmp_path / "store", sources={"chats": str(path)}))
    assert row["clip_ids"] == [clip_id("walk")]
    videos = ["/data/lk.mp4", url_of("walk")]
    records = [{"id": number, "conversations": ASKED, "video": video} for number, video in enumerate(videos)]
    rows = read_videos(tmp_path, records, WHOLE, video_prefix="/data/", video_folder="wa")
    assert [row["clip_ids"] for row in rows] == [[clip_id("walk")]] * 2


def test_pairs_of_videochat2_are_turns(tmp_path: Path) -> None:
    told = "Answer in a word."
    qa = [{"i": told, "q": "What moves?", "a": "A square."}, {"i": told, "q": "How many?", "a": 2}]
    records: list[dict[str, Any]] = [
        {"video": "walk.mp4", "QA": qa},
        {"video": "walk.mp4", "QA": [{"i": "Describe the film.", "q": "", "a": "A square moves."}]},
        {"video": "walk.mp4", "start": 2.0, "end": 4.0, "QA": [{"q": "What moves?", "a": "A square."}]},
        {"video": "walk.mp4", "QA": [{"q": "What moves?", "a": None}]},
        {"video": "walk.mp4", "QA": [{"q": True, "a": "A square."}]},
    ]
    rows = read_videos(tmp_path, records, make_clips.bind("clips", ClipsRecipe(films=("walk",), num_clips_per_film=1)))
    spoken = [[message["content"] for message in row["messages"]] for row in rows]
    assert spoken[0] == [f"<video>\n{told}\nWhat moves?", "A square.", "How many?", "2"]
    assert spoken[1] == ["<video>\nDescribe the film.", "A square moves."]
    assert [row["reason"] for row in rows] == [None, None, "video_missing", "schema", "schema"]


def test_a_conversation_about_a_video_reaches_the_packed_rows(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    turns = [{"from": "human", "value": "<image>\n<video>\nWhat moves?"}, ASKED[1]]
    path.write_text(json.dumps([{"image": "photos/coffee.jpg", "video": "walk.mp4", "conversations": turns}]))
    pictures = make_photos.bind("photos", PhotosRecipe(names=NAMES))
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=Source("chats")), pictures, WHOLE)
    mixed = mix_samples.bind("mix", MixRecipe(shares={"talks": 1}), {"talks": talks})
    recipe = PackRowsRecipe(max_row_tokens=2048, min_pixels_px=1024, max_pixels_px=65_536)
    made = make(pack_rows.bind("rows", recipe, mixed, LLM), tmp_path / "store", sources={"chats": str(path)})
    (row,) = RowReader(made)
    text = tokenizer_of(made.input("llm", BaseLlm)).decode(
        [int(one) for one in row.token_ids], skip_special_tokens=True
    )
    assert len(row.images) == 1 + 4
    assert "a series of 4 frames sampled at 1.0 FPS.\n[00:00.80]:" in text


def test_questions_without_turns_are_learned_from(tmp_path: Path) -> None:
    """VSI-like numbers and choices over videos, and views of one scene whose options stand in a text."""
    photos = [f"photos/{name}.jpg" for name in PHOTOS[:3]]
    records: list[dict[str, Any]] = [
        {"question": "How many chairs are there?", "answer": 4, "video": "walk.mp4", "kind": "object_counting"},
        {"question": "How far?", "answer": "2.50", "video": "walk.mp4"},
        {"question": "Where?", "options": ["A. left", "B. right"], "answer": "B", "video": "walk.mp4"},
        {"question": "Which side?", "choices": "A. left\nB. right", "answer": "B. right", "images": photos},
        {"question": "Is <image 2> nearer than <image 1>?", "answer": "Yes", "images": photos[:2]},
        {"question": "Where?", "options": ["left", "right"], "answer": "up", "video": "walk.mp4"},
        {"question": "Where?", "answer": None, "video": "walk.mp4"},
    ]
    rows = read_videos(tmp_path, records, WHOLE)
    assert [row["reason"] for row in rows] == [None, None, None, None, None, "options", "no_answer"]
    assert [row["answer"] for row in rows[:5]] == ["4", "2.50", "B", "B", "Yes"]
    assert [row["options"] for row in rows[2:4]] == [["left", "right"]] * 2
    choices = "Options:\nA. left\nB. right\nPlease select the correct answer from the options above."
    assert [row["messages"][0]["content"] for row in rows[:5]] == [
        "<video>\nHow many chairs are there?",
        "<video>\nHow far?",
        f"<video>\nQuestion: Where?\n{choices}",
        f"<image>\n<image>\n<image>\nQuestion: Which side?\n{choices}",
        "Is <image> nearer than <image>?",
    ]
    ids = [row["image_ids"] for row in rows]
    assert ids[4] == [ids[3][1], ids[3][0]] and rows[0]["kind"] == "object_counting"
    assert [message["content"] for message in rows[1]["messages"]][1] == "2.50"


def test_spatial_records_in_their_usual_forms(tmp_path: Path) -> None:
    """VSI-590K (video, `<image>` for it, numbers and choices), SPAR-7M (views without places, marks) and cameras."""
    photos = [f"photos/{name}.jpg" for name in PHOTOS[:3]]
    vsi = "<image>\nThese are frames of a video.\nHow many chairs are there?\nAnswer with a number."
    spar = "How deep is chair (green point), if table (red point) is 2.0 deep? Answer with one value."
    pose = [[1, 0, 0, 0.125], [0, 1, 0, -2], [0, 0, 1, 1.5], [0, 0, 0, 1]]

    def asked(text: str, answer: Any, **fields: Any) -> dict[str, Any]:
        return {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": answer}], **fields}

    records = [
        asked(vsi, "3", video="walk.mp4", question_type="absolute_count"),
        asked(vsi, "B", image=photos[0], question_type="relative_count"),
        asked(spar, "1.5", image=photos, type="depth_prediction_oo_mv", id="scene0_0", red_point=[[395, 89]],
              blue_point=[[494, 620]], green_point=[[878, 737]], point_img_idx=[[0, 2, 1]]),
        asked("From <pose>, what is left?", "A chair.", image=photos[:1], pose=pose),
        asked(spar, "1.5", image=photos[:1], red_point=[[5, 2000]]),
    ]  # fmt: skip
    rows = read_videos(tmp_path, records, WHOLE, video_style="spatial", untagged_first=True)
    assert [row["reason"] for row in rows] == [None, None, None, None, "boxes"]
    texts = [row["messages"][0]["content"] for row in rows]
    assert texts[0] == vsi.replace("<image>", "<video>") and texts[1] == vsi
    assert texts[2] == "<image>\n<image>\n<image>\n" + spar.replace(
        "green point", "green point [[878, 737]] in image 2"
    ).replace("red point", "red point [[395, 89]] in image 1")
    assert texts[3] == "<image>\nFrom [[1, 0, 0, 0.125], [0, 1, 0, -2], [0, 0, 1, 1.5], [0, 0, 0, 1]], what is left?"
    assert [row["messages"][1]["content"] for row in rows[:3]] == ["3", "B", "1.5"]
    (refused,) = read_videos(tmp_path / "strict", records[2:3], WHOLE)
    assert refused["reason"] == "placeholders"
    rows = read_videos(tmp_path / "cameras", records[3:], WHOLE, cameras=["poses"])
    assert [row["reason"] for row in rows] == [None, "boxes"]


def test_any_record_ends_with_a_verdict(tmp_path: Path) -> None:
    """Records put together from all fields that are known, with values of any kind, through the whole stage."""
    values = [None, "", "walk.mp4", "1.jpg", 3, -1.5, True, [], {}, [["1.jpg"]], {"path": 3}, "[1", "00:01", [[1, 2]]]
    values += [["walk.mp4", None], {"frames": ["1.jpg", "2.jpg"]}, [0, 1], "<video>", {"bytes": "x"}, [[[1, "a"]]]]
    fields = ["video", "videos", "image", "images", "start", "end", "timestamps", "duration", "fps", "red_point"]
    fields += ["point_img_idx", "pose", "depth", "intrinsics", "spar_info", "type", "bboxes", "video_url"]
    texts = [
        "<video>",
        "<image>",
        "<image 1>",
        "<video>\n<image>",
        "red point <pose>",
        "a",
        "<depth></video>",
        "<bbox>",
    ]
    chance = random.Random(7)
    records = []
    for _ in range(600):
        part = {
            "type": chance.choice(["video", "image", "text", "video_url"]),
            **{chance.choice(["video", "video_url", "image", "text", "url", "start"]): chance.choice(values)},
        }
        content = chance.choice([chance.choice(texts), chance.choice(texts), [part, chance.choice(texts)]])
        turns = [
            {"role": "user", "content": content},
            {"role": "assistant", "content": chance.choice(["Yes.", "<video>"])},
        ]
        chosen = {name: chance.choice(values) for name in chance.sample(fields, chance.randint(0, 5))}
        records.append({"messages": turns, **chosen})
    rows = read_videos(tmp_path, records, WHOLE)
    assert len(rows) == len(records)
    reasons = Counter(row["reason"] for row in rows)
    assert {None, "placeholders", "video_reference", "video_missing", "image_missing"} <= reasons.keys()
    for row in rows:
        kept = row["verdict"] == "kept"
        tags = [message["video_tags"] for message in row["messages"]]
        contents = [message["content"] for message in row["messages"]]
        found = [text.count("<video>") if tag is None else len(tag) for text, tag in zip(contents, tags, strict=True)]
        assert not kept or sum(found) == len(row["clip_ids"])
        assert (row["video_style"] is not None) == (kept and bool(row["clip_ids"]))
