"""The samples of a WebDataset tar as pairs: picture, caption, and the rest of a tar that breaks off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from stages.formats.sample_table import ItemReason
from stages.importing.captions import PairRule, url_of
from stages.importing.imported_pairs import ImportedPair
from stages.importing.intake import Outcome
from stages.importing.tar_samples import TarContents, TarSample

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CARRIED_CHARS: Final = 65_536
"""Longest JSON of a sample that is carried along, in characters; a longer one is left out."""


def tar_pairs(contents: TarContents, path: str, rule: PairRule) -> list[ImportedPair]:
    """A pair for each sample of the tar at `path`, and one for the rest of a tar that breaks off.

    What lies behind a break cannot be counted, so it is one item, which has the break as its reason.
    """
    pairs = [pair_of(sample, path, rule) for sample in contents.samples]
    if contents.broken is not None:
        reason = contents.broken.reason
        rest = ImportedPair(path=path, key="", reference=path, url=None, caption=reason, outcome=reason)
        pairs.append(rest)
    return pairs


def pair_of(sample: TarSample, path: str, rule: PairRule) -> ImportedPair:
    """One sample of the tar at `path` as a pair."""
    ending = sample.picture_ending(rule.columns.get("image"))
    outcome: Outcome
    if isinstance(ending, ItemReason):
        name, outcome = sample.key, ending
    else:
        name, outcome = sample.names[ending], sample.pictures[ending]
    return ImportedPair(
        path=path,
        key=sample.key,
        reference=f"{path}/{name.removeprefix('./')}",
        url=url_of(sample.texts),
        caption=rule.caption(sample.texts, sample.key),
        outcome=outcome,
    )


def carried_json(samples: Sequence[TarSample], num_rows: int) -> pa.Table:
    """The column `source_json`: the JSON beside each picture as text, null where there is none or it is too long.

    It has `num_rows` rows, those after the samples null.
    """
    import pyarrow as pa

    texts = [_json_text(sample) for sample in samples]
    return pa.table({"source_json": pa.array(texts + [None] * (num_rows - len(texts)), pa.string())})


def _json_text(sample: TarSample) -> str | None:
    content = sample.texts.get("json")
    if content is None or isinstance(content, ItemReason):
        return None
    text = content.decode("utf-8", "replace")
    return text if len(text) <= MAX_CARRIED_CHARS else None
