"""The stages through which pairs and texts come in, over a web and an endpoint on loopback that count what is asked.

Six parts in all but the comparisons, which make some twenty: a step takes a second or two, of which a kill takes any.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stages.caption_pairs import CaptionPairsRecipe, caption_pairs
from stages.contract import Source, Step
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.dedup_texts import DedupTextsRecipe, dedup_texts
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.filter_text import FilterTextRecipe, filter_text
from stages.read_text import ReadTextRecipe, read_text
from stages.score_pairs import ScorePairsRecipe, score_pairs
from tests.worlds.caption_server import Answer, CaptionServer, answered, caption_server
from tests.worlds.clip_models import write_clip
from tests.worlds.copied_pairs import WHOLE, picture
from tests.worlds.text_world import document

NUM_PARTS = 6
NUM_URLS_PER_PART = 24
NUM_DOCUMENTS_PER_PART = 12
SECONDS_A_PICTURE = 0.05
"""So long the web thinks about each, so that a kill meets requests that are under way."""
SECONDS_A_CAPTION = 0.05
NUM_ASKED_AT_ONCE = 4
"""Requests that one part of `caption_pairs` has in flight."""
NUM_TRIES = 2
"""How often the web is asked for a picture that it does not give."""


@dataclass
class CountingWeb:
    """Serves pictures by number, some of them not at all, and counts the requests for each path."""

    asked: Counter[str] = field(default_factory=Counter)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str) -> tuple[int, bytes]:
        with self.lock:
            self.asked[path] += 1
        time.sleep(SECONDS_A_PICTURE)
        number = int(path.removeprefix("/").removesuffix(".jpg"))
        match number % 12:
            case 5:
                return 404, b"gone"
            case 7:
                return 503, b"later"
            case 9:
                return 200, body_of(number)[:-300]
        return 200, body_of(number)


def body_of(number: int) -> bytes:
    """The picture under a number: one photograph in many sizes, so that some repeat each other."""
    kind = "PNG" if number % 5 == 0 else "JPEG"
    return picture(f"{WHOLE[number * 7 % len(WHOLE)]} {70 + number % 40} {kind} {80 + number % 3}")


@contextmanager
def counting_web() -> Iterator[CountingWeb]:
    web = CountingWeb()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = web.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is part of what is tested."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads, web.port = True, http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            http.shutdown()
            thread.join()


def caption_of(words: str, _: int) -> Answer:
    """What the endpoint says about the caption in a prompt."""
    time.sleep(SECONDS_A_CAPTION)
    return answered(f"a better {words.removeprefix('Say more: ')}")


@dataclass(frozen=True)
class Ingestion:
    """Where the world's files and servers are. Pickles, so that a process that will be killed builds the same steps."""

    folder: Path
    endpoint: str

    @property
    def sources(self) -> dict[str, str]:
        return {name: str(self.folder / name) for name in ("urls.jsonl", "documents.jsonl", "clip")}

    @cached_property
    def steps(self) -> dict[str, Step[Any]]:
        """Each stage's step under the stage's name."""
        pairs = download_pairs.bind(
            "download_pairs",
            DownloadPairsRecipe(
                source=Source("urls.jsonl"),
                num_urls_per_part=NUM_URLS_PER_PART,
                allow_hosts=("127.0.0.1",),
                num_tries=NUM_TRIES,
                max_share_lost=1,
            ),
        )
        scored = score_pairs.bind("score_pairs", ScorePairsRecipe(clip=Source("clip"), num_at_once=8), pairs)
        rules = {"unliked": "similarity < -0.9", "wide": "width_px > 2 * height_px", "flat": "picture_contrast < 9"}
        kept = filter_pairs.bind(
            "filter_pairs",
            FilterPairsRecipe(rules=rules, languages=("en",), min_language_score=0, min_sharpness=1, max_share_lost=1),
            scored,
        )
        asking = CaptionPairsRecipe(
            model="toy-vl",
            prompt="Say more: {caption}",
            endpoint=self.endpoint,
            num_at_once=NUM_ASKED_AT_ONCE,
            max_share_lost=1,
        )
        captions = caption_pairs.bind("caption_pairs", asking, pairs)
        alike = DedupPairsRecipe(max_pairs_per_caption=4, min_caption_likeness=0.8, max_share_lost=1)
        texts = read_text.bind(
            "read_text",
            ReadTextRecipe(source=Source("documents.jsonl"), num_documents_per_part=NUM_DOCUMENTS_PER_PART),
        )
        steps = [
            pairs,
            scored,
            kept,
            captions,
            dedup_pairs.bind("dedup_pairs", alike, captions),
            texts,
            filter_text.bind("filter_text", FilterTextRecipe(max_share_lost=1), texts),
            dedup_texts.bind("dedup_texts", DedupTextsRecipe(max_share_lost=1), texts),
        ]
        return {step.name: step for step in steps}


@dataclass
class Servers:
    """The world, and what its servers were asked."""

    world: Ingestion
    web: CountingWeb
    captions: CaptionServer

    def asked(self, step: str) -> Counter[str]:
        """What a step has asked for so far, with how often; nothing for a stage that asks nobody."""
        return Counter({"download_pairs": self.web.asked, "caption_pairs": self.captions.asked}.get(step, {}))


@contextmanager
def ingestion(folder: Path) -> Iterator[Servers]:
    """Write the files of the world and serve it."""
    with ExitStack() as stack:
        web, captions = stack.enter_context(counting_web()), stack.enter_context(caption_server(caption_of))
        rows = [
            {"url": f"http://127.0.0.1:{web.port}/{number}.jpg", "caption": f"a red dog shows the number {number}"}
            for number in range(NUM_PARTS * NUM_URLS_PER_PART)
        ]
        texts = [document(number % 40) for number in range(NUM_PARTS * NUM_DOCUMENTS_PER_PART)]
        (folder / "urls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        write_clip(folder / "clip")
        yield Servers(Ingestion(folder, captions.address), web, captions)
