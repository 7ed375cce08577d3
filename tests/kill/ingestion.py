"""The stages through which pairs and texts come in, over a web and an endpoint on loopback that count what is asked.

Some six parts in each, but some twenty in the comparisons: a step takes a second or two, of which a kill takes any.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.caption_by_checkpoint import CaptionByCheckpointRecipe, caption_by_checkpoint
from stages.caption_pairs import CaptionPairsRecipe, caption_pairs
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, Step
from stages.dedup_pairs import DedupPairsRecipe, dedup_pairs
from stages.dedup_texts import DedupTextsRecipe, dedup_texts
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.filter_text import FilterTextRecipe, filter_text
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.read_text import ReadTextRecipe, read_text
from stages.retry_pairs import RetryPairsRecipe, retry_pairs
from stages.score_pairs import ScorePairsRecipe, score_pairs
from tests.kill.counting_web import CountingWeb, counting_web
from tests.kill.ingestion_files import (
    FILES,
    MAX_TAR_BYTES,
    NUM_DOCUMENTS_PER_PART,
    NUM_IMAGES_PER_PART,
    NUM_URLS_PER_PART,
    write_files,
)
from tests.worlds.caption_server import Answer, CaptionServer, answered, caption_server

SECONDS_A_CAPTION = 0.05
NUM_ASKED_AT_ONCE = 4
"""Requests that one part of `caption_pairs` has in flight."""
FETCH: dict[str, Any] = {"allow_hosts": ("127.0.0.1",), "num_tries": 2, "max_share_lost": 1}
"""How the web is asked, by all that ask it."""
ASK_THE_WEB = ("download_pairs", "collect_images", "retry_pairs")


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
        return {name: str(self.folder / name) for name in FILES}

    @cached_property
    def steps(self) -> dict[str, Step[Any]]:
        """Each stage's step under the stage's name."""
        urls = Source("urls.jsonl")
        pairs = download_pairs.bind(
            "download_pairs", DownloadPairsRecipe(source=urls, num_urls_per_part=NUM_URLS_PER_PART, **FETCH)
        )
        again = RetryPairsRecipe(source=urls, reasons=("transient", "truncated"), num_urls_per_part=4, **FETCH)
        texts = read_text.bind(
            "read_text",
            ReadTextRecipe(source=Source("documents.jsonl"), num_documents_per_part=NUM_DOCUMENTS_PER_PART),
        )
        steps = [
            pairs,
            retry_pairs.bind("retry_pairs", again, pairs),
            *pairs_of_others(),
            *judged(pairs),
            *captioned(pairs, self.endpoint),
            texts,
            filter_text.bind("filter_text", FilterTextRecipe(max_share_lost=1), texts),
            dedup_texts.bind("dedup_texts", DedupTextsRecipe(max_share_lost=1), texts),
        ]
        return {step.name: step for step in steps}


def pairs_of_others() -> list[Step[Any]]:
    """Pairs in tars, and pictures of conversations."""
    tars = ImportPairsRecipe(source=Source("tars"), max_tar_bytes=MAX_TAR_BYTES, max_share_lost=1)
    talks = CollectImagesRecipe(
        source=Source("talks.jsonl"), images=Source("photos"), num_images_per_part=NUM_IMAGES_PER_PART, **FETCH
    )
    return [import_pairs.bind("import_pairs", tars), collect_images.bind("collect_images", talks)]


def judged(pairs: Step[Any]) -> list[Step[Any]]:
    """Scores of pairs, and rules over them."""
    scored = score_pairs.bind("score_pairs", ScorePairsRecipe(clip=Source("clip"), num_at_once=8), pairs)
    rules = {"unliked": "similarity < -0.9", "wide": "width_px > 2 * height_px", "flat": "picture_contrast < 9"}
    kept = FilterPairsRecipe(rules=rules, languages=("en",), min_language_score=0, min_sharpness=1, max_share_lost=1)
    return [scored, filter_pairs.bind("filter_pairs", kept, scored)]


def captioned(pairs: Step[Any], endpoint: str) -> list[Step[Any]]:
    """New captions from an endpoint, and what is alike among them; others from a checkpoint that knows nothing."""
    asking = CaptionPairsRecipe(
        model="toy-vl",
        prompt="Say more: {caption}",
        endpoint=endpoint,
        num_at_once=NUM_ASKED_AT_ONCE,
        max_share_lost=1,
    )
    captions = caption_pairs.bind("caption_pairs", asking, pairs)
    alike = DedupPairsRecipe(max_pairs_per_caption=4, min_caption_likeness=0.8, max_share_lost=1)
    neo = import_checkpoint.bind("import_checkpoint", ImportCheckpointRecipe(source=Source("neo")))
    few = CaptionByCheckpointRecipe(
        prompt="More: {caption}", max_new_tokens=4, max_pixels_px=4096, keep_cut=True, num_at_once=6, max_share_lost=1
    )
    return [
        captions,
        dedup_pairs.bind("dedup_pairs", alike, captions),
        neo,
        caption_by_checkpoint.bind("caption_by_checkpoint", few, pairs, neo),
    ]


@dataclass
class Servers:
    """The world, and what its servers were asked."""

    world: Ingestion
    web: CountingWeb
    captions: CaptionServer

    def asked(self, step: str) -> Counter[str]:
        """What such as a step have asked for so far, with how often; nothing for a stage that asks nobody."""
        if step in ASK_THE_WEB:
            return self.web.asked.copy()
        return Counter(self.captions.asked if step == "caption_pairs" else ())

    def await_step(self, step: str) -> None:
        """Be as a step meets the servers: the web is mended where failed rows are fetched again."""
        self.web.is_mended = step == "retry_pairs"


@contextmanager
def ingestion(folder: Path) -> Iterator[Servers]:
    """Write the files of the world and serve it."""
    with ExitStack() as stack:
        web, captions = stack.enter_context(counting_web()), stack.enter_context(caption_server(caption_of))
        write_files(folder, web)
        yield Servers(Ingestion(folder, captions.address), web, captions)
