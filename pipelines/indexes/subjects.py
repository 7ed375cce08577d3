"""What can be looked up, and by which digest: names, sample ids, pictures, domains, looks of pictures, texts.

Owns `SUBJECTS`: for each, the columns of a table that it is read from, and the digests of 64 bits that are indexed.
Digests are cut further in an index; the table that one names is read, and whole values are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import xxhash

from pipelines.indexes.domains import domain_of, hosts_of_urls
from pipelines.indexes.texts import words_of_column
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import (
    COLUMNS_FILE,
    CONVERSATIONS_FILE,
    DOCUMENTS_FILE,
    SAMPLES_FILE,
    Conversations,
    KeptClips,
    KeptPairs,
    KeptTexts,
    RawClips,
    RawPairs,
    TextDocuments,
)
from stages.duplicates.sketching import SKETCH_FILE, SKETCH_PHASE
from stages.formats.kept_rows import NAME_COLUMNS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]

NAMES: Final = "names"
IDS: Final = "ids"
PICTURES: Final = "pictures"
DOMAINS: Final = "domains"
LOOKS: Final = "looks"
TEXTS: Final = "texts"

TEXT_COLUMNS: Final = ("caption", "text", "messages")
"""Columns that hold what people or models have written: of pairs and clips, of documents, of conversations."""
TABLES: Final[Mapping[str, str]] = {
    RawPairs.kind: SAMPLES_FILE,
    RawClips.kind: SAMPLES_FILE,
    TextDocuments.kind: DOCUMENTS_FILE,
    Conversations.kind: CONVERSATIONS_FILE,
}
"""The kinds in which samples begin, and their sample table."""


@dataclass(frozen=True)
class Subject:
    """One thing that samples can be looked up by."""

    name: str
    """Name of the index, and of its folder."""
    what: str
    """What is indexed, in words."""
    columns: tuple[str, ...]
    """Columns that it is read from; a table that has none of them has no such index."""
    digests: Callable[[pa.ChunkedArray], Digests]
    """Digests of the values of such a column, in any order; none for a null."""


def name_digest(name: str | bytes) -> int:
    """The digest of a URL, or of the name of a picture or video in its source."""
    return xxhash.xxh3_64_intdigest(name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass"))


def bytes_digest(value: bytes) -> int:
    """The digest of a sample id, or of the sha256 of a picture: its first 64 bits, so that sorting keeps its order."""
    return int.from_bytes(value[:8].ljust(8, b"\0"), "big")


def looks_digest(perceptual_hash: int) -> int:
    """The digest of a perceptual hash: its bits, but for the first, which is 0 in all of them."""
    return (perceptual_hash << 1) & (2**64 - 1)


def _names(column: pa.ChunkedArray) -> Digests:
    import pyarrow as pa

    return _numbers(map(xxhash.xxh3_64_intdigest, column.drop_null().cast(pa.large_binary()).to_pylist()))


def _first_bits(column: pa.ChunkedArray) -> Digests:
    import numpy as np

    values = column.drop_null().to_pylist()
    data = b"".join(value[:8].ljust(8, b"\0") for value in values)
    return np.frombuffer(data, ">u8").astype(np.uint64)


def _domains(column: pa.ChunkedArray) -> Digests:
    """Each domain once: an index tells which parts have some of it."""
    return _numbers({name_digest(domain_of(host)) for host in hosts_of_urls(column) - {""}})


def _looks(column: pa.ChunkedArray) -> Digests:
    import numpy as np

    hashes: Digests = column.drop_null().to_numpy().astype(np.uint64)
    return hashes << np.uint64(1)


def _texts(column: pa.ChunkedArray) -> Digests:
    """Each run of three words once: an index tells which parts have it."""
    import numpy as np

    runs = [words.runs() for _, words in words_of_column(plain_texts(column))]
    return np.concatenate([np.zeros(0, np.uint64), *runs])


def plain_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of texts, or of lists of messages, as texts."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if not types.is_list(column.type):
        return column
    contents = [pc.struct_field(chunk.flatten(), "content") for chunk in column.chunks]
    return pa.chunked_array(contents, pa.string())


def _numbers(digests: Iterable[int]) -> Digests:
    import numpy as np

    return np.fromiter(digests, np.uint64)


SUBJECTS: Final[Mapping[str, Subject]] = {
    one.name: one
    for one in (
        Subject(NAMES, "URLs and references", NAME_COLUMNS, _names),
        Subject(IDS, "sample ids", ("sample_id",), _first_bits),
        Subject(PICTURES, "pictures and videos by their bytes", ("sha256",), _first_bits),
        Subject(DOMAINS, "domains", ("url",), _domains),
        Subject(LOOKS, "pictures by their looks", ("hash",), _looks),
        Subject(TEXTS, "captions, texts and messages by runs of three words", TEXT_COLUMNS, _texts),
    )
}
"""What can be looked up, by the name of its index."""
GIVING: Final = (KeptPairs.kind, KeptClips.kind, KeptTexts.kind)
"""Kinds whose parts may give the rows that they judge other captions or texts, in a table beside the verdicts."""
IN_SAMPLES: Final = (NAMES, IDS, PICTURES, DOMAINS)
"""What is indexed of the tables in which samples begin."""
STAGE_OF_LOOKS: Final = "dedup_pairs"
"""The stage that hashes pictures by their looks, in tables of its phase `sketch`."""


@dataclass(frozen=True)
class Indexed:
    """Which tables of an artifact are indexed, and by what."""

    file_name: str
    """Name of the tables."""
    subjects: tuple[str, ...]
    """What they are indexed by."""
    phase: str = ""
    """The phase whose parts hold them; '' for any that has such a file."""
    prefix: str = ""
    """How the names of its parts begin, before that of the part of the source."""


def indexed_of(head: ManifestHead, *, texts: bool = False) -> Indexed | None:
    """Which tables of an artifact are indexed, and by what, by `texts` if that is asked for; None where there are none.

    Verdicts that give rows other captions or texts are indexed by these.
    """
    if head.kind in TABLES:
        return Indexed(TABLES[head.kind], (*IN_SAMPLES, TEXTS) if texts else IN_SAMPLES)
    if head.stage == STAGE_OF_LOOKS and head.recipe.get("max_near_bits") is not None:
        return Indexed(SKETCH_FILE, (LOOKS,), SKETCH_PHASE, "sketch_")
    if texts and head.kind in GIVING and (head.has_more_files or head.file(COLUMNS_FILE) is not None):
        return Indexed(COLUMNS_FILE, (TEXTS,))
    return None
