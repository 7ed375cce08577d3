"""What is known of a benchmark: its columns, its words, its frames and pixels, and how its scores are brought together.

A `Benchmark` holds values alone. `rows.py` reads rows by it, `prompts.py` writes prompts, `stages/evaluation/` scores.
The words are those of the authors' evaluation kit, character for character, because the released weights were asked
with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from neo_model.inputs.frame_sampling import FrameSampling
from neo_model.inputs.video_text import VideoStyle

BenchmarkName: TypeAlias = Literal[
    "muirbench", "mmmu", "blink",
    "mmbench", "mmstar", "seed_image", "ai2d", "real_world_qa", "mmmu_direct", "mme", "pope", "hallusion_bench",
    "textvqa", "docvqa", "infovqa", "chartqa", "ocrbench", "gqa",
    "video_mme", "mvbench", "lvbench", "mlvu", "long_video_bench", "video_mmmu",
    "vsi_bench", "site_image", "site_video", "mmsi", "mmsi_video", "mindcube", "view_spatial", "emb_spatial", "spar",
]  # fmt: skip
"""Names of the benchmarks whose own files are read."""
ScoringRule: TypeAlias = Literal[
    "choice", "exact", "final", "numeric", "moves",
    "vlmevalkit_choice", "mmmu_choice", "mmmu_open", "yes_no", "vqa", "anls", "relaxed", "equal", "contains",
    "contains_formula",
]  # fmt: skip
"""How an answer is scored: by the option it chooses, by equality with the truth, by equality of its final answer, by
mean relative accuracy of its number, or by that of the moves of a camera along five axes; the others are rules of the
public evaluation kits (`stages/evaluation/rules/`)."""
PicturePlaces: TypeAlias = Literal["numbered", "muirbench", "in_text", "frames"]
"""Where the pictures of a question stand (`prompts.py`)."""
AnswerForm: TypeAlias = Literal["letter", "text", "number"]
"""How a table gives the right option: as its letter, as its text, or as its number counted from 0."""
Overall: TypeAlias = Literal["questions", "kinds", "groups", "f1", "sets", "questions_and_sets", "points"]
"""What the overall score is: the mean of all questions, of all kinds, or of all groups and the kinds outside of them;
F1 of "yes"; the share of sets that are wholly right; the mean of the accuracy of questions and of those of sets; or
MME's points, for each kind 100 for the accuracy and 100 for the share of wholly right sets."""

RULES: Final[frozenset[str]] = frozenset(get_args(ScoringRule))
"""All rules."""
CHOICE_RULES: Final[frozenset[ScoringRule]] = frozenset(("choice", "vlmevalkit_choice", "mmmu_choice"))
"""Rules whose truth is the letter of an option."""

DIRECT: Final = "\nAnswer with the option's letter from the given choices directly."
"""What several benchmarks write behind the options."""


class PixelRange(NamedTuple):
    """Between how many pixels pictures are resized."""

    min_pixels_px: int
    """Fewest pixels of a picture, height times width."""
    max_pixels_px: int
    """Most pixels of a picture, height times width."""


class QuestionSet(NamedTuple):
    """How the rows of a table are told that make up one set, which is right if all its questions are."""

    texts: tuple[str, ...]
    """Columns, or names filled from columns, in which the set is told; the first that a row can fill counts."""
    pattern: str = r"(.*)"
    """Regular expression, found at the beginning of that text, whose groups together are what the set is called."""


