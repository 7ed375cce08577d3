"""Counts the tokens of the samples of a source, where shares are in tokens.

With a language model, its tokenizer counts them: a sample is tokenised by the rule of packing (`fit_sample.py`), and
packing counts the same. Without one they are estimated from the text bytes and picture sizes in sample tables.

    weigh/<part>   weighed.parquet, the tokens of each sample of one part of a source, in order
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neo_model.inputs.pictures import PictureError, num_image_tokens
from stages.artifacts.kinds import WEIGHED_FILE, ModelFolder
from stages.artifacts.phase_files import read_file
from stages.contract import Part, PartDraft, PartFacts, PartRecord
from stages.formats.fit_sample import Limits, UnfitError, fit
from stages.formats.sample_sources import SampleSource, SourcePart
from stages.formats.sample_table import read_table, write_table
from stages.formats.samples import Sample
from stages.formats.tokenizer import tokenizer_of
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer


TOKENS_OF_TIME = 11
"""Tokens of `[00:12.50]:` and a line break, where tokens are estimated: Qwen3 has a token for each digit."""
TOKENS_OF_PREFIX = 40
"""Tokens of the line before the frames of a clip, where tokens are estimated."""


class WeighFacts(PartFacts):
    """What a part of phase `weigh` records of one part of a source."""

    source: str
    """Name of the source in the mixture."""
    part: str
    """Part of the source."""
    num_tokens: float
    """Tokens of all its samples."""


@dataclass(frozen=True)
class Scale:
    """How the tokens of samples are counted."""

    limits: Limits
    """Limits under which a sample is packed."""
    bytes_per_token: float
    """UTF-8 bytes of text in one token, where tokens are estimated."""
    llm: ModelFolder | None
    """Language model whose tokenizer counts; None estimates."""

    def weigh(self, samples: Iterable[Sample]) -> Iterator[float]:
        """The tokens of each sample."""
        if self.llm is None:
            return (estimate_tokens(sample, self.limits, self.bytes_per_token) for sample in samples)
        tokenizer = tokenizer_of(self.llm)
        return (float(count_tokens(sample, self.limits, tokenizer)) for sample in samples)


def count_tokens(sample: Sample, limits: Limits, tokenizer: Tokenizer) -> int:
    """Tokens of a sample once it is packed; 0 where it cannot be packed."""
    try:
        return sum(len(document.token_ids) for document in fit(sample, tokenizer, limits).documents)
    except UnfitError:
        return 0


def estimate_tokens(sample: Sample, limits: Limits, bytes_per_token: float) -> float:
    """About how many tokens a sample will have. A picture too elongated to be a model input adds none.

    A caption of 40 bytes at 4 bytes a token, beside a picture of 256 tokens: 10 + 256 + 2 = 268. A clip of 8 frames of
    220 tokens adds 8 * (220 + 2 + 11) + 40.
    """
    num_tokens = sample.num_text_bytes / bytes_per_token
    pictures = limits.of_pictures(len(sample.pictures))
    for pair in sample.pictures:
        num_tokens += _image_tokens(pair.width_px, pair.height_px, pictures)
    for clip in sample.clips:
        of_frame = _image_tokens(clip.width_px, clip.height_px, limits.of_frames) + TOKENS_OF_TIME
        num_tokens += min(len(clip.frames), limits.max_frames) * of_frame + TOKENS_OF_PREFIX
    return num_tokens


def _image_tokens(width_px: int, height_px: int, limits_px: tuple[int, int]) -> int:
    """Tokens of a picture or a frame, with <img> before it and </img> after it."""
    try:
        return num_image_tokens(width_px, height_px, *limits_px) + 2
    except PictureError:
        return 0


def weigh_part(part: Part, draft: PartDraft, sources: Mapping[str, SampleSource], scale: Scale) -> None:
    """Count the tokens of the samples of one part of a source, in `weighed.parquet`."""
    import numpy as np
    import pyarrow as pa

    task = SourcePart.of(part)
    samples = sources[task.source].samples(task.part)
    tokens = np.fromiter(scale.weigh(samples), np.float64)
    write_table(pa.table({"num_tokens": tokens}), draft.path(WEIGHED_FILE))
    draft.fact(**WeighFacts(source=task.source, part=task.part, num_tokens=float(tokens.sum())).dump())


@dataclass(frozen=True)
class Weights:
    """The token counts of the samples of all sources."""

    store: Store
    """Store that holds the counts."""
    records: Mapping[str, PartRecord]
    """Records of phase `weigh`, by part."""

    def of_part(self, name: str) -> NDArray[np.float64]:
        """The tokens of each sample of a part, in table order: float64 [samples]."""
        table = read_table(read_file(self.store, self.records[name], WEIGHED_FILE))
        weights: NDArray[np.float64] = table["num_tokens"].to_numpy()
        return weights

    def of_source(self, source: str) -> float:
        """The tokens of all samples of a source."""
        facts = map(WeighFacts.of, self.records.values())
        return sum(one.num_tokens for one in facts if one.source == source)
