"""NEO-ov as its paper trains it (arXiv 2605.28820 v1: serialisation 3.2, data 3.4, settings 4.1), for either size.

Numbers are the paper's. It is silent on batches, steps, weight decay, betas, data sets, on how frames are sampled in
training and on when the context grows: what stands for these is marked "ours", with its reason, and is a field of
`Choices` or of a recipe below. The first stage begins with the pre-Buffer of a NEO checkpoint, ours or a released one:
the 20 million samples come on top of the 345 million behind it.

    stage           samples  text : image : images : video  pictures       frames  context     peak rate  trained
    pre-training    20M      image and text                 256^2-1024^2           16K         2e-4       see NEO
    mid-training    60M      2 : 4 : 1 : 1                  256^2-4096^2   <= 128  16K -> 36K  5e-5       everything
    instructions     6M      0 : 4 : 1 : 1                  256^2-4096^2   <= 128  36K         5e-5       everything

Each source is named in `sources.toml`: `neo look` and `neo pin` tell what is in it, and nothing here is read before a
run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from neo_model.inputs.frame_sampling import FrameSampling
from neo_model.published import PublishedNeo
from pipelines.recipes._paper import Size
from stages.artifacts.kinds import BaseLlm, Conversations, ExportedCheckpoint, Rows
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source, Step
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.export import ExportRecipe, export
from stages.fetch_llm import FetchLlmRecipe, fetch_llm
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.read_text import ReadTextRecipe, read_text
from stages.take_prebuffer import TakePrebufferRecipe, take_prebuffer
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end

Sources: TypeAlias = "dict[str, Step[Any]]"

M: Final = 1_000_000

PRETRAIN: Final = {"ov_captions": 14 * M, "ov_ocr_web": 6 * M}
"""Pairs of pre-training: captions and text-heavy pictures of the web, 20 million in all; the split is ours."""
MID: Final = {"text": 2.0, "image": 4.0, "images": 1.0, "video": 1.0}
"""Shares of mid-training, in samples."""
NUM_MID: Final = 60 * M
INSTRUCTIONS: Final = {"image": 4.0, "images": 1.0, "video": 1.0}
"""Shares of instruction tuning: 4 million about a picture, 1 million about several, 1 million about a video."""
NUM_INSTRUCTIONS: Final = 6 * M

MIN_PIXELS_PX: Final = 256**2
PRETRAIN_MAX_PX: Final = 1024**2
MAX_PIXELS_PX: Final = 4096**2
MAX_FRAME_PIXELS_PX: Final = 360 * 640
"""The evaluation's: 352 x 640 px in practice, 220 tokens a frame, so that 128 frames fit 36K tokens."""
SHORT_ROW_TOKENS: Final = 16_384
LONG_ROW_TOKENS: Final = 36_864
ROWS_PER_STEP: Final = 128
"""One row for each of the paper's 128 GPUs (ours)."""
TRAINING_FRAMES: Final = FrameSampling(frames_per_second=1.0, max_frames=128)
"""Frames of a training video (ours). The paper says "up to 128"; one a second with a cap is how it evaluates long
videos, and a model is best trained on what it will be asked about."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the paper does not say (all ours)."""

    sampling: FrameSampling = TRAINING_FRAMES
    """Which frames of a training video are taken."""
    samples_per_step: tuple[int, int, int] = (2_560, 1_200, 650)
    """Samples of an optimizer step in the three stages, as in NEO: with these, mid-training has NEO's 50,000 steps."""
    long_rows_from: float = 0.5
    """When mid-training goes from rows of 16K to rows of 36K, as a share of its steps."""
    warmup_ratio: float = 0.01
    """Warm-up as a share of the steps; this one is the paper's."""
    weight_decay: float = 0.01
    """AdamW weight decay, as in NEO."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW decay rates, as in NEO."""

    def num_steps(self, stage: int, num_samples: int) -> int:
        """Optimizer steps of one pass over so many samples in stage 0, 1 or 2."""
        return 100 * round(num_samples / self.samples_per_step[stage] / 100)


