"""`neo look` at what people have: tables of every kind, pairs with pictures, model folders, and their faults."""

import base64
import gzip
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.planning.stage_catalog import find_stage
from pipelines.preview.source_guess import STEPS, SourceGuess
from pipelines.preview.sources import source_name
from pipelines.preview.tars import tar_items
from tests.pipelines.conftest import NeoSite
from tests.worlds.cut_world import film, tar_bytes


def jpeg(colour: str = "red", size_px: tuple[int, int] = (60, 40)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size_px, colour).save(file, "JPEG")
    return file.getvalue()


def llava(folder: Path) -> str:
    (folder / "pictures").mkdir()
    (folder / "pictures" / "red.jpg").write_bytes(jpeg())
    turns = [{"from": "human", "value": "<image>\nWhat colour?"}, {"from": "gpt", "value": "Red."}]
    rows = [
        {"id": "1", "image": "pictures/red.jpg", "conversations": turns},
        {"id": "2", "image": "../../etc/passwd", "conversations": turns},
        {"id": "3", "conversations": None},
    ]
    (folder / "llava.json").write_text(json.dumps(rows))
    return "llava.json"


def openai(folder: Path) -> str:
    data = f"data:image/jpeg;base64,{base64.b64encode(jpeg()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": data}}, {"type": "text", "text": "What colour?"}]
    row = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "Red."}]}
    (folder / "chats.jsonl").write_text(f"{json.dumps(row)}\n{{broken\n")
    return "chats.jsonl"


def urls(folder: Path) -> str:
    rows = "URL,TEXT,WIDTH\nhttp://a.example/1.jpg,A red cat,60\nfile:///etc/passwd,Not for us,1\n"
    (folder / "urls.csv.gz").write_bytes(gzip.compress(rows.encode()))
    return "urls.csv.gz"


def url_list(folder: Path) -> str:
    (folder / "urls.txt").write_text("http://a.example/1.jpg\nftp://a.example/2.jpg\n")
    return "urls.txt"


def hub_parquet(folder: Path) -> str:
    images = [{"bytes": jpeg(), "path": "red.jpg"}, {"bytes": b"no picture", "path": "x.jpg"}]
    pq.write_table(pa.table({"image": images, "text": ["a red plane", "broken"]}), folder / "train.parquet")
    return "train.parquet"


def texts(folder: Path) -> str:
    (folder / "corpus.txt").write_text("First line.\nSecond line.\n")
    return "corpus.txt"


def questions(folder: Path) -> str:
    (folder / "bench.tsv").write_text("index\tquestion\tA\tB\tanswer\n0\tWhich?\tred\tblue\tA\n")
    return "bench.tsv"


