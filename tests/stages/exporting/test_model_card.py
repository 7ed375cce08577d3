"""A model card says where data went, what was only examined on, and nothing that two runs would say differently."""

import json
import re

from huggingface_hub import ModelCard

from neo_model.config import NEO_2B
from stages.artifacts.head import ManifestHead, head_of
from stages.artifacts.manifest import CONDUCT_INPUTS, Manifest, manifest_bytes
from stages.artifacts.records import InputRecord, ItemBalance, PartRecord
from stages.exporting.card_metadata import Statements, Terms
from stages.exporting.lineage import ExportLineage, lineage_document
from stages.exporting.model_card import model_card
from stages.exporting.scores import Measured


def head(stage: str, kind: str, digit: str, **changes: object) -> ManifestHead:
    plain = Manifest(
        kind=kind,
        stage=stage,
        number=1,
        fingerprint=digit * 64,
        recipe={"title": "pipes | and\nlines ``` <script>"},
        inputs={},
        parts=(PartRecord(phase="p", part="00000", made_by={"host": "secret-host"}),),
        items=ItemBalance(),
        content=digit * 64,
        versions={"python": "3.11"},
        provenance={"run": "secret-run"},
    )
    return head_of(manifest_bytes(plain.model_copy(update=changes)))


HOSTILE = "</td><script>alert(1)</script> ![x](http://x.invalid/a.png) | `b` https://x.invalid"
RAW = head(
    "download_pairs",
    "RawPairs",
    "a",
    items=ItemBalance(kept=90, dropped={"too_large": 2}, failed={"gone": 5, "late": 3}),
)
DRAW = head(
    "mix_samples",
    "Draw",
    "b",
    inputs={"sources.pairs": InputRecord(stage="download_pairs", fingerprint="a" * 64, content="a" * 64)},
    parts=tuple(
        PartRecord(
            phase="draw",
            part=name,
            facts={"source": source, "num_drawn": drawn, "carried_counts": {"licence": {HOSTILE: 2, "": drawn - 2}}},
        )
        for name, source, drawn in (("0", "pairs", 30), ("1", "pairs", 33), ("2", "text", 27))
    ),
)


def read(stage: str, digit: str) -> InputRecord:
    return InputRecord(stage=stage, fingerprint=digit * 64, content=digit * 64)


EXAM_PAIRS = head("download_pairs", "RawPairs", "e", items=ItemBalance(kept=300))
EXAM = head(
    "read_conversations",
    "Conversations",
    "f",
    inputs={"pictures": read("download_pairs", "e")},
    items=ItemBalance(kept=1500),
)
ROWS = head("pack_rows", "Rows", "1", inputs={"draw": read("mix_samples", "b")})
LLM = head("fetch_llm", "BaseLlm", "2")
MODEL = head(
    "tune_end_to_end",
    "Checkpoint",
    "c",
    inputs={
        "start": read("fetch_llm", "2"), "rows.0": read("pack_rows", "1"), "questions": read("read_conversations", "f")
    },
    provenance={"run": "secret-run", CONDUCT_INPUTS: ["questions"]},
)  # fmt: skip
EVALUATION = head(
    "evaluate",
    "Evaluation",
    "d",
    inputs={"checkpoint": read("tune_end_to_end", "c"), "questions": read("read_conversations", "f")},
)
NUMBERS = {
    "num_questions": 1500, "num_failed": 0, "accuracy": 0.9004, "accuracy_low": 0.884, "accuracy_high": 0.9145,
    "accuracy_blind": 0.35, "chance": 0.31, "accuracy_colour": 0.8, "accuracy_colour_low": 0.7,
    "accuracy_colour_high": 0.9, "num_questions_colour": 500, "mra": 0.5,
}  # fmt: skip
LINEAGE = ExportLineage(
    chain=[RAW, DRAW, EXAM_PAIRS, EXAM, ROWS, LLM, MODEL],
    examining=[EVALUATION],
    measured=[
        Measured(name="held_out", benchmark=None, evaluation="d" * 64, questions="f" * 64, numbers=NUMBERS),
    ],
    grown_on={"2" * 64: Terms(name="apache-2.0", link="https://x.invalid/l")},
)
STATED = Statements(
    title="A title",
    terms=Terms(name="apache-2.0"),
    base_models=("Qwen/Qwen3-1.7B-Base",),
    languages=("en",),
    limits=("Not for <b>medicine</b>.",),
)


def section(card: str, title: str) -> str:
    return card.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_funnel_counts_every_item_by_reason() -> None:
    learned = section(model_card(STATED, NEO_2B, 2_585_000_000, LINEAGE), "What it learned from")
    assert "| `download_pairs aaaaaaaaaaaa` | 100 | 90 | 2 (`too_large` 2) | 8 (`gone` 5, `late` 3) |" in learned
    assert "`mix_samples bbbbbbbbbbbb` drew 63 from `pairs`, 27 from `text`." in learned


