"""Weigh the samples of a source in tokens, where shares count them.

Counted, where the language model's tokenizer is given: a sample is tokenised under the rule by which packing makes it
fit, so packing will count the same. Estimated from bytes and sizes in sample tables, where there is none.

    weigh/<part>   weighed.parquet, the tokens of each sample of one part of a source, in order
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neo_model.inputs.pictures import PictureError, num_image_tokens
from stages.artifacts.kinds import WEIGHED_FILE, BaseLlm
from stages.contract import Part, PartDraft, PartRecord
from stages.formats.fit_sample import Limits, UnfitError, fit
from stages.formats.phase_files import read_file
from stages.formats.sample_table import read_table, write_table
from stages.formats.samples import Sample, Source
from stages.formats.tokenizer import tokenizer_of
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Scale:
    """What samples are weighed with."""

    limits: Limits
    """What each is held to when it is packed."""
    bytes_per_token: float
    llm: BaseLlm | None
    """Whose tokenizer counts; None estimates."""

    def weigh(self, samples: Iterable[Sample]) -> Iterator[float]:
        """The tokens of each sample."""
        if self.llm is None:
            return (estimate_tokens(sample, self.limits, self.bytes_per_token) for sample in samples)
        tokenizer = tokenizer_of(self.llm)
        return (float(count_tokens(sample, self.limits, tokenizer)) for sample in samples)


def count_tokens(sample: Sample, limits: Limits, tokenizer: Tokenizer) -> int:
    """How many tokens packing will make of a sample; 0 where it cannot be packed."""
    try:
        return sum(len(document.token_ids) for document in fit(sample, tokenizer, limits).documents)
    except UnfitError:
        return 0


def estimate_tokens(sample: Sample, limits: Limits, bytes_per_token: float) -> float:
    """About how many tokens a sample will be. A picture that can be no model's input counts for its text alone."""
    num_tokens = sample.num_text_bytes / bytes_per_token
    for pair in sample.pictures:
        try:
            size = num_image_tokens(pair.width_px, pair.height_px, limits.min_pixels_px, limits.max_pixels_px)
        except PictureError:
            continue
        num_tokens += size + 2
    return num_tokens


def weigh_part(part: Part, draft: PartDraft, sources: Mapping[str, Source], scale: Scale) -> None:
    """Weigh the samples of one part of a source."""
    import numpy as np
    import pyarrow as pa

    samples = sources[part.task["source"]].samples(part.task["part"])
    tokens = np.fromiter(scale.weigh(samples), np.float64)
    write_table(pa.table({"num_tokens": tokens}), draft.path(WEIGHED_FILE))
    draft.fact(source=part.task["source"], part=part.task["part"], num_tokens=float(tokens.sum()))


@dataclass(frozen=True)
class Weights:
    """What the samples of all sources weigh."""

    store: Store
    records: Mapping[str, PartRecord]
    """Of phase `weigh`, by part."""

    def of_part(self, name: str) -> NDArray[np.float64]:
        """The tokens of each sample of a part."""
        table = read_table(read_file(self.store, self.records[name], WEIGHED_FILE))
        weights: NDArray[np.float64] = table["num_tokens"].to_numpy()
        return weights

    def of_source(self, source: str) -> float:
        """The tokens of all samples of a source."""
        return sum(
            float(record.facts["num_tokens"]) for record in self.records.values() if record.facts["source"] == source
        )
