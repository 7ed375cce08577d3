"""Videos of every kind of source become clips, and every row of a source ends with clips or one reason."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.artifacts.kinds import CLIPS_FILE
from stages.contract import StageError
from stages.cut_clips import CutClipsRecipe
from stages.cutting.clip_table import reserved_columns
from stages.cutting.reasons import ClipReason
from stages.download.reasons import Reason
from stages.importing.reasons import ImportReason
from stages.video.faults import VideoFault
from stages.video.packets import decode_packet_frames
from tests.hub_server import hub_server
from tests.worlds.cut_world import SRT, cut, ends_of, film, rows_of, spans_of, table_of, tar_bytes, tar_members_of

ROOT = Path(__file__).parents[2]
VTT = "WEBVTT\n\nNOTE by hand\n\nintro\n00:00.500 --> 00:01.000\nspoken\n"
STORAGE = ("frame_offsets", "frame_sizes_bytes", "frame_sha256", "packets_offset", "packets_size_bytes")
STORAGE_COLUMNS = (*STORAGE, "packets_sha256", "frame_pts")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder of films with texts beside them."""
    folder = tmp_path / "films"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(film())
    (folder / "a.txt").write_text("a red film\n")
    (folder / "deep/b.mp4").write_bytes(film(num_scenes=2, seed=1))
    (folder / "deep/b.srt").write_text(SRT)
    (folder / "c.mp4").write_bytes(film(2.0, seed=2))
    (folder / "c.en.vtt").write_text(VTT)
    (folder / "d.mp4").write_bytes(film(1.0, seed=3))
    (folder / "d.json").write_text(json.dumps({"caption": "said in JSON", "made_by": "a test"}))
    (folder / "README.txt").write_text("about these films")
    return folder


