"""Tombstones: which rows of a sample table are to be forgotten, by all lists that count for a step.

Owns how a row is recognised: by its URL or reference, as the table spells it or as we ask for it; by the host of its
URL, or one above it; by the sha256 of its stored bytes; by its sample id; by its whole caption or text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from stages.store.store import Store
from stages.takedowns.hosts import with_above
from stages.takedowns.lists import DIGEST_BYTES, KINDS, entries_of, read_list, text_digest
from stages.takedowns.spelling import spelled

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Mask: TypeAlias = NDArray[np.bool_]
    Digests: TypeAlias = NDArray[np.bytes_]

TAKEN_DOWN: Final = "taken_down"
"""The reason of a row that is forgotten: it was asked for by `neo takedown`."""
NAME_COLUMNS: Final = ("url", "reference")
TEXT_COLUMNS: Final = ("caption", "text")
MAX_KNOWN: Final = 4
"""Sets of lists that a process keeps in memory: 16 bytes an entry."""


@dataclass(frozen=True)
class Tombstones:
    """The lists that count for a step. Pickles small: each process reads them once."""

    store: Store
    lists: tuple[str, ...]
    """Their digests."""
    typed: bytes = b""
    """The bytes of one more list, which the store does not have."""

    def __bool__(self) -> bool:
        return bool(self.lists or self.typed)

    def rows_of(self, table: pa.Table) -> Mask:
        """Which rows of a sample table are to be forgotten, by those columns that it has."""
        import numpy as np

        gone: Mask = np.zeros(table.num_rows, bool)
        if not self:
            return gone
        for name in {*NAME_COLUMNS, *TEXT_COLUMNS, "sample_id", "sha256"} & set(table.column_names):
            values = _as_bytes(table[name])
            if name in NAME_COLUMNS:
                gone |= self.names(values, on_hosts=name == "url")
            elif name in TEXT_COLUMNS:
                gone |= self.texts(values)
            else:
                gone |= self.ids(values) if name == "sample_id" else self.pictures(values)
        return gone

    def names(self, urls: Sequence[bytes | None], *, on_hosts: bool = True) -> Mask:
        """Which of these URLs or references are to be forgotten, or, with `on_hosts`, are on a host that is."""
        by_host = on_hosts and bool(len(self._of("domain")))
        if not by_host and not len(self._of("url")):
            return _mask(False for _ in urls)
        names = [None if url is None else spelled(url.decode("utf-8", "surrogateescape")) for url in urls]
        gone = self._hits("url", [None if name is None else text_digest(name.text) for name in names])
        others = {number: name.url for number, name in enumerate(names) if name is not None and name.url != name.text}
        gone[list(others)] |= self._hits("url", [text_digest(url) for url in others.values()])
        if by_host:
            hosts = [None if name is None else name.host for name in names]
            known = {host: self._is_gone(host) for host in set(hosts) if host}
            gone |= _mask(known.get(host or "", False) for host in hosts)
        return gone

    def texts(self, texts: Sequence[bytes | None]) -> Mask:
        """Which of these captions or texts are to be forgotten."""
        if not len(self._of("caption")):
            return _mask(False for _ in texts)
        plain = (None if text is None else text.decode("utf-8", "surrogateescape").strip() for text in texts)
        return self._hits("caption", [None if text is None else text_digest(text) for text in plain])

    def ids(self, sample_ids: Sequence[bytes | None]) -> Mask:
        """Which of these sample ids are to be forgotten."""
        return self._hits("sample", sample_ids)

    def pictures(self, sha256s: Sequence[bytes | None]) -> Mask:
        """Which pictures are to be forgotten, by the sha256 of their bytes."""
        return self._hits("picture", [None if one is None else one[:DIGEST_BYTES] for one in sha256s])

    def _is_gone(self, host: str) -> bool:
        return bool(self._hits("domain", [text_digest(name) for name in with_above(host)]).any())

    def _hits(self, kind: str, digests: Sequence[bytes | None]) -> Mask:
        import numpy as np

        gone = self._of(kind)
        if not len(gone) or not digests:
            return np.zeros(len(digests), bool)
        asked = np.array([digest or b"" for digest in digests], gone.dtype)
        places = np.minimum(np.searchsorted(gone, asked), len(gone) - 1)
        hits: Mask = gone[places] == asked
        return hits & _mask(digest is not None for digest in digests)

    def _of(self, kind: str) -> Digests:
        return _by_kind(self)[kind]

    def __hash__(self) -> int:
        return hash(self._names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tombstones) and self._names == other._names

    @property
    def _names(self) -> tuple[str, tuple[str, ...], bytes]:
        return self.store.url, self.lists, self.typed


@lru_cache(maxsize=MAX_KNOWN)
def _by_kind(tombstones: Tombstones) -> dict[str, Digests]:
    """The digests of each kind, sorted."""
    import numpy as np

    kept = [read_list(tombstones.store, one) for one in tombstones.lists]
    entries = entries_of([*kept, tombstones.typed])
    return {kind: np.unique(entries["digest"][entries["kind"] == letter]) for kind, letter in KINDS.items()}


def _as_bytes(column: pa.ChunkedArray) -> list[bytes | None]:
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if types.is_fixed_size_binary(kind) or types.is_binary(kind) or types.is_null(kind):
        values: list[bytes | None] = column.to_pylist()
        return values
    texts: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return texts


def _mask(values: Iterable[bool]) -> Mask:
    import numpy as np

    return np.fromiter(values, bool)
