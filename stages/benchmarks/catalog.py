"""All benchmarks by name, and those about several pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stages.benchmarks.benchmark import Benchmark, BenchmarkName, PixelRange, RowFields, Wording
from stages.benchmarks.image_sets import IMAGE_SETS
from stages.benchmarks.spatial_sets import SPATIAL_PIXELS, SPATIAL_SETS
from stages.benchmarks.video_sets import STEP_BY_STEP, VIDEO_SETS

MUIRBENCH: Final = Benchmark(
    name="muirbench",
    fields=RowFields(kind=("task",), row_id=("idx", "index")),
    wording=Wording(
        question="Question: {question}\nChoices: \n",
        plain_question="Question: {question}",
        option="({letter}) {text}",
        choice_ending="\n\nHint: Please provide the correct option letter, such as A, B, C, D, directly.\nAnswer:",
    ),
    places="muirbench",
    picture_pixels=SPATIAL_PIXELS,
)
"""MUIRBench's Parquet (`image_list`), or the TSV of the kit (`image_path`)."""

MMMU: Final = Benchmark(
    name="mmmu",
    fields=RowFields(
        kind=("category", "id"), kind_pattern=r"^(?:dev_|validation_|test_)?(.+?)(?:_\d+)?$", row_id=("id", "index")
    ),
    wording=Wording(
        choice_lead=(
            "Answer the preceding multiple choice question. The last line of your response should follow this format: "
            "'Answer: \\boxed LETTER' (without quotes), where LETTER is one of the options. If you are uncertain or "
            "the problem is too complex, make a reasoned guess based on the information provided. Avoid repeating "
            "steps indefinitely\u2014provide your best guess even if unsure. Think step by step logically, considering "
            "all relevant information before answering.\n\n"
        ),
        open_lead=(
            "Your output should be divided into two parts: First, reason about the correct answer. Then write the "
            'answer in the following format where X is only the answer and nothing else: "ANSWER: X"\n'
        ),
        choice_ending="",
    ),
    places="in_text",
    system_prompt=STEP_BY_STEP,
    listless="final",
    picture_pixels=PixelRange(1_003_520, 4_014_080),
)
"""MMMU's Parquet (`image_1`, ...), or VLMEvalKit's TSV. Pictures stand where `<image 1>` names them; the kit writes
them behind the text, and doubles the sides of the first."""

BLINK: Final = Benchmark(
    name="blink",
    fields=RowFields(kind=("category", "sub_task"), row_id=("idx", "index")),
    wording=Wording(),
    is_tag_removed=True,
    picture_pixels=SPATIAL_PIXELS,
)
"""BLINK's Parquet (`choices`, `image_1`, ...), or VLMEvalKit's TSV."""

BENCHMARKS: Final[Mapping[BenchmarkName, Benchmark]] = {
    one.name: one for one in (MUIRBENCH, MMMU, BLINK, *IMAGE_SETS, *VIDEO_SETS, *SPATIAL_SETS)
}
"""Each benchmark by its name."""
