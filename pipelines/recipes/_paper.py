"""NEO as its paper trains it (arXiv 2510.14979 v2: data 3.2, sizes 4.1, hyper-parameters table 5), for either size.

Numbers are the paper's. Where the published scripts differ (EvolvingLMMs-Lab/NEO, VLMTrainKit at 78faae9), theirs stand
in a comment; what neither says is marked "ours". Each source is a table in `sources.toml`: `neo look` and `neo pin`
tell what is in it, and nothing here is read before a run.

    stage           samples    sources                          trained
    pre-training    345M       web pairs, captions; text 3:7    patch embedding, pre-Buffer, new queries and keys
    mid-training     40M       InternVL-1.5's corpus; text 3:7  everything
    instructions      4M       Mono-InternVL's mix              everything
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from neo_model.published import PublishedQwen3
from stages.artifacts.kinds import BaseLlm, Conversations, ExportedCheckpoint, Rows
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.export import ExportRecipe, export
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_pairs import ImportPairsRecipe, import_pairs
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.read_text import ReadTextRecipe, read_text
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end

Sources: TypeAlias = "dict[str, Step[Any]]"

M: Final = 1_000_000

WEB_PAIRS: Final = {
    "laion400m_en": 100 * M,
    "laion400m_zh": 20 * M,
    "coyo700m_en": 150 * M,
    "laion_coco": 30 * M,    # synthetic captions
    "openimages": 5 * M,     # short captions, written anew by InternVL2-8B
    "wukong": 20 * M,        # rich in text to read
}  # fmt: skip
"""Tables of URLs and captions, in rows."""
LONG_CAPTIONS: Final = {"blip3o": 20 * M}
"""Tars of pictures with long captions, in pairs."""
PRETRAIN: Final = WEB_PAIRS | LONG_CAPTIONS
"""345 million pairs in all."""

MID: Final = {"mid_caption": 0.66, "mid_conversation": 0.11, "mid_detection": 0.08, "mid_ocr": 0.15}
"""Shares of InternVL-1.5's pre-training corpus."""
NUM_MID: Final = 40 * M

NUM_INSTRUCTIONS: Final = 4 * M
"""Bilingual, and mixed as Mono-InternVL's (table 4). The source `instructions` lists the sets:

    caption       TextCaps, ShareGPT4V (en, zh)
    general       VQAv2, GQA, OKVQA, VSR, VisualDialog
    science       AI2D, ScienceQA, TQA
    chart         ChartQA, MMC-Inst, DVQA, PlotQA, LRV-Instruction
    mathematics   GeoQA+, TabMWP, MathQA, CLEVR-Math/Super, Geometry3K
    knowledge     KVQA, A-OKVQA, ViQuAE, Wikipedia (en, zh)
    OCR           OCRVQA, InfoVQA, TextVQA, ArT, COCO-Text, CTW, LSVT, RCTW-17, ReCTs, SynthDoG, ST-VQA
    document      DocVQA, Common Crawl PDF
    grounding     RefCOCO/+/g, Visual Genome
    conversation  LLaVA-150K, LVIS-Instruct4V, ALLaVA, Laion-GPT4V, TextOCR-GPT4V, SVIT
    text          OpenHermes2.5, Alpaca-GPT4, COIG-CQIA, ShareGPT
"""
NUM_TEXTS: Final = 150 * M
"""Documents of the text-only corpus, of which the paper tells the share alone: 3 of 10 samples."""
MAX_EPOCHS: Final = 4.0
"""Passes over a source, at most (ours): links die, and a source gives fewer pictures than it has rows."""

MIN_PIXELS_PX: Final = 256**2
ROWS_PER_STEP: Final = 128
"""One row for each of the paper's 128 GPUs (ours). The paper counts samples: 2,560, 1,200 and 650 a step, which rows of
8,192 tokens hold where a sample has some 410, 870 and 1,600 tokens. The scripts pack 64 samples into 16,384 tokens."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What the two sizes of the paper differ in (section 4.1)."""

    title: str
    """Headline of the model card."""
    llm: PublishedQwen3
    """The language model: its sizes are known, so that `neo estimate` answers before it was fetched."""
    llm_source: str
    """Name of the source that holds its folder."""
    num_prebuffer_layers: int
    """New layers before the language model's."""


def train_as_in_the_paper(size: Size) -> Step[ExportedCheckpoint]:
    """The three stages of table 5, one after the other."""
    llm = fetch_llm.bind("llm", FetchLlmRecipe(source=Source(size.llm_source), published=size.llm))
    text = read_text.bind("text", ReadTextRecipe(source=Source("text_corpus", num_rows=NUM_TEXTS)))

    pretrain = mixed("pretrain", PRETRAIN, {name: _pairs(name, num) for name, num in PRETRAIN.items()}, text)
    buffer = train_prebuffer.bind("prebuffer", _pretraining(size), [packed("pretrain", pretrain, llm, 1024)], llm)
    merged = merge_post_llm.bind("merged", MergeRecipe(), buffer, llm)

    talks = {name: _talks(name, round(NUM_MID * share)) for name, share in MID.items()}
    mid_rows = packed("mid", mixed("mid", MID, talks, text), llm, 2048)
    mid = tune_end_to_end.bind("mid", _mid_training(), merged, [mid_rows])

    instructions = {"instructions": _talks("instructions", NUM_INSTRUCTIONS)}
    chat_rows = packed("chat", mixed("chat", {"instructions": 1.0}, instructions), llm, 2048)
    chat = tune_end_to_end.bind("chat", _instruction_tuning(), mid, [chat_rows])
    return export.bind("export", ExportRecipe(title=size.title, base_models=(f"Qwen/{size.llm}-Base",)), chat)