@dataclass(frozen=True, kw_only=True)
class RowFields:
    """What the columns of a table are called. Of several names, the first that holds something counts.

    A name with braces is filled from the row: `{dataset}/{scene_name}.mp4`. `option#` stands for option0, option1, ...
    """

    question: tuple[str, ...] = ("{question}",)
    """Text of the question."""
    options: tuple[str, ...] = ("candidates", "options", "choices", "A")
    """A list, its text, or lines `A. left`; `A` stands for the columns A, B, ..."""
    answer: tuple[str, ...] = ("answer",)
    """Right answer."""
    answer_form: AnswerForm = "letter"
    """How the right option is given."""
    kind: tuple[str, ...] = ("category", "task_type", "question_type", "task")
    """Kind of question, for which metrics are given by itself."""
    kind_pattern: str | None = None
    """Regular expression whose first group is the kind, where the column holds more; None takes all of it."""
    row_id: tuple[str, ...] = ("id", "question_id", "uid", "index")
    """What the row itself is called."""
    pictures: tuple[str, ...] = ("image_list",)
    """Columns that hold pictures under a name that no other table uses."""
    videos: tuple[str, ...] = ()
    """Names under which the video of a question may have been collected; all are tried in order."""
    times: tuple[str, str] | None = None
    """Columns with the first and last second of a video that a question is about; None where it is about all of it."""
    nested: str | None = None
    """Column that holds a list of questions, where a row is a video; None where a row is a question."""
    sets: Mapping[str, QuestionSet] = field(default_factory=dict)
    """Sets of questions that are right together, each under its name in metrics."""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The words of a prompt: `before`, pictures and clips, a lead, the question, its options, and an ending."""

    before: str = ""
    """Text before the clip."""
    choice_lead: str = ""
    """Text between the pictures or the clip and a question with options."""
    open_lead: str = ""
    """Text between the pictures or the clip and a question without options."""
    hint: str = ""
    """How a hint is written before the question, with `{hint}` in it."""
    question: str = "{question}\n"
    """How a question is written whose options follow."""
    plain_question: str = "{question}"
    """How a question is written that has no options, or has them in its text."""
    option: str = "{letter}. {text}"
    """How an option is written."""
    between: str = "\n"
    """What stands between two options."""
    choice_ending: str = DIRECT
    """Text behind the options, or behind a question with options in its text."""
    open_ending: str = ""
    """Text behind a question that is answered in words or with a number."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark."""

    name: BenchmarkName
    """Name in recipes."""
    fields: RowFields = RowFields()
    """Columns of its table."""
    wording: Wording
    """The words of its prompts."""
    wording_with_pictures: Wording | None = None
    """Other words for questions about a video that have pictures too; None uses the same words."""
    places: PicturePlaces = "numbered"
    """Where pictures stand."""
    is_tag_removed: bool = False
    """Whether `<image>` in a question is taken out, and all pictures stand before the text."""
    video_style: VideoStyle | None = None
    """How the frames of a clip are announced; None where it has no videos."""
    system_prompt: str = ""
    """System message of the authors' kit; "" is none."""
    listed: ScoringRule = "choice"
    """Scoring of a question whose options are listed in its row."""
    listless: ScoringRule = "choice"
    """Scoring of a question whose options are not listed in its row."""
    rules: Mapping[ScoringRule, frozenset[str]] = field(default_factory=dict)
    """Kinds of questions that are scored by another rule."""
    sampling: FrameSampling | None = None
    """Frames of a video that the authors' 2B model is asked with."""
    large_sampling: FrameSampling | None = None
    """Frames that their 9B model is asked with; None where they are the same."""
    frame_pixels: PixelRange | None = None
    """Pixels of a frame in the authors' evaluation."""
    picture_pixels: PixelRange | None = None
    """Pixels of a picture in the authors' evaluation."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups of kinds that have a score of their own, the mean of their kinds' scores."""
    joined_kinds: frozenset[str] = frozenset()
    """Kinds of which one question may have several, such as `popular_random` of POPE: it counts once in each."""
    overall: Overall = "questions"
    """What the overall score is."""
    is_chance_adjusted: bool = False
    """Whether the overall score is adjusted for guessing: (right - expected) / (asked - expected)."""

    def scoring(self, kind: str | None, *, has_options: bool) -> ScoringRule:
        """How answers to a question of this kind are scored."""
        for rule, kinds in self.rules.items():
            if kind in kinds:
                return rule
        return self.listed if has_options else self.listless