def test_sizes_and_lineage_are_named() -> None:
    card = model_card(STATED, NEO_2B, 2_585_000_000, LINEAGE)
    assert "| `mix_samples (1)` | `Draw` | bbbbbbbbbbbb | bbbbbbbbbbbb | `sources.pairs aaaaaaaaaaaa` |" in card
    assert "40, the first 12 of them the pre-Buffer" in card
    assert "2,585,000,000" in card


def test_what_it_was_only_examined_on_stands_apart() -> None:
    card = model_card(STATED, NEO_2B, 1, LINEAGE)
    learned, examined = section(card, "What it learned from"), section(card, "What it was only examined on")
    assert ("aaaaaaaaaaaa" in learned, "eeeeeeeeeeee" in learned, "ffffffffffff" in learned) == (True, False, False)
    uses = "examined on while training, measured on"
    assert f"| `download_pairs eeeeeeeeeeee` | 300 | {uses} | no |" in examined
    assert f"| `read_conversations ffffffffffff` | 1,500 | {uses} | no |" in examined
    assert "aaaaaaaaaaaa" not in examined


def test_questions_about_pictures_that_were_learned_from_are_marked() -> None:
    about_trained = EXAM.model_copy(update={"inputs": {"pictures": read("download_pairs", "a")}})
    chain = [RAW, DRAW, about_trained, ROWS, LLM, MODEL]
    card = model_card(STATED, NEO_2B, 1, ExportLineage(chain=chain))
    examined = section(card, "What it was only examined on")
    assert "| `download_pairs aaaaaaaaaaaa` | 90 | examined on while training | **yes** |" in examined


def test_scores_have_intervals_on_the_card_and_in_its_metadata() -> None:
    card = model_card(STATED, NEO_2B, 1, LINEAGE)
    scores = section(card, "Scores")
    assert "| `held_out` | all | accuracy | 0.900 | 0.884 to 0.914 | 0.350 | 0.310 | 1,500 |" in scores
    assert "| `held_out` | `colour` | accuracy | 0.800 | 0.700 to 0.900 |  |  | 500 |" in scores
    accuracy, mra = ModelCard(card).data.eval_results
    assert (accuracy.metric_type, accuracy.metric_value, accuracy.dataset_name) == ("accuracy", 0.9004, "held_out")
    assert accuracy.metric_args == {"num_questions": 1500, "low_95": 0.884, "high_95": 0.9145}
    assert (mra.metric_type, mra.metric_value) == ("mra", 0.5)


def test_without_an_evaluation_the_card_says_so() -> None:
    card = model_card(STATED, NEO_2B, 1, ExportLineage(chain=LINEAGE.chain))
    assert "no score is known" in section(card, "Scores")
    assert "model-index" not in card


def test_terms_and_limits_are_stated() -> None:
    card = model_card(STATED, NEO_2B, 1, LINEAGE)
    assert "Licence: `apache-2.0`." in section(card, "Terms")
    assert "| `fetch_llm 222222222222` | `apache-2.0` | `https://x.invalid/l` |" in section(card, "Terms")
    assert "- Not for \\<b\\>medicine\\</b\\>." in section(card, "Limits")


def test_licences_are_summed_by_source_and_cannot_be_markup() -> None:
    learned = section(model_card(STATED, NEO_2B, 1, LINEAGE), "What it learned from")
    row = next(line for line in learned.splitlines() if "<script>" in line and "`pairs`" in line)
    cells = re.split(r"(?<!\\)\|", row)
    assert len(cells) == 6, "the pipe of the licence is no border of a cell"
    assert cells[3].strip() == f"`` {HOSTILE.replace('|', chr(92) + '|')} ``" or cells[3].strip().startswith("``")
    assert cells[4].strip() == "4"
    outside = re.sub(r"(`+).*?\1(?!`)", "", learned)
    assert "<" not in outside and "](" not in outside and "://" not in outside


def test_a_hostile_title_is_text() -> None:
    hostile = "X --- <img src=x onerror=alert(1)> [a](javascript:b)\n# Y: {z} &amp;"
    card = model_card(Statements(title=hostile), NEO_2B, 1, LINEAGE)
    (line,) = [line for line in card.splitlines() if line.startswith("# ")]
    assert not re.search(r"(?<!\\)[<>\[\]&]", line)
    assert ModelCard(card).data.model_name == hostile


def test_card_and_lineage_name_no_run_and_no_host() -> None:
    said = model_card(STATED, NEO_2B, 1, LINEAGE) + json.dumps(lineage_document(LINEAGE))
    assert "secret" not in said