@dataclass(frozen=True, kw_only=True)
class OvSize:
    """What the two sizes of the paper differ in."""

    size: Size
    """The language model and the number of new layers, as in NEO."""
    neo: PublishedNeo
    """The NEO whose pre-Buffer is taken."""
    neo_source: str
    """Name of the source that holds its folder."""


def train_as_in_the_ov_paper(ov: OvSize, choices: Choices | None = None) -> Step[ExportedCheckpoint]:
    """The three stages, one after the other."""
    chosen = choices or Choices()
    llm = fetch_llm.bind("llm", FetchLlmRecipe(source=Source(ov.size.llm_source), published=ov.size.llm))
    neo = import_checkpoint.bind("neo", ImportCheckpointRecipe(source=Source(ov.neo_source), published=ov.neo))
    taken = take_prebuffer.bind("neo_prebuffer", TakePrebufferRecipe(), neo)

    pretrain_rows = packed("pretrain", _pretrain_draw(), llm, SHORT_ROW_TOKENS, PRETRAIN_MAX_PX)
    # Trained against NEO's own language model until now, and further against the one that the paper starts from.
    recipe = _pretraining(ov.size, chosen)
    buffer = train_prebuffer.bind("prebuffer", recipe, [pretrain_rows], llm, None, None, taken)
    merged = merge_post_llm.bind("merged", MergeRecipe(), buffer, llm)

    mid_draw = mixed("mid", MID, NUM_MID, _mid_sources(chosen))
    mid_rows = [
        packed("mid_short", mid_draw, llm, SHORT_ROW_TOKENS, MAX_PIXELS_PX),
        packed("mid_long", mid_draw, llm, LONG_ROW_TOKENS, MAX_PIXELS_PX),
    ]
    mid = tune_end_to_end.bind("mid", _mid_training(chosen), merged, mid_rows)

    chat_draw = mixed("chat", INSTRUCTIONS, NUM_INSTRUCTIONS, _instruction_sources(chosen))
    chat_rows = packed("chat", chat_draw, llm, LONG_ROW_TOKENS, MAX_PIXELS_PX)
    chat = tune_end_to_end.bind("chat", _instruction_tuning(chosen), mid, [chat_rows])
    return export.bind("export", ExportRecipe(title=ov.size.title, base_models=(f"Qwen/{ov.size.llm}-Base",)), chat)


def _pretrain_draw() -> Step[Any]:
    """20 million pairs, each once, without texts: the paper tells no share of them."""
    pairs = {name: _pairs(name, num_rows) for name, num_rows in PRETRAIN.items()}
    return mixed("pretrain", PRETRAIN, sum(PRETRAIN.values()), pairs)


def _mid_sources(chosen: Choices) -> Sources:
    """A source for each share of mid-training; the paper names none."""
    return {
        "text": read_text.bind("text", ReadTextRecipe(source=Source("text_corpus", num_rows=15 * M))),
        "image": _talks("ov_mid_image", 30 * M),
        "images": _talks("ov_mid_images", round(7.5 * M)),
        "video": _video_talks("ov_mid_video", round(7.5 * M), chosen),
    }


def _instruction_sources(chosen: Choices) -> Sources:
    """A source for each share: question answering, OCR, fine perception, time, mathematics and dialogue in all."""
    return {
        "image": _talks("ov_chat_image", 4 * M),
        "images": _talks("ov_chat_images", 1 * M),
        "video": _video_talks("ov_chat_video", 1 * M, chosen),
    }


def _pretraining(size: Size, chosen: Choices) -> TrainPrebufferRecipe:
    """Stage 1: patch embedding, pre-Buffer and new queries and keys, from NEO's."""
    num_steps = chosen.num_steps(0, sum(PRETRAIN.values()))
    return TrainPrebufferRecipe(
        num_prebuffer_layers=size.num_prebuffer_layers,
        rebase=True,
        num_steps=num_steps,
        rows_per_step=ROWS_PER_STEP,
        peak_learning_rate=2e-4,    # NEO: 8e-4
        num_warmup_steps=round(num_steps * chosen.warmup_ratio),
        floor_ratio=0.05,           # a cosine, of which the paper tells no floor: NEO's, here and below
        weight_decay=chosen.weight_decay,
        betas=chosen.betas,
    )  # fmt: skip


