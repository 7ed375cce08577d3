"""Benchmarks about one picture, as NEO's authors asked them: words, pixels, rules, and what a score is the mean of.

All are asked for a short answer, without a system message, and scored by the rules of VLMEvalKit. Pixels are those of
NEO-ov; NEO was asked with at most 2048 x 2048.
"""

from __future__ import annotations

from typing import Final

from stages.benchmarks.benchmark import (
    Benchmark,
    BenchmarkName,
    PixelRange,
    QuestionSet,
    RowFields,
    ScoringRule,
    Wording,
)

TOKEN_PX: Final = 32 * 32
"""Pixels of a picture that become one token."""
IMAGE_PIXELS: Final = PixelRange(1280 * TOKEN_PX, 16_384 * TOKEN_PX)
"""Pixels of a picture in most benchmarks."""
SHORT: Final = "Answer the question using a single word or phrase."
"""What is written behind a question that is answered in a few words."""
LISTED: Final = Wording(hint="{hint}\n", open_ending="\nAnswer the question directly.")
"""A question, its options on lines of their own, and the request for a letter."""
IN_WORDS: Final = Wording(open_ending=f"\n{SHORT}")
"""A question, and the request for a few words."""
CIRCLE: Final = QuestionSet(("{index}",), r"\d*?0*(\d{1,6})$")
"""MMBench asks a question once for each order of its options, and adds a million to its index each time."""


def _choices(name: BenchmarkName, **fields: QuestionSet) -> Benchmark:
    return Benchmark(
        name=name,
        fields=RowFields(kind=("category",), row_id=("index", "id"), answer_form="number", sets=fields),
        wording=LISTED,
        listed="vlmevalkit_choice",
        picture_pixels=IMAGE_PIXELS,
        overall="sets" if fields else "questions",
    )


def _answers(name: BenchmarkName, rule: ScoringRule, *, kind: tuple[str, ...] = (), least: int = 1280) -> Benchmark:
    return Benchmark(
        name=name,
        fields=RowFields(
            kind=kind,
            options=(),
            answer=("answers", "answer"),
            row_id=("questionId", "question_id", "id", "index"),
        ),
        wording=IN_WORDS,
        listless=rule,
        picture_pixels=PixelRange(least * TOKEN_PX, IMAGE_PIXELS.max_pixels_px),
    )


MMBENCH: Final = _choices("mmbench", circle=CIRCLE)
"""MMBench of VLMEvalKit or the hub: a question counts where it is right in all orders of its options."""
MMSTAR: Final = _choices("mmstar")
SEED_IMAGE: Final = _choices("seed_image")
AI2D: Final = _choices("ai2d")
REAL_WORLD_QA: Final = _choices("real_world_qa")

MMMU_DIRECT: Final = Benchmark(
    name="mmmu_direct",
    fields=RowFields(
        kind=("category", "id"), kind_pattern=r"^(?:dev_|validation_|test_)?(.+?)(?:_\d+)?$", row_id=("id", "index")
    ),
    wording=LISTED,
    places="in_text",
    listed="mmmu_choice",
    listless="mmmu_open",
    picture_pixels=PixelRange(1_003_520, 4_014_080),
)
"""MMMU answered without reasoning first, as NEO was asked, and scored by the rules of MMMU's authors."""

TEXTVQA: Final = _answers("textvqa", "vqa", least=2048)
DOCVQA: Final = _answers("docvqa", "anls")
INFOVQA: Final = _answers("infovqa", "anls")
CHARTQA: Final = _answers("chartqa", "relaxed", kind=("type", "split"))
GQA: Final = _answers("gqa", "equal")

OCRBENCH: Final = Benchmark(
    name="ocrbench",
    fields=RowFields(kind=("question_type", "category"), options=(), answer=("answer",), row_id=("index", "id")),
    wording=IN_WORDS,
    listless="contains",
    rules={"contains_formula": frozenset({"handwritten_mathematical_expression_recognition"})},
    picture_pixels=PixelRange(512 * 512, IMAGE_PIXELS.max_pixels_px),
)
"""OCRBench; its published scores are of 1,000 questions, so that 771 is 0.771 here."""

MME: Final = Benchmark(
    name="mme",
    fields=RowFields(
        kind=("category",),
        options=(),
        row_id=("index", "question_id"),
        sets={"picture": QuestionSet(("{image_path}", "{question_id}"))},
    ),
    wording=Wording(open_ending=f" {SHORT}"),
    listless="yes_no",
    picture_pixels=IMAGE_PIXELS,
    groups={
        "perception": (
            "ocr", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene",
        ),
        "cognition": ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation"),
    },
    overall="points",
)  # fmt: skip
"""MME: two questions about each picture; up to 200 points for each of 14 kinds."""

POPE: Final = Benchmark(
    name="pope",
    fields=RowFields(kind=("category",), options=(), row_id=("index", "question_id", "id")),
    wording=Wording(),
    listless="yes_no",
    picture_pixels=IMAGE_PIXELS,
    joined_kinds=frozenset({"adversarial", "popular", "random"}),
    overall="f1",
)
"""POPE: F1 of "yes" over three ways to choose what is asked for; VLMEvalKit's table names all ways of a question."""

HALLUSION_BENCH: Final = Benchmark(
    name="hallusion_bench",
    fields=RowFields(
        kind=("l2-category", "subcategory", "category"),
        options=(),
        answer=("gt_answer", "answer"),
        row_id=("index", "id"),
        sets={
            "figure": QuestionSet(
                ("{subcategory}|0_0_0_{set_id}_{figure_id}_{question_id}", "{l2-category}|{index}"),
                r"(.*)\|(?:[^_]*_){3}([^_]*)_([^_]*)_",
            ),
            "question": QuestionSet(
                ("{subcategory}|0_0_0_{set_id}_{figure_id}_{question_id}", "{l2-category}|{index}"),
                r"(.*)\|(?:[^_]*_){3}([^_]*)_[^_]*_([^_]*)",
            ),
        },
    ),
    wording=Wording(open_ending=f" Please answer yes or no. {SHORT}"),
    listless="yes_no",
    picture_pixels=IMAGE_PIXELS,
    overall="questions_and_sets",
)
"""HallusionBench: the mean of the accuracies of questions, of figures, and of questions over all their figures."""

IMAGE_SETS: Final = (
    MMBENCH, MMSTAR, SEED_IMAGE, AI2D, REAL_WORLD_QA, MMMU_DIRECT, TEXTVQA, DOCVQA, INFOVQA, CHARTQA, GQA, OCRBENCH,
    MME, POPE, HALLUSION_BENCH,
)  # fmt: skip
"""All benchmarks about one picture."""
