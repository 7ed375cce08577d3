"""Conversations about videos and rooms: every record ends with a verdict, and clips are found."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.local import make
from stages.artifacts.kinds import BaseLlm
from stages.contract import Source
from stages.formats.packed_rows.rows import RowReader
from stages.formats.tokenizer import tokenizer_of
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from tests.worlds.clip_world import ClipsRecipe, clip_id, film_bytes, make_clips, url_of
from tests.worlds.mixture_world import LLM
from tests.worlds.own_talks import NAMES, read_videos, rows_of
from tests.worlds.photo_world import PHOTOS, PhotosRecipe, make_photos

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
