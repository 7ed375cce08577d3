"""Small data sets in the forms in which people have them, of photographs that scikit-image ships."""

import base64
import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset

from tests.worlds.photo_world import PHOTOS, photo

CAPTIONS: Mapping[str, str] = {
    "astronaut": "an astronaut smiles in front of a flag",
    "coffee": "a cup of coffee with a spoon",
    "chelsea": "a red cat looks to the left",
    "rocket": "a rocket on the launch pad at night",
}
QUESTION = "What does the picture show?"


def write_pictures(folder: Path) -> None:
    """The photographs as JPEG files."""
    folder.mkdir(parents=True)
    for name in PHOTOS:
        (folder / f"{name}.jpg").write_bytes(photo(name))


def write_url_tables(folder: Path, address: str) -> dict[str, Path]:
    """Lists of the pictures' URLs: Parquet in LAION's spelling, CSV with Windows line ends, TSV, gzipped JSONL."""
    folder.mkdir(parents=True)
    rows = [(f"{address}/{name}.jpg", CAPTIONS[name], 0.01) for name in PHOTOS]
    rows.append((f"{address}/missing.jpg", "a picture that nobody has", 0.5))
    urls, captions, unsafe = zip(*rows, strict=True)
    pq.write_table(pa.table({"URL": urls, "TEXT": captions, "punsafe": unsafe}), folder / "laion.parquet")
    for name, dialect, encoding in (("list.csv", "excel", "utf-8-sig"), ("list.tsv", "excel-tab", "utf-8")):
        with (folder / name).open("w", newline="", encoding=encoding) as file:
            writer = csv.writer(file, dialect)  # both dialects end lines with \r\n
            writer.writerow(("image_url", "alt_text", "punsafe"))
            writer.writerows(rows)
    with gzip.open(folder / "list.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps({"url": url, "caption": text}) + "\n" for url, text, _ in rows)
    return {name: folder / name for name in ("laion.parquet", "list.csv", "list.tsv", "list.jsonl.gz")}


def write_pairs(folder: Path) -> dict[str, Path]:
    """Pictures with captions: a tar, Parquet with bytes, and folders with three kinds of captions."""
    folder.mkdir(parents=True)
    with webdataset.TarWriter(str(folder / "pairs.tar")) as tar:
        for number, name in enumerate(PHOTOS):
            tar.write({"__key__": f"{number:04d}", "jpg": photo(name), "txt": CAPTIONS[name], "json": {"lang": "en"}})
    images = [{"bytes": photo(name, "PNG"), "path": f"{name}.png"} for name in PHOTOS]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    (folder / "hub" / "data").mkdir(parents=True)
    table = pa.table({"image": pa.array(images, kind), "text": [CAPTIONS[name] for name in PHOTOS]})
    pq.write_table(table, folder / "hub" / "data" / "train-00000-of-00001.parquet", row_group_size=2)
    for form in ("metadata", "beside"):
        write_pictures(folder / form)
    with (folder / "metadata" / "metadata.jsonl").open("w") as lines:
        lines.writelines(json.dumps({"file_name": f"{n}.jpg", "text": CAPTIONS[n]}) + "\n" for n in PHOTOS)
    for name in PHOTOS:
        (folder / "beside" / f"{name}.txt").write_text(CAPTIONS[name])
    return {name: folder / name for name in ("pairs.tar", "hub", "metadata", "beside")}


def write_conversations(folder: Path) -> dict[str, Path]:
    """Conversations: LLaVA's JSON with paths, OpenAI's JSONL with data URIs, Qwen's Parquet with bytes."""
    folder.mkdir(parents=True)
    llava = [
        {
            "id": number,
            "image": f"{name}.jpg",
            "conversations": [
                {"from": "human", "value": f"<image>\n{QUESTION} ({number})"},
                {"from": "gpt", "value": CAPTIONS[name]},
            ],
        }
        for number, name in enumerate(PHOTOS * 5)
    ]
    (folder / "llava.json").write_text(json.dumps(llava))
    with (folder / "openai.jsonl").open("w") as lines:
        for name in PHOTOS:
            uri = f"data:image/jpeg;base64,{base64.b64encode(photo(name)).decode()}"
            content = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": QUESTION}]
            messages = [{"role": "system", "content": ""}, {"role": "user", "content": content}]
            messages.append({"role": "assistant", "content": CAPTIONS[name]})
            lines.write(json.dumps({"messages": messages}) + "\n")
    rows = [
        {
            "id": name,
            "images": [{"bytes": photo(name), "path": None}],
            "messages": [
                {"role": "user", "content": f"<image>{QUESTION}"},
                {"role": "assistant", "content": CAPTIONS[name]},
            ],
        }
        for name in PHOTOS
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "onevision.parquet")
    return {name: folder / name for name in ("llava.json", "openai.jsonl", "onevision.parquet")}


def write_texts(folder: Path) -> dict[str, Path]:
    """Texts: gzipped JSONL, and a folder of files."""
    (folder / "files").mkdir(parents=True)
    with gzip.open(folder / "text.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps({"text": f"{text}, and then another."}) + "\n" for text in CAPTIONS.values())
    for name, text in CAPTIONS.items():
        (folder / "files" / f"{name}.txt").write_text(f"{text}.\n\nThat is all.\n")
    return {name: folder / name for name in ("text.jsonl.gz", "files")}


def write_questions(path: Path) -> Path:
    """An evaluation set in the form of VLMEvalKit: TSV with base64 pictures and options A to D."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, "excel-tab")
        writer.writerow(("index", "image", "question", "A", "B", "C", "D", "answer", "category"))
        for number, name in enumerate(PHOTOS):
            options = [CAPTIONS[other] for other in PHOTOS]
            image = base64.b64encode(photo(name)).decode()
            writer.writerow((number, image, QUESTION, *options, "ABCD"[number], "what"))
    return path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback while the block runs; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