def _pretraining(size: Size) -> TrainPrebufferRecipe:
    """Table 5, column PT."""
    return TrainPrebufferRecipe(
        num_prebuffer_layers=size.num_prebuffer_layers,
        num_steps=190_000,          # scripts: 200,000
        rows_per_step=ROWS_PER_STEP,
        peak_learning_rate=8e-4,
        num_warmup_steps=2_000,     # scripts: 1,000
        floor_ratio=0.05,           # scripts: 0.1
        weight_decay=0.01,
        betas=(0.9, 0.999),         # scripts: (0.9, 0.95), here and below
        eps=1e-8,
        checkpoint_every_steps=1_000,   # scripts: 10,000, of which the last is kept
    )  # fmt: skip


def _mid_training() -> TuneRecipe:
    """Table 5, column MT."""
    return TuneRecipe(
        num_steps=50_000,
        rows_per_step=ROWS_PER_STEP,
        peak_learning_rate=4e-5,    # scripts: 5e-5
        num_warmup_steps=200,       # scripts: 3% of the steps for 2B, 200 for 8B
        floor_ratio=0.1,            # scripts: 0.2
        weight_decay=0.01,
        betas=(0.9, 0.999),
        eps=1e-8,
    )  # fmt: skip


def _instruction_tuning() -> TuneRecipe:
    """Table 5, column SFT."""
    return TuneRecipe(
        num_steps=6_000,            # scripts: 4,500
        rows_per_step=ROWS_PER_STEP,
        peak_learning_rate=5e-5,    # scripts: 6e-5
        num_warmup_steps=200,       # scripts: 3% of the steps for 2B, 200 for 8B
        floor_ratio=0.0,            # a cosine without a floor; scripts: 0.1 for 2B
        weight_decay=0.01,
        betas=(0.9, 0.999),
        eps=1e-8,
    )  # fmt: skip


NUM_DRAWN: Final = {
    "pretrain": 190_000 * 2_560,    # 486M, of which 340M pairs: one pass over 345M
    "mid": 50_000 * 1_200,          # 60M, of which 42M with pictures
    "chat": 6_000 * 650,            # 3.9M: one pass
}  # fmt: skip
"""Samples that each stage sees: steps by samples a step."""


def mixed(name: str, shares: dict[str, Any], sources: Sources, text: Step[Any] | None = None) -> Step[Any]:
    """A draw from these sources by these shares, with 3 texts for 7 others where a corpus is given.

    The paper does not say whether its 3:7 counts samples or tokens; its steps and batches add up in samples.
    """
    total = sum(shares.values())
    by_name = {source: 7 * share / total for source, share in shares.items()} | ({"text": 3.0} if text else {})
    recipe = MixRecipe(shares=by_name, num_samples=NUM_DRAWN[name], max_epochs=dict.fromkeys(by_name, MAX_EPOCHS))
    return mix_samples.bind(f"{name}_mix", recipe, sources | ({"text": text} if text else {}))


def packed(name: str, draw: Step[Any], llm: Step[BaseLlm], largest_side_px: int) -> Step[Rows]:
    """Rows of 8,192 tokens, pictures from 256^2 px up to a square of this side.

    Scripts: 16,384 tokens and 2048^2 px for PT; 32,768 (2B) or 18,432 (8B) tokens and 4096^2 px for MT and SFT.
    """
    recipe = PackRowsRecipe(
        max_row_tokens=8_192, max_sample_tokens=8_192, min_pixels_px=MIN_PIXELS_PX, max_pixels_px=largest_side_px**2
    )
    return pack_rows.bind(f"{name}_rows", recipe, draw, llm)


def _pairs(name: str, num_rows: int) -> Step[Any]:
    """Pairs of one source: downloaded by its table, or imported from its tars; then filtered (limits: ours)."""
    source = Source(name, num_rows=num_rows)
    if name in WEB_PAIRS:
        raw = download_pairs.bind(f"{name}_raw", DownloadPairsRecipe(source=source))
    else:
        raw = import_pairs.bind(f"{name}_raw", ImportPairsRecipe(source=source))
    return filter_pairs.bind(name, FilterPairsRecipe(), raw)


def _talks(name: str, num_rows: int) -> Step[Conversations]:
    """Conversations of one source, with the pictures that they refer to by paths in another."""
    source, images = Source(name, num_rows=num_rows), Source(f"{name}_images")
    pictures = collect_images.bind(f"{name}_pictures", CollectImagesRecipe(source=source, images=images))
    return read_conversations.bind(name, ReadConversationsRecipe(source=source), pictures)
