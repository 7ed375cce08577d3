"""How much content came from which domain, counted exactly over all sample tables, in bounded memory.

Owns the counting: columns of each table, several tables side by side; sums by domain in memory up to a cap, beyond it
in files by hash, which are summed one after the other.
"""

from __future__ import annotations

import heapq
import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from pipelines.indexes.domains import domain_of
from pipelines.indexes.tables import PartTable
from stages.formats.read_ahead import ahead
from stages.formats.sample_table import Verdict
from stages.store.store import Store
from stages.surfaces.csv_tables import write_csv
from stages.takedowns.hosts import HOST, plain_host

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

NUM_READERS: Final = 8
"""Tables that are read and grouped side by side."""
MAX_IN_MEMORY: Final = 2**18
"""Domains whose sums are in memory before they go to files: some 60 MB."""
NUM_FILES: Final = 64
"""Files that domains are spread over by hash. Of 6 million domains each has 100,000."""
NO_HOST_NAME: Final = "(not a host name)"
"""What is counted in the place of a domain, where a URL has a host that no server can have, such as `=a(1)`."""
_HTTP: Final = "^[Hh][Tt][Tt][Pp][Ss]?://"
_HOST_NAME: Final = re.compile(r"[a-z0-9_.-]*[a-z0-9_-]|\[[0-9a-f:.]+\]")


class DomainSum(NamedTuple):
    """What came from one domain."""

    domain: str
    """What somebody registered (eTLD+1), such as `example.co.uk`."""
    size_bytes: int
    """Bytes of the content as it is stored; content that a part holds once for several rows counts once."""
    num_urls: int
    """Different URLs within a part, summed over parts."""


class Fetched(NamedTuple):
    """What one table says of content that was fetched from the web and kept."""

    sums: dict[str, tuple[int, int]]
    """Domain to bytes and URLs."""
    seconds: float
    """Length of the clips, where they are clips; 0 otherwise."""


@dataclass
class DomainCounts:
    """Sums by domain."""

    folder: Path
    """An empty folder for what does not fit in memory."""
    max_in_memory: int = MAX_IN_MEMORY
    """Domains that are held before they are written to files."""
    seconds: float = 0.0
    """Length of all clips."""
    _sums: dict[str, list[int]] = field(default_factory=dict)
    _has_files: bool = False

    def add_tables(self, store: Store, tables: Iterable[PartTable]) -> int:
        """Count all rows of these tables; returns how many URLs of the web they name."""
        each = ahead(lambda table: fetched_by_domain(store, table), tables, NUM_READERS)
        return sum(self.add(fetched) for fetched in each)

    def add(self, fetched: Fetched) -> int:
        """Count what one table says; returns its number of URLs."""
        self.seconds += fetched.seconds
        for domain, (size_bytes, num_urls) in fetched.sums.items():
            one = self._sums.setdefault(domain, [0, 0])
            one[0] += size_bytes
            one[1] += num_urls
        if len(self._sums) > self.max_in_memory:
            self._write()
        return sum(num_urls for _, num_urls in fetched.sums.values())

    def ranked(self) -> RankedDomains:
        """All that was counted."""
        if self._has_files:
            self._write()
        return RankedDomains(self)

    def each_group(self) -> Iterator[dict[str, list[int]]]:
        """The sums in groups that have no domain in common, one group in memory at a time."""
        if not self._has_files:
            yield self._sums
            return
        for number in range(NUM_FILES):
            sums: dict[str, list[int]] = {}
            for domain, size_bytes, num_urls in self._lines(number):
                one = sums.setdefault(domain, [0, 0])
                one[0] += size_bytes
                one[1] += num_urls
            yield sums

    def _lines(self, number: int) -> Iterator[tuple[str, int, int]]:
        path = self._path(number)
        if path.exists():
            with path.open(encoding="ascii") as lines:
                for line in lines:
                    domain, size_bytes, num_urls = json.loads(line)
                    yield domain, size_bytes, num_urls

    def _write(self) -> None:
        self._has_files = True
        with ExitStack() as opened:
            files = [
                opened.enter_context(self._path(number).open("a", encoding="ascii")) for number in range(NUM_FILES)
            ]
            for domain, (size_bytes, num_urls) in self._sums.items():
                line = json.dumps([domain, size_bytes, num_urls])
                files[crc32(domain.encode()) % NUM_FILES].write(f"{line}\n")
        self._sums.clear()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:02}.jsonl"