def tars(folder: Path) -> str:
    (folder / "shards").mkdir()
    with tarfile.open(folder / "shards" / "00000.tar", "w") as tar:
        for name, content in (("1.jpg", jpeg()), ("1.txt", b"a red plane"), ("2.jpg", b"x"), ("2.txt", b"broken")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return "shards"


def pictures(folder: Path) -> str:
    (folder / "photos").mkdir()
    (folder / "photos" / "a red plane.jpg").write_bytes(jpeg())
    (folder / "photos" / "a red plane.txt").write_text("A red plane.")
    (folder / "photos" / "b.png").write_bytes(b"broken")
    (folder / "photos" / "c.jpg").write_bytes(jpeg())
    return "photos"


def image_folder(folder: Path) -> str:
    (folder / "set" / "train").mkdir(parents=True)
    (folder / "set" / "train" / "1.jpg").write_bytes(jpeg())
    (folder / "set" / "train" / "metadata.csv").write_text("file_name,text\n1.jpg,a red plane\n")
    return "set"


def model(folder: Path) -> str:
    (folder / "qwen").mkdir()
    (folder / "qwen" / "config.json").write_text(json.dumps({"model_type": "qwen3", "hidden_size": 64}))
    (folder / "qwen" / "model.safetensors").write_bytes(b"\0" * 8)
    return "qwen"


def films(folder: Path) -> str:
    (folder / "films").mkdir()
    (folder / "films" / "a.mp4").write_bytes(film(2.0))
    (folder / "films" / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\na red plane\n")
    (folder / "films" / "b.mp4").write_bytes(b"broken")
    return "films"


def film_tars(folder: Path) -> str:
    (folder / "shards").mkdir()
    members = {"1.mp4": film(2.0), "1.txt": b"a red plane", "2.txt": b"alone"}
    (folder / "shards" / "0.tar").write_bytes(tar_bytes(members))
    return "shards"


def film_list(folder: Path) -> str:
    (folder / "list.csv").write_text("url,caption,start\nhttp://a.example/1.mp4?x=1,a red plane,0\n,none,\n")
    return "list.csv"


FORMS = {
    films: ("cut_clips", ["", "failed: unknown_format"], [0, 0]),
    film_tars: ("cut_clips", ["", "failed: video_missing"], [0, 0]),
    film_list: ("cut_clips", ["", "dropped: names_no_video"], [0, 0]),
    llava: ("read_conversations", ["", "", "failed: schema"], [1, 1, 0]),
    openai: ("read_conversations", ["", "failed: malformed: line 2"], [1, 0]),
    urls: ("download_pairs", ["", "dropped: url_scheme"], [0, 0]),
    url_list: ("download_pairs", ["", "dropped: url_scheme"], [0, 0]),
    hub_parquet: ("import_pairs", ["", ""], [1, 1]),
    texts: ("read_text", ["", ""], [0, 0]),
    questions: ("read_questions", [""], [0]),
    tars: ("import_pairs", ["", "failed: no picture that decodes"], [1, 1]),
    pictures: ("import_pairs", ["", "dropped: no picture", "failed: no_caption"], [1, 1, 1]),
    image_folder: ("import_pairs", [""], [1]),
    model: ("fetch_llm", [""], [0]),
}
"""What is written, the stage that reads it, the verdict on each row, and how many pictures each has."""


@pytest.mark.parametrize("write", FORMS, ids=lambda write: write.__name__)
def test_a_source_is_shown_with_the_stage_that_reads_it_and_what_is_wrong(
    site: NeoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder = tmp_path / "data"
    folder.mkdir()
    name, (reader, verdicts, num_pictures) = write(folder), FORMS[write]
    document = site.neo("look", str(folder / name), "--json").json
    assert document["exit_code"] == 0
    found = [item["verdict"] for item in document["items"]]
    assert [verdict[: len(begins)] for verdict, begins in zip(found, verdicts, strict=True)] == verdicts
    assert [len(item["pictures"]) for item in document["items"]] == num_pictures
    assert f" = {reader}.bind(" in document["facts"]["read by"]
    told = site.neo("look", str(folder / name))
    assert all(len(line) <= 80 for line in told.out.splitlines()[:-1]), told.out
    page = tmp_path / "page.html"
    assert site.neo("look", str(folder / name), "--html", str(page)).code == 0
    assert page.read_text().count("<section>") == len(verdicts)


def test_a_picture_outside_of_the_source_is_never_opened(site: NeoSite, tmp_path: Path) -> None:
    name = llava(tmp_path)
    items = site.neo("look", str(tmp_path / name), "--json").json["items"]
    assert items[0]["pictures"] == ["60 x 40 px, JPEG, " + f"{len(jpeg()):,} bytes"]
    assert items[1]["pictures"] == ["../../etc/passwd: a path that leads out of the source"]


def test_conversations_are_shown_as_their_stage_reads_them(site: NeoSite, tmp_path: Path) -> None:
    """A flag takes a turn out of what is learned, a tool's turn rules the record out, and each says so."""
    asked = {"role": "user", "content": "Which?"}
    rows = [
        [asked, {"role": "assistant", "content": "A draft.", "is_input": True}, asked,
         {"role": "assistant", "content": "Blue."}],
        [asked, {"role": "assistant", "content": "Blue.", "weight": 0}],
        [asked, {"role": "tool", "content": "{}"}],
    ]  # fmt: skip
    (tmp_path / "chats.jsonl").write_text("".join(f"{json.dumps({'messages': turns})}\n" for turns in rows))
    document = site.neo("look", str(tmp_path / "chats.jsonl"), "--json").json
    assert [item["verdict"] for item in document["items"]] == ["", "dropped: nothing_supervised", "dropped: tool_turn"]
    learned = [span["text"] for span in document["items"][0]["text"] if span["role"] == "supervised"]
    assert learned == ["Blue."]
    assert document["troubles"] == [
        "1 of the 3 items shown end as dropped: nothing_supervised", "1 of the 3 items shown end as dropped: tool_turn"
    ]  # fmt: skip
    (tmp_path / "odd.jsonl").write_text('{"messages": [{"who": "user", "says": "Hello"}]}\n')
    assert "turn_fields=" in site.neo("look", str(tmp_path / "odd.jsonl"), "--json").json["troubles"][0]


def test_pictures_of_a_table_are_found_in_their_own_source(site: NeoSite, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "coco").mkdir(parents=True)
    (tmp_path / "pictures" / "coco" / "1.jpg").write_bytes(jpeg())
    (tmp_path / "chat.json").write_text(
        json.dumps([{"image": "coco/1.jpg", "conversations": [{"from": "human", "value": "<image>"},
                                                              {"from": "gpt", "value": "Red."}]}])
    )  # fmt: skip
    alone = site.neo("look", str(tmp_path / "chat.json"), "--json").json["items"][0]
    assert alone["pictures"] == ["coco/1.jpg: is not there"]
    images = ("--images", str(tmp_path / "pictures"))
    found = site.neo("look", str(tmp_path / "chat.json"), *images, "--json").json["items"][0]
    assert found["pictures"][0].startswith("60 x 40 px")


def test_a_source_is_found_by_its_name_beside_the_pipeline(
    site: NeoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    urls(folder)
    (folder / "sources.toml").write_text('[my_urls]\nuri = "urls.csv.gz"\n')
    monkeypatch.chdir(folder)
    document = site.neo("look", "my_urls", "--num", "1", "--json").json
    assert document["facts"]["taken for"] == "a URL table, by column 'URL' as url, column 'TEXT' as caption"
    assert 'Source("my_urls")' in document["facts"]["read by"]
    assert document["next"].startswith("neo look my_urls --skip 1")
    monkeypatch.chdir(tmp_path)
    elsewhere = ("--beside", "project")
    assert site.neo("look", "my_urls", *elsewhere, "--skip", "1", "--json").json["items"][0]["verdict"]


def test_columns_that_no_stage_reads_are_told_with_the_mapping_to_write(site: NeoSite, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("address,words\nhttp://a.example/1.jpg,A cat\n")
    document = site.neo("look", str(tmp_path / "odd.csv"), "--json").json
    assert "columns={'url': 'address'}" in document["troubles"][0]
    assert "read by" not in document["facts"]


def test_what_is_nowhere_is_said(site: NeoSite, tmp_path: Path) -> None:
    told = site.neo("look", str(tmp_path / "*.parquet"))
    assert told.code == 2 and "selects no file" in told.err
    (tmp_path / "sources.toml").write_text("[broken\n")
    told = site.neo("look", "x", "--beside", str(tmp_path))
    assert told.code == 2 and "TOMLDecodeError" in told.err
    shipped = site.neo("look", "toy_urls", "--num", "2", "--json").json
    assert len(shipped["items"]) == 2 and 'Source("toy_urls")' in shipped["facts"]["read by"]


def test_a_name_is_made_of_a_path() -> None:
    assert source_name("laion400m_en") == "laion400m_en"
    assert source_name("data/my urls.csv.gz") == "my_urls"
    assert source_name("s3://bucket/folder/") == "folder" and source_name("*.parquet") == "my_data"


@pytest.mark.parametrize("reader", STEPS)
def test_the_line_that_is_shown_binds_a_stage(reader: str) -> None:
    """The stage, its recipe and the field `source` are called as the line says."""
    line = SourceGuess(reader=reader, about="").binding("mine")
    stage = find_stage(reader)
    assert f'({stage.recipe_type.__name__}(source=Source("mine"))'.replace("(", "", 1) in line
    assert "source" in stage.recipe_type.model_fields
    num_inputs = line.count(", pictures")
    assert num_inputs <= len(stage.slots)
    assert all(slot.is_optional for slot in stage.slots[num_inputs:])


def test_a_tar_that_is_cut_off_says_so_after_its_whole_samples() -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for number in range(3):
            member = tarfile.TarInfo(f"{number:04d}.txt")
            member.size = 3000
            tar.addfile(member, io.BytesIO(b"x" * 3000))
    items = list(tar_items(io.BytesIO(whole.getvalue()[:6000]), "a.tar"))
    assert [item.heading for item in items][-1] == "a.tar: after a.tar: 0000"
    assert items[-1].verdict.startswith("failed: the tar is cut off or damaged")
