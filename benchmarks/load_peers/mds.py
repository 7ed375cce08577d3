"""mosaicml-streaming: the samples written as MDS, members as bytes, and read with its global shuffle."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from passes import serve
from streaming import MDSWriter, StreamingDataset

MEMBERS = {"00000.jpg": "jpg", "json": "json", "mask.npy": "mask", "tokens.npy": "tokens"}


def samples_of(tars: list[str]) -> Iterator[dict[str, bytes]]:
    """The samples of the tars, their members as bytes."""
    for path in tars:
        with tarfile.open(path) as tar:
            for _, members in groupby(tar, lambda member: member.name.partition(".")[0]):
                yield {MEMBERS[one.name.partition(".")[2]]: tar.extractfile(one).read() for one in members}


def main() -> None:
    """Write the samples as MDS, then serve passes over them."""
    folder, *tars = sys.argv[1:]
    written = str(Path(folder) / "mds")
    with MDSWriter(out=written, columns=dict.fromkeys(MEMBERS.values(), "bytes")) as writer:
        for sample in samples_of(tars):
            writer.write(sample)
    dataset = StreamingDataset(local=written, shuffle=True, shuffle_algo="naive", batch_size=1)
    serve(lambda: (sample["jpg"] for sample in dataset))


if __name__ == "__main__":
    main()
