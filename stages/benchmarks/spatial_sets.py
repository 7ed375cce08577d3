"""Benchmarks of spatial intelligence, as the authors asked NEO-ov: words, numbers of frames and pixels.

All pictures and frames have 720 x 960 pixels or nearly so (736 x 960, 690 tokens): the range is one number, and no
multiple of 32 hits it. Frames are numbered and carry no times. Numbers are scored by mean relative accuracy.
"""

from __future__ import annotations

from typing import Final

from neo_model.inputs.frame_sampling import FrameSampling
from stages.benchmarks.benchmark import Benchmark, PixelRange, RowFields, Wording

SPATIAL_PIXELS: Final = PixelRange(720 * 960, 720 * 960)
"""Pixels of a picture or frame."""
_BEST_ANSWER: Final = "\nGive me the answer letter directly. The best answer is:"
_SITE: Final = Wording(
    question="Question: {question}\nOptions:\n",
    plain_question="Question: {question}",
    option="{letter}: {text}",
    choice_ending=_BEST_ANSWER,
)
_LOW: Final = (
    "depth_prediction_oc", "depth_prediction_oc_mv", "depth_prediction_oo", "depth_prediction_oo_mv",
    "distance_prediction_oc", "distance_prediction_oc_mv", "distance_prediction_oo", "distance_prediction_oo_mv",
)  # fmt: skip

VSI_BENCH: Final = Benchmark(
    name="vsi_bench",
    fields=RowFields(
        answer=("ground_truth", "answer"),
        kind=("question_type",),
        videos=("{video}", "{dataset}/{scene_name}.mp4", "{scene_name}.mp4"),
    ),
    wording=Wording(
        choice_lead="These are frames of a video.\n",
        open_lead="These are frames of a video.\n",
        open_ending="\nAnswer briefly and directly in one float number.",
    ),
    video_style="numbered",
    rules={
        "numeric": frozenset(
            ("object_abs_distance", "object_size_estimation", "object_counting", "room_size_estimation")
        )
    },
    sampling=FrameSampling(num_frames=32, spacing="ends"),
    frame_pixels=SPATIAL_PIXELS,
    groups={"object_rel_direction": tuple(f"object_rel_direction_{level}" for level in ("easy", "medium", "hard"))},
    overall="groups",
)
"""VSI-Bench's JSONL or Parquet, or the TSV of the kit. The overall score is the mean over its types, of which the three
of relative direction are one."""

SITE_IMAGE: Final = Benchmark(name="site_image", wording=_SITE, picture_pixels=SPATIAL_PIXELS, is_chance_adjusted=True)
"""SITE's questions about pictures, in the TSV of the kit: `options`, `image_path`."""

SITE_VIDEO: Final = Benchmark(
    name="site_video",
    fields=RowFields(videos=("{video_path}", "{video}")),
    wording=Wording(
        choice_lead=(
            "Select the best answer to the following multiple-choice question based on the video. Respond with only "
            "the letter of the correct option.\n"
        ),
        question=_SITE.question,
        plain_question=_SITE.plain_question,
        option=_SITE.option,
        choice_ending=_BEST_ANSWER,
    ),
    video_style="numbered",
    sampling=FrameSampling(num_frames=32, spacing="ends"),
    frame_pixels=SPATIAL_PIXELS,
    is_chance_adjusted=True,
)
"""SITE's questions about videos, in the TSV of the kit: `candidates`, `video_path`."""

MMSI: Final = Benchmark(
    name="mmsi",
    fields=RowFields(options=("A",), kind=("category", "question_type")),
    wording=Wording(
        hint="Hint: {hint}\n",
        question="{question}\nOptions: ",
        option="{letter}: {text}",
        between=", ",
        choice_ending=(
            ", \nAnswer with the option's letter from the given choices directly. "
            "Enclose the option's letter within ``."
        ),
    ),
    picture_pixels=SPATIAL_PIXELS,
)
"""MMSI-Bench's Parquet, whose questions hold their options, or the TSV of the kit, which lists them."""

MMSI_VIDEO: Final = Benchmark(
    name="mmsi_video",
    fields=RowFields(
        question=("{system_prompt}\n{task_prompt}{user_prompt}{format_prompt}",),
        options=(),
        kind=("sub_task_type", "task_type"),
    ),
    wording=Wording(choice_ending=""),
    places="frames",
    sampling=FrameSampling(num_frames=50, spacing="ends"),
    picture_pixels=SPATIAL_PIXELS,
)
"""MMSI-Video-Bench in the TSV of the kit: `image_path` lists the frames of each video, which are pictures here, and
`ref_images` further pictures. The frames of all videos together are thinned to those of `sampling`."""

MINDCUBE: Final = Benchmark(
    name="mindcube",
    fields=RowFields(answer=("gt_answer", "answer"), kind=("category", "type")),
    wording=Wording(),
    is_tag_removed=True,
    picture_pixels=SPATIAL_PIXELS,
)
"""MindCube's JSONL (also its tiny set), whose questions hold their options, or the TSV of the kit."""

VIEW_SPATIAL: Final = Benchmark(
    name="view_spatial",
    fields=RowFields(kind=("question_type",)),
    wording=Wording(
        question="Question: {question}\nChoices: ",
        plain_question="Question: {question}",
        choice_ending="\nReply only to the corresponding option.\nAnswer:",
    ),
    picture_pixels=SPATIAL_PIXELS,
)
"""ViewSpatial-Bench's JSON, or the TSV of the kit."""

EMB_SPATIAL: Final = Benchmark(
    name="emb_spatial",
    fields=RowFields(options=("options", "answer_options", "A"), kind=("data_source", "relation")),
    wording=Wording(),
    is_tag_removed=True,
    picture_pixels=SPATIAL_PIXELS,
)
"""EmbSpatial-Bench's Parquet, whose answer is a number, or the TSV of the kit."""

SPAR: Final = Benchmark(
    name="spar",
    fields=RowFields(options=(), kind=("task",)),
    wording=Wording(
        choice_ending="\nAnswer the question using a single word or phrase.",
        open_ending="\nAnswer the question using a single word or phrase.",
    ),
    picture_pixels=SPATIAL_PIXELS,
    rules={"numeric": frozenset(_LOW), "moves": frozenset(("view_change_infer",))},
    groups={
        "low": _LOW,
        "middle": ("position_matching", "camera_motion_infer", "view_change_infer"),
        "high": (
            "distance_infer_center_oo", "distance_infer_center_oo_mv", "obj_spatial_relation_oc_mv",
            "obj_spatial_relation_oo", "obj_spatial_relation_oo_mv", "spatial_imagination_oc",
            "spatial_imagination_oc_mv", "spatial_imagination_oo", "spatial_imagination_oo_mv",
        ),
    },
    overall="kinds",
)  # fmt: skip
"""SPAR-Bench's Parquet, or the TSV of the kit. Options stand in the question."""

SPATIAL_SETS: Final = (
    VSI_BENCH, SITE_IMAGE, SITE_VIDEO, MMSI, MMSI_VIDEO, MINDCUBE, VIEW_SPATIAL, EMB_SPATIAL, SPAR,
)  # fmt: skip
"""Benchmarks of this module."""
