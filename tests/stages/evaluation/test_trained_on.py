"""Questions that a training may have seen are refused by lineage; those that were held out are not."""

from collections.abc import Mapping

import pytest

from stages.artifacts.head import ManifestHead
from stages.evaluation.trained_on import samples_of, shared_samples
from tests.stages.artifacts.test_learned import head as learned_head

KINDS = {
    "import_pairs": "RawPairs",
    "filter_pairs": "KeptPairs",
    "dedup_pairs": "KeptPairs",
    "read_questions": "Conversations",
    "mix_samples": "Draw",
}


def head(stage: str, name: str, inputs: Mapping[str, str]) -> ManifestHead:
    return learned_head(stage, name, inputs, kind=KINDS[stage])


def lineage(**draw: str) -> dict[str, ManifestHead]:
    made = [
        head("import_pairs", "pairs", {}),
        head("import_pairs", "other", {}),
        head("filter_pairs", "kept", {"raw": "pairs"}),
        head("read_questions", "exam", {"pictures": "pairs"}),
        head("dedup_pairs", "unique", {"raw": "pairs", "benchmarks.exam": "exam"}),
        head("mix_samples", "draw", {name.replace("_", "."): made for name, made in draw.items()}),
    ]
    return {one.fingerprint: one for one in made}


@pytest.mark.parametrize(
    ("draw", "shared"),
    [
        ({"sources_a": "kept"}, "pairs"),
        ({"sources_a": "other", "sources_b": "exam"}, "exam"),
        ({"sources_a": "other"}, None),
        ({"sources_a": "kept", "heldout_exam": "exam"}, None),
        ({"sources_a": "kept", "heldout_a": "other"}, "pairs"),
        ({"sources_a": "unique"}, None),
        ({"sources_a": "unique", "sources_b": "kept"}, "pairs"),
    ],
)
def test_what_a_draw_shares_with_the_questions(draw: dict[str, str], shared: str | None) -> None:
    heads = lineage(**draw)
    found = shared_samples(heads["draw"], samples_of(heads, "exam"), heads)
    assert (found and found.fingerprint) == shared
