"""What a model card says of where its data went, and that it says nothing that two runs would say differently."""

import json

from neo_model.config import NEO_2B
from stages.artifacts.head import ManifestHead, head_of
from stages.artifacts.manifest import Manifest, manifest_bytes
from stages.artifacts.records import InputRecord, ItemBalance, PartRecord
from stages.exporting.model_card import lineage_document, model_card


def head(stage: str, kind: str, digit: str, **changes: object) -> ManifestHead:
    plain = Manifest(
        kind=kind,
        stage=stage,
        number=1,
        fingerprint=digit * 64,
        recipe={"title": "pipes | and\nlines"},
        inputs={},
        parts=(PartRecord(phase="p", part="00000", made_by={"host": "secret-host"}),),
        items=ItemBalance(),
        content=digit * 64,
        versions={"python": "3.11"},
        provenance={"run": "secret-run"},
    )
    return head_of(manifest_bytes(plain.model_copy(update=changes)))


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
        PartRecord(phase="draw", part=name, facts={"source": source, "num_drawn": drawn})
        for name, source, drawn in (("0", "pairs", 30), ("1", "pairs", 33), ("2", "text", 27))
    ),
)
CHAIN = [RAW, DRAW, head("tune_end_to_end", "Checkpoint", "c")]


def test_the_funnel_counts_every_item_by_reason() -> None:
    card = model_card("A title", NEO_2B, 2_585_000_000, CHAIN)
    assert "| download_pairs aaaaaaaaaaaa | 100 | 90 | 2 (too_large 2) | 8 (gone 5, late 3) |" in card
    assert "`mix_samples bbbbbbbbbbbb` drew 63 from pairs, 27 from text." in card
    assert "| mix_samples (1) | Draw | bbbbbbbbbbbb | bbbbbbbbbbbb | sources.pairs aaaaaaaaaaaa |" in card
    assert "40, the first 12 of them the pre-Buffer" in card
    assert "2,585,000,000" in card


def test_card_and_lineage_name_no_run_and_no_host() -> None:
    said = model_card("A title", NEO_2B, 1, CHAIN) + json.dumps(lineage_document(CHAIN))
    assert "secret" not in said


def test_lineage_is_plain_json_from_the_first_input_to_the_checkpoint() -> None:
    lineage = json.loads(json.dumps(lineage_document(CHAIN)))
    assert [each["fingerprint"][0] for each in lineage["artifacts"]] == ["a", "b", "c"]
    assert lineage["checkpoint"] == "c" * 64
    assert lineage["artifacts"][1]["drawn"] == {"pairs": 63, "text": 27}
    assert lineage["artifacts"][1]["inputs"]["sources.pairs"]["content"] == "a" * 64