class RankedDomains:
    """Domains by the size of their content. Memory: 8 bytes a domain, and the domains that are asked for."""

    def __init__(self, counts: DomainCounts) -> None:
        import numpy as np

        self._counts = counts
        sizes, self.num_urls = [np.zeros(0, np.int64)], 0
        for group in counts.each_group():
            sizes.append(np.array([one[0] for one in group.values()], np.int64))
            self.num_urls += sum(one[1] for one in group.values())
        self._sizes: NDArray[np.int64] = np.concatenate(sizes)
        self.size_bytes = int(self._sizes.sum())

    @property
    def num_domains(self) -> int:
        """Domains that anything was fetched from."""
        return len(self._sizes)

    def num_listed(self, share: float, at_most: int | None = None) -> int:
        """How many domains a share of all domains is, rounded up, and at most so many."""
        number = math.ceil(round(share * self.num_domains, 6))
        return number if at_most is None else min(number, at_most)

    def top(self, number: int) -> list[DomainSum]:
        """The domains with the most content, largest first; of equal ones, by name."""
        each = (
            DomainSum(domain, size_bytes, num_urls)
            for group in self._counts.each_group()
            for domain, (size_bytes, num_urls) in group.items()
        )
        return heapq.nsmallest(number, each, key=lambda one: (-one.size_bytes, one.domain))


def write_domains(path: Path, domains: Iterable[DomainSum]) -> None:
    """Write domains as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        write_csv(file, DomainSum._fields, domains)


def fetched_by_domain(store: Store, table: PartTable) -> Fetched:
    """What one sample table says of content that was fetched from the web and kept, by its columns alone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    file = table.open(store)
    names = [name for name in _COLUMNS if name in file.schema_arrow.names]
    if "url" not in names or "verdict" not in names:
        return Fetched({}, 0.0)
    rows = file.read(columns=names)
    rows = rows.filter(pc.equal(rows["verdict"], Verdict.KEPT.value))
    seconds = _seconds(rows)
    urls = rows["url"].cast(pa.large_binary())
    rows = pa.table({"url": urls, "size": _sizes(rows)})
    rows = rows.filter(pc.match_substring_regex(rows["url"], _HTTP))
    if not rows.num_rows:
        return Fetched({}, seconds)
    # A part holds the content of a URL once, however many of its rows name it; clips of one video are different.
    kind = "max" if "image_size_bytes" in names else "sum"
    by_url = rows.group_by("url").aggregate([("size", kind)])
    hosts = pc.struct_field(pc.extract_regex(by_url["url"], HOST), [0])
    by_host = (
        pa.table({"host": hosts, "size": by_url[f"size_{kind}"]})
        .group_by("host")
        .aggregate([("size", "sum"), ("size", "count")])
    )
    sums: dict[str, tuple[int, int]] = {}
    for row in by_host.to_pylist():
        if row["host"]:
            domain = _counted_domain(row["host"])
            size_bytes, num_urls = sums.get(domain, (0, 0))
            sums[domain] = (size_bytes + row["size_sum"], num_urls + row["size_count"])
    return Fetched(sums, seconds)


_COLUMNS: Final = (
    "url", "verdict", "image_size_bytes", "start_seconds", "end_seconds", "packets_size_bytes", "frame_sizes_bytes",
)  # fmt: skip


def _counted_domain(host: bytes) -> str:
    plain = plain_host(host.decode("utf-8", "replace"))
    return domain_of(plain) if _HOST_NAME.fullmatch(plain) else NO_HOST_NAME


def _sizes(rows: pa.Table) -> pa.Array:
    """Bytes of the content of each row, as it is stored: a picture, a film, or the frames of a clip."""
    import numpy as np
    import pyarrow as pa

    sizes = np.zeros(rows.num_rows, np.int64)
    for name in ("image_size_bytes", "packets_size_bytes"):
        if name in rows.column_names:
            sizes += rows[name].fill_null(0).to_numpy()
    if "frame_sizes_bytes" in rows.column_names:
        sizes += np.array([sum(one or ()) for one in rows["frame_sizes_bytes"].to_pylist()], np.int64)
    return pa.array(sizes)


def _seconds(rows: pa.Table) -> float:
    import pyarrow.compute as pc

    if "end_seconds" not in rows.column_names or not rows.num_rows:
        return 0.0
    return float(pc.sum(pc.subtract(rows["end_seconds"], rows["start_seconds"])).as_py() or 0.0)
