"""Scores that were published of NEO's models, to stand beside measured ones.

Of the papers: NEO (arXiv 2510.14979, tables 1 and 2) and NEO-ov (arXiv 2605.28820, tables 1 and 2). `NEO 2B again` is
what a third party measured of the released NEO1_0-2B-SFT in 2026. All are in percent, MME's in points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stages.benchmarks.benchmark import BenchmarkName

_MODELS: Final = ("NEO 2B", "NEO 2B again", "NEO 9B", "NEO-ov 2B", "NEO-ov 9B")
_TABLE: Final[Mapping[BenchmarkName, tuple[float | None, ...]]] = {
    "mmmu_direct": (48.6, 48.33, 54.6, None, None),
    "mmmu": (None, None, None, 54.7, 68.1),
    "mmbench": (76.0, 76.20, 82.1, 80.0, 85.1),
    "mmstar": (54.2, None, 62.4, 58.6, 67.3),
    "seed_image": (74.2, None, 76.3, 76.2, 76.6),
    "pope": (87.5, None, 88.4, None, None),
    "hallusion_bench": (43.1, None, 46.4, 54.5, 59.8),
    "ai2d": (80.1, None, 83.1, 81.4, 85.4),
    "docvqa": (89.9, 89.86, 88.6, 91.2, 91.9),
    "chartqa": (81.2, 81.0, 82.1, 83.1, 86.2),
    "infovqa": (63.2, None, 60.9, None, None),
    "textvqa": (74.0, 73.94, 75.0, 77.3, 78.5),
    "ocrbench": (77.1, 77.0, 77.7, 81.2, 81.6),
    "real_world_qa": (63.1, 62.75, 67.3, 64.4, 67.8),
    "mme": (None, 1565.7, None, None, None),
    "gqa": (None, 53.99, None, None, None),
    "blink": (None, None, None, 53.9, 62.8),
    "muirbench": (None, None, None, 56.8, 58.2),
    "video_mme": (None, None, None, 60.4, 67.4),
    "mvbench": (None, None, None, 65.7, 70.7),
    "lvbench": (None, None, None, 43.3, 46.4),
    "mlvu": (None, None, None, 64.8, 69.3),
    "long_video_bench": (None, None, None, 56.8, 63.5),
    "video_mmmu": (None, None, None, 42.3, 51.6),
}
POINTS: Final[Mapping[BenchmarkName, str]] = {"mme": "score_perception"}
"""Benchmarks whose scores are points, with the metric that is published of them."""


def published_scores(name: str) -> dict[str, float]:
    """Model to its published score on a benchmark; {} for a benchmark of which none is known.

    >>> published_scores("mmbench")["NEO-ov 2B"]
    80.0
    """
    scores = next((row for benchmark, row in _TABLE.items() if benchmark == name), ())
    return {model: score for model, score in zip(_MODELS, scores, strict=False) if score is not None}
