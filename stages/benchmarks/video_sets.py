"""Benchmarks about videos, as the authors asked NEO-ov: words, numbers of frames and pixels.

Frames have 4 x 32^2 to 360 x 640 pixels, so that most of them take 220 tokens, and are announced by their times, but
for MVBench's, which are not announced. LongVideoBench is asked without subtitles here; the kit writes them between the
frames.
"""

from __future__ import annotations

from typing import Final

from neo_model.inputs.frame_sampling import FrameSampling
from stages.benchmarks.benchmark import Benchmark, PixelRange, RowFields, Wording

STEP_BY_STEP: Final = "Reason step by step."
"""System message of the kit for pictures and videos; it has none for spatial benchmarks."""
VIDEO_PIXELS: Final = PixelRange(4 * 32 * 32, 360 * 640)
"""Pixels of a frame."""
_LISTED: Final = "Question: {question}\nOptions:\n"
_WATCH: Final = "Carefully watch this video and pay attention to every detail. "
_LEARNED: Final = "You should watch and learn the video content. Then apply what you learned to "
_AT_THE_END: Final = "The image for this question is at the end of the video."
_MULTI_CHOICE: Final = (
    f"answer the following multi-choice question. {_AT_THE_END} "
    "Please provide only the single option letter (e.g., A, B, C, D, etc.)\n"
)
_OPEN: Final = f"answer the following open-ended question. {_AT_THE_END}\n"
_IGNORE_QUIZ: Final = "\nPlease ignore the Quiz question in last frame of the video."

VIDEO_MME: Final = Benchmark(
    name="video_mme",
    fields=RowFields(
        kind=("task_type",),
        row_id=("question_id", "index"),
        videos=("{video_path}", "{video}", "{videoID}.mp4", "video/{videoID}.mp4", "{video}.mp4", "{url}"),
    ),
    wording=Wording(
        choice_lead=(
            "\nThese are the frames of a video. Select the best answer to the following multiple-choice question based "
            "on the video. Respond with only the letter (A, B, C, or D) of the correct option.\n"
        ),
        question="Question: {question}\n",
        choice_ending=" \nAnswer with the option's letter from the given choices directly.",
    ),
    video_style="timestamps",
    system_prompt=STEP_BY_STEP,
    sampling=FrameSampling(frames_per_second=1.0, max_frames=256),
    frame_pixels=VIDEO_PIXELS,
)
"""Video-MME's Parquet, or VLMEvalKit's TSV of it."""

MVBENCH: Final = Benchmark(
    name="mvbench",
    fields=RowFields(
        answer_form="text",
        kind=("task_type",),
        videos=("{prefix}{video}", "{prefix}/{video}", "{video}"),
        times=("start", "end"),
    ),
    wording=Wording(
        before=(
            "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement "
            "of objects, and the action and pose of persons. Based on your observations, select the best option that "
            "accurately addresses the question.\n"
        ),
        question=_LISTED,
        option="({letter}) {text}",
        choice_ending="\nOnly give the best option.",
    ),
    video_style="bare",
    system_prompt=STEP_BY_STEP,
    sampling=FrameSampling(num_frames=64, spacing="centres"),
    large_sampling=FrameSampling(num_frames=32, spacing="centres"),
    frame_pixels=VIDEO_PIXELS,
)
"""MVBench's JSON of one task, which does not name the task (say it by `kind`), or VLMEvalKit's TSV, which does
(`task_type`). For the 9B model the kit names 128 to 2048 tokens a frame; as it is written, it does not apply them."""

LVBENCH: Final = Benchmark(
    name="lvbench",
    fields=RowFields(
        options=(),
        kind=("question_type",),
        row_id=("uid", "index"),
        videos=("{video_path}", "{video}", "{key}.mp4", "{key}"),
        nested="qa",
    ),
    wording=Wording(choice_ending="\nAnswer the question with the option letter."),
    video_style="timestamps",
    system_prompt=STEP_BY_STEP,
    sampling=FrameSampling(frames_per_second=1.0, max_frames=256),
    frame_pixels=VIDEO_PIXELS,
)
"""LVBench's `video_info.meta.jsonl`, a line for each video, or a table with a row for each question. Options stand in
the question. Of several types of a question, the first counts."""

MLVU: Final = Benchmark(
    name="mlvu",
    fields=RowFields(
        answer_form="text",
        kind=("question_type", "task_type"),
        videos=("{prefix}/{video}", "{video}"),
    ),
    wording=Wording(
        before=f"{_WATCH}Based on your observations, select the best option that accurately addresses the question.",
        question=_LISTED,
        option="({letter}) {text}",
        choice_ending="\nOnly give the best option.",
    ),
    video_style="timestamps",
    system_prompt=STEP_BY_STEP,
    sampling=FrameSampling(num_frames=128),
    large_sampling=FrameSampling(num_frames=256),
    frame_pixels=VIDEO_PIXELS,
)
"""MLVU's JSON of one task with options, or VLMEvalKit's TSV."""

LONG_VIDEO_BENCH: Final = Benchmark(
    name="long_video_bench",
    fields=RowFields(
        options=("candidates", "option#"),
        answer=("correct_choice",),
        answer_form="number",
        kind=("question_category",),
        videos=("{video_path}", "videos/{video_path}", "{video_id}.mp4"),
    ),
    wording=Wording(),
    video_style="timestamps",
    system_prompt=STEP_BY_STEP,
    sampling=FrameSampling(num_frames=256),
    frame_pixels=VIDEO_PIXELS,
)
"""LongVideoBench's `lvb_val.json`, its Parquet, or VLMEvalKit's TSV."""

VIDEO_MMMU: Final = Benchmark(
    name="video_mmmu",
    fields=RowFields(
        options=("options",),
        kind=("category", "link_selected"),
        videos=("{video}", "{id}.mp4", "{category}/{id}.mp4", "videos/{category}/{id}.mp4"),
    ),
    wording=Wording(
        question=f"{{question}}{_MULTI_CHOICE}\n", choice_ending=_IGNORE_QUIZ, open_lead=_OPEN, open_ending=_IGNORE_QUIZ
    ),
    wording_with_pictures=Wording(
        choice_lead=f"{_LEARNED}{_MULTI_CHOICE}", open_lead=f"{_LEARNED}{_OPEN}", choice_ending=""
    ),
    places="in_text",
    video_style="timestamps",
    system_prompt=STEP_BY_STEP,
    listless="final",
    sampling=FrameSampling(num_frames=128),
    large_sampling=FrameSampling(num_frames=256),
    frame_pixels=VIDEO_PIXELS,
)
"""VideoMMMU's Parquet of one track, which does not name it (say it by `kind`), or VLMEvalKit's TSV. A question with a
picture is one of adaptation, and its picture stands where the question names it, as the 2B model was asked."""

VIDEO_SETS: Final = (VIDEO_MME, MVBENCH, LVBENCH, MLVU, LONG_VIDEO_BENCH, VIDEO_MMMU)
"""Benchmarks of this module."""