@pytest.fixture
def web(films: Path) -> Iterator[str]:
    """The folder as a web server on loopback; gives its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(films))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write_csv(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_folder_gives_whole_videos_with_the_texts_beside_them(tmp_path: Path, films: Path) -> None:
    raw = cut(tmp_path, films, num_videos_per_part=3)
    assert ends_of(raw) == {"a.mp4": ["kept"], "c.mp4": ["kept"], "d.mp4": ["kept"], "deep/b.mp4": ["kept"]}
    assert spans_of(raw) == [
        (0.0, 4.0, "a red film"),
        (0.0, 2.0, "spoken"),
        (0.0, 1.0, "said in JSON"),
        (0.0, 4.0, "first words second words"),
    ]
    assert len(raw.parts) == 2
    first, *_, last = rows_of(raw)
    assert first["url"] == "mine:a.mp4"
    assert first["sha256"] == hashlib.sha256(film()).digest()
    assert (first["width_px"], first["height_px"], first["num_native_frames"]) == (64, 48, 100)
    assert first["native_fps"] == pytest.approx(25.0)
    assert first["video_seconds"] == first["end_seconds"]
    assert first["frame_times"] == pytest.approx([0.0, 0.48, 1.0, 1.48, 2.0, 2.48, 3.0, 3.48])
    assert json.loads(rows_of(raw)[2]["source_json"])["made_by"] == "a test"
    assert last["key"] == "000001000000"


def test_frames_lie_where_the_table_says_and_members_of_a_clip_are_adjacent(tmp_path: Path, films: Path) -> None:
    raw = cut(tmp_path, films)
    (part,) = raw.parts
    tar = raw.read(part.file(CLIPS_FILE))
    for row in rows_of(raw):
        places = zip(row["frame_offsets"], row["frame_sizes_bytes"], row["frame_sha256"], strict=True)
        for offset, size_bytes, sha256 in places:
            jpeg = tar[offset : offset + size_bytes]
            assert hashlib.sha256(jpeg).digest() == sha256
            assert Image.open(io.BytesIO(jpeg)).size == (row["width_px"], row["height_px"])
    keys = [name.partition(".")[0] for name in tar_members_of(raw)]
    assert keys == sorted(keys)
    assert tar_members_of(raw)[:2] == ["000000000000.00000.jpg", "000000000000.00001.jpg"]
    assert {name.partition(".")[2] for name in tar_members_of(raw)} >= {"json", "txt"}


def test_frames_and_packets_give_the_same_pictures_and_tables(tmp_path: Path, films: Path) -> None:
    fields: dict[str, Any] = {"cut_at": "scenes", "max_clip_seconds": 1.5, "max_frame_px": 40 * 30}
    by_frames = cut(tmp_path, films, **fields)
    by_packets = cut(tmp_path, films, root="packed", **fields, store="packets")
    assert table_of(by_frames).drop_columns(STORAGE_COLUMNS) == table_of(by_packets).drop_columns(STORAGE_COLUMNS)
    frames, packets = (raw.read(raw.parts[0].file(CLIPS_FILE)) for raw in (by_frames, by_packets))
    assert len(rows_of(by_frames)) > 6
    for one, other in zip(rows_of(by_frames), rows_of(by_packets), strict=True):
        mp4 = packets[other["packets_offset"] :][: other["packets_size_bytes"]]
        assert hashlib.sha256(mp4).digest() == other["packets_sha256"]
        jpegs = decode_packet_frames(mp4, other["frame_pts"], 40 * 30, 90)
        assert [hashlib.sha256(jpeg).digest() for jpeg in jpegs] == one["frame_sha256"]
        assert frames[one["frame_offsets"][0] :][: one["frame_sizes_bytes"][0]] == jpegs[0]
        assert other["frame_offsets"] is None
        assert one["frame_pts"] is None


def test_rows_of_a_table_ask_for_stretches_of_videos_on_the_web(tmp_path: Path, web: str) -> None:
    table = write_csv(
        tmp_path / "list.csv",
        "url,caption,start,end,score",
        f"{web}/a.mp4,the beginning,0,1.5,7",
        f"{web}/a.mp4,the end,00:03,00:09,8",
        f"{web}/a.mp4,the beginning,0,1.5,9",
        f"{web}/a.mp4,behind,5,6,1",
        f"{web}/a.mp4,backwards,3,2,1",
        f"{web}/a.mp4,no time,soon,,1",
        f"{web}/gone.mp4,gone,,,1",
        f"{web}/README.txt,a text,,,1",
        "ftp://x/a.mp4,no web,,,1",
        "http://127.0.0.2/a.mp4,private,,,1",
        ",nothing,,,1",
    )
    raw = cut(tmp_path, table, allow_hosts=("127.0.0.1",), num_tries=1)
    assert spans_of(raw) == [(0.0, 1.5, "the beginning"), (3.0, 4.0, "the end")]
    assert ends_of(raw) == {
        f"{web}/a.mp4": ["repeated_row", "bad_times", "kept", "kept", "outside_video", "bad_times"],
        f"{web}/gone.mp4": ["not_found"],
        f"{web}/README.txt": ["unknown_format"],
        "ftp://x/a.mp4": ["url_scheme"],
        "http://127.0.0.2/a.mp4": ["url_forbidden_address"],
        "": ["names_no_video"],
    }
    rows = rows_of(raw)
    assert len({row["sample_id"] for row in rows}) == len(rows) == 11
    assert [row["score"] for row in rows if row["verdict"] == "kept"] == ["7", "8"]
    opened = [row for row in rows if row["reason"] in (None, "outside_video") or row["start_seconds"] == 3.0]
    assert [row["video_seconds"] for row in opened] == pytest.approx([4.0] * 4), "of the whole video, in each row"
    assert {row["video_seconds"] for row in rows if row not in opened} == {None}


def test_a_table_names_videos_by_paths_in_folders_and_tars(tmp_path: Path, films: Path) -> None:
    (films / "more.tar").write_bytes(tar_bytes({"x/e.mp4": film(1.0), "a.mp4": film(1.0, seed=1)}))
    rows = [
        {"video": "/data/deep/b.mp4", "caption": "by a prefix"},
        {"video": "./deep//b.mp4", "caption": "again"},
        {"video": "more/x/e.mp4", "caption": "in a tar"},
        {"video": "a.mp4", "caption": "in both"},
        {"video": "more.tar/a.mp4", "caption": "that of the tar"},
        {"video": "../secret.mp4"},
        {"video": "gone.mp4"},
        {"video": ["c.mp4", "d.mp4"]},
        {"videos": "a field of another name"},
    ]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "secret.mp4").write_bytes(film())
    raw = cut(tmp_path, tmp_path / "list.jsonl", videos=films, path_prefix="/data/", columns={"video": "video"})
    assert ends_of(raw) == {
        "/data/deep/b.mp4": ["kept"],
        "./deep//b.mp4": ["kept"],
        "more/x/e.mp4": ["kept"],
        "a.mp4": ["video_ambiguous"],
        "more.tar/a.mp4": ["kept"],
        "../secret.mp4": ["path_outside"],
        "gone.mp4": ["video_missing"],
        "c.mp4": ["kept"],
        "d.mp4": ["kept"],
        "": ["names_no_video"],
    }
    assert rows_of(raw)[0]["url"] == "films:/data/deep/b.mp4"
    assert rows_of(raw)[2]["sha256"] == hashlib.sha256(film(1.0)).digest()


def test_a_table_beside_its_videos_needs_no_second_source(tmp_path: Path, films: Path) -> None:
    write_csv(films / "clips.csv", "video_path,caption", "a.mp4,one", "deep/b.mp4,two")
    assert [caption for *_, caption in spans_of(cut(tmp_path, films))] == ["one", "two"]


def test_each_video_of_a_table_of_conversations_is_cut_once(tmp_path: Path, films: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "This."}]
    names = ["a.mp4"] * 9 + ["deep/b.mp4", "a.mp4"]
    records = [{"id": str(number), "video": name, "conversations": turns} for number, name in enumerate(names)]
    (tmp_path / "chat.json").write_text(json.dumps(records))
    raw = cut(tmp_path, tmp_path / "chat.json", videos=films, num_videos_per_part=4, max_share_lost=0.1)
    kept = [row for row in rows_of(raw) if row["verdict"] == "kept"]
    assert [(row["reference"], row["caption"]) for row in kept] == [("a.mp4", ""), ("deep/b.mp4", "")]
    assert sum(row["reason"] == "repeated_row" for row in rows_of(raw)) == 9
    assert "conversations" not in table_of(raw).column_names


def test_conversations_without_videos_are_no_loss_but_not_all_of_them(tmp_path: Path, films: Path) -> None:
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "This."}]
    records = [{"id": "0", "video": "a.mp4", "conversations": turns}]
    records += [{"id": str(number), "image": "x.jpg", "conversations": turns} for number in range(1, 9)]
    (tmp_path / "chat.json").write_text(json.dumps(records))
    raw = cut(tmp_path, tmp_path / "chat.json", videos=films, max_share_lost=0.1)
    assert ends_of(raw)["a.mp4"] == ["kept"]
    (tmp_path / "chat.json").write_text(json.dumps([{"video": None, "conversations": turns}] * 3))
    with pytest.raises(StageError, match="no row of source 'mine' names a video"):
        cut(tmp_path, tmp_path / "chat.json", videos=films)


def test_parquet_holds_videos_or_their_paths(tmp_path: Path, films: Path) -> None:
    videos = [
        {"bytes": film(), "path": "x.mp4"},
        {"bytes": None, "path": "deep/b.mp4"},
        {"bytes": None, "path": None},
        {"bytes": b"nothing", "path": None},
    ]
    rows = {
        "video": pa.array(videos, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "caption": ["held", "named", "none", "broken"],
        "start": [1.0, None, None, None],
        "sha256": ["theirs"] * 4,
    }
    pq.write_table(pa.table(rows), tmp_path / "hub.parquet", row_group_size=2)
    raw = cut(tmp_path, tmp_path / "hub.parquet", videos=films, num_videos_per_part=2)
    assert spans_of(raw) == [(1.0, 4.0, "held"), (0.0, 4.0, "named")]
    assert ends_of(raw) == {
        "x.mp4": ["kept"],
        "deep/b.mp4": ["kept"],
        "hub.parquet#2": ["video_missing"],
        "hub.parquet#3": ["unknown_format"],
    }
    assert [row["source_sha256"] for row in rows_of(raw)] == ["theirs"] * 4


def test_a_repository_of_a_hub_gives_the_same_clips_as_a_folder(
    tmp_path: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (films / "more.tar").write_bytes(tar_bytes({"e.mp4": film(1.0), "e.txt": b"in a tar"}))
    names = [{"video": name, "caption": name} for name in ("a.mp4", "deep/b.mp4", "more/e.mp4", "gone.mp4")]
    (films / "list.jsonl").write_text("".join(json.dumps(name) + "\n" for name in names))
    column = pa.array(
        [{"bytes": film(1.0), "path": "f.mp4"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pq.write_table(pa.table({"video": column}), films / "held.parquet")
    with hub_server({"datasets/me/films": films}) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        for what in ("deep", "more.tar", "held.parquet"):
            remote = cut(tmp_path, f"hf://datasets/me/films@main/{what}", root="remote")
            local = cut(tmp_path, films / what, root="local")
            assert remote.manifest.content == local.manifest.content
        by_names = {"videos": "hf://datasets/me/films@main", "form": "table"}
        remote = cut(tmp_path, "hf://datasets/me/films@main/list.jsonl", root="remote", **by_names)
    assert ends_of(remote) == {
        "a.mp4": ["kept"],
        "deep/b.mp4": ["kept"],
        "more/e.mp4": ["kept"],
        "gone.mp4": ["video_missing"],
    }


def test_scenes_and_lengths_decide_where_clips_end(tmp_path: Path, films: Path) -> None:
    by_scenes = cut(tmp_path, films / "deep", cut_at="scenes", captions="none")
    assert spans_of(by_scenes) == [(0.0, 2.0, ""), (2.0, 4.0, "")]
    in_pieces = cut(tmp_path, films / "deep", max_clip_seconds=1.5)
    assert [(round(start, 2), round(end, 2)) for start, end, _ in spans_of(in_pieces)] == [
        (0.0, 1.33),
        (1.33, 2.67),
        (2.67, 4.0),
    ]
    texts = ["first words", "first words second words", "second words"]
    assert [caption for *_, caption in spans_of(in_pieces)] == texts
    dropped = cut(tmp_path, films, max_clip_seconds=3, longer="drop", min_clip_seconds=1.5, needs_caption=True)
    assert ends_of(dropped) == {
        "a.mp4": ["clip_too_long"],
        "c.mp4": ["kept"],
        "d.mp4": ["too_short"],
        "deep/b.mp4": ["clip_too_long"],
    }


def test_captions_are_asked_for_or_not(tmp_path: Path, films: Path) -> None:
    spoken = cut(tmp_path, films, captions="subtitles", needs_caption=True)
    assert ends_of(spoken) == {
        "a.mp4": ["caption_empty"],
        "c.mp4": ["kept"],
        "d.mp4": ["caption_empty"],
        "deep/b.mp4": ["kept"],
    }
    silent = cut(tmp_path, films, captions="none")
    assert {caption for *_, caption in spans_of(silent)} == {""}


def test_rows_of_a_table_may_become_several_clips_with_ids_of_their_own(tmp_path: Path, films: Path) -> None:
    table = write_csv(
        tmp_path / "list.csv",
        "video,start,end",
        "deep/b.mp4,0,4",
        "deep/b.mp4,,",
        "deep/b.mp4,1,3",
        "deep/b.mp4,0.0,4.0",
    )
    raw = cut(tmp_path, table, videos=films, cut_at="scenes", max_clip_seconds=1.5, num_videos_per_part=2)
    rows = rows_of(raw)
    assert len(raw.parts) == 2
    assert len({row["sample_id"] for row in rows}) == len(rows) == 4 + 4 + 2 + 4
    assert [span[:2] for span in spans_of(raw)[:4]] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]


def test_a_run_that_is_killed_in_the_middle_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    for number in range(5):
        (tmp_path / f"films/{number}.mp4").write_bytes(film(1.0, seed=number))
    whole = cut(tmp_path, tmp_path / "films", root="whole", num_videos_per_part=1)
    call = f"cut(Path({str(tmp_path)!r}), Path({str(tmp_path / 'films')!r}), root='killed', num_videos_per_part=1)"
    program = f"from pathlib import Path\nfrom tests.worlds.cut_world import SRT, cut\n{call}\n"
    records = tmp_path / "killed/artifacts/cut_clips" / whole.short / "records/cut"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        for _ in range(1200):
            if records.is_dir() and list(records.glob("*.json")):
                break
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(list(records.glob("*.json"))) < 5, "the run was not killed in the middle"
    resumed = cut(tmp_path, tmp_path / "films", root="killed", num_videos_per_part=1)
    assert resumed.manifest.content == whole.manifest.content
    assert len({part.made_by["attempt"] for part in resumed.parts}) == 2


def test_a_second_run_writes_the_same_bytes(tmp_path: Path, films: Path) -> None:
    contents = {cut(tmp_path, films, root=name).manifest.content for name in ("one", "two")}
    assert len(contents) == 1


def test_a_step_that_loses_nearly_everything_fails(tmp_path: Path, films: Path) -> None:
    with pytest.raises(StageError, match="too_short"):
        cut(tmp_path, films, min_clip_seconds=100, max_share_lost=0.8)


def test_every_fault_of_a_video_is_a_reason_and_reasons_of_one_name_agree() -> None:
    assert {fault.value for fault in VideoFault} <= {reason.value for reason in ClipReason}
    verdicts: dict[str, set[Any]] = {}
    for reason in (*ClipReason, *Reason, *ImportReason):
        verdicts.setdefault(reason.value, set()).add(reason.verdict)
    assert {name for name, found in verdicts.items() if len(found) > 1} == set()


def test_columns_of_clips_are_reserved() -> None:
    assert {"sample_id", "reference", "frame_pts", "position"} <= reserved_columns()
    assert CutClipsRecipe.model_fields["limits"].default.max_file_bytes == 2 * 2**30