def _mid_training(chosen: Choices) -> TuneRecipe:
    """Stage 2: everything, on rows of 16K and then of 36K tokens.

    Both are packed from the whole draw, each in an order of its own: some samples are read in both halves, and others
    in neither. `neo seen` counts which.
    """
    num_steps = chosen.num_steps(1, NUM_MID)
    return TuneRecipe(
        num_steps=num_steps,
        until_steps=(round(num_steps * chosen.long_rows_from),),
        rows_per_step=ROWS_PER_STEP,
        peak_learning_rate=5e-5,
        num_warmup_steps=round(num_steps * chosen.warmup_ratio),
        floor_ratio=0.1,
        weight_decay=chosen.weight_decay,
        betas=chosen.betas,
    )


def _instruction_tuning(chosen: Choices) -> TuneRecipe:
    """Stage 3: everything, on instructions."""
    num_steps = chosen.num_steps(2, NUM_INSTRUCTIONS)
    return TuneRecipe(
        num_steps=num_steps,
        rows_per_step=ROWS_PER_STEP,
        peak_learning_rate=5e-5,
        num_warmup_steps=round(num_steps * chosen.warmup_ratio),
        floor_ratio=0.0,
        weight_decay=chosen.weight_decay,
        betas=chosen.betas,
    )


def mixed(name: str, shares: dict[str, Any], num_samples: int, sources: Sources) -> Step[Any]:
    """A draw of so many samples by these shares.

    A source may be passed over four times at most (ours): links die, and a list gives fewer samples than it has rows.
    """
    passes = dict.fromkeys(shares, 4.0)
    recipe = MixRecipe(shares={key: float(share) for key, share in shares.items()}, num_samples=num_samples,
                       max_epochs=passes)  # fmt: skip
    return mix_samples.bind(f"{name}_mix", recipe, sources)


def packed(name: str, draw: Step[Any], llm: Step[BaseLlm], row_tokens: int, max_pixels_px: int) -> Step[Rows]:
    """Rows of this length, with pictures and frames within their ranges.

    The rows of a step cost alike (`rows_together`): a row with a video of 28K tokens costs 1.5 times the mean.
    """
    recipe = PackRowsRecipe(
        max_row_tokens=row_tokens,
        min_pixels_px=MIN_PIXELS_PX,
        max_pixels_px=max_pixels_px,
        max_frame_pixels_px=MAX_FRAME_PIXELS_PX,
        pictures_share_pixels=True, # the published kit's rule for several images, max(2 * max_pixels / n, min_pixels)
        rows_together=ROWS_PER_STEP,
    )  # fmt: skip
    return pack_rows.bind(f"{name}_rows", recipe, draw, llm)


def _pairs(name: str, num_rows: int) -> Step[Any]:
    """Pairs of one list of addresses, downloaded and filtered (limits: ours)."""
    raw = download_pairs.bind(f"{name}_raw", DownloadPairsRecipe(source=Source(name, num_rows=num_rows)))
    return filter_pairs.bind(name, FilterPairsRecipe(), raw)


def _talks(name: str, num_rows: int) -> Step[Conversations]:
    """Conversations about pictures, which they refer to by paths in another source."""
    source, images = Source(name, num_rows=num_rows), Source(f"{name}_files")
    pictures = collect_images.bind(f"{name}_pictures", CollectImagesRecipe(source=source, images=images))
    return read_conversations.bind(name, ReadConversationsRecipe(source=source), pictures)


def _video_talks(name: str, num_rows: int, chosen: Choices) -> Step[Conversations]:
    """Conversations about videos, which they refer to by paths in another source.

    Videos are kept whole, as packets: 128 frames of a long video would take more room as pictures, and lose a little.
    """
    source, videos = Source(name, num_rows=num_rows), Source(f"{name}_files")
    cutting = CutClipsRecipe(source=source, videos=videos, sampling=chosen.sampling, store="packets")
    clips = cut_clips.bind(f"{name}_clips", cutting)
    filtering = FilterClipsRecipe(min_caption_chars=0)  # what is said of them stands in the conversations
    kept = filter_clips.bind(f"{name}_kept", filtering, clips)
    return read_conversations.bind(name, ReadConversationsRecipe(source=source), None, kept)
