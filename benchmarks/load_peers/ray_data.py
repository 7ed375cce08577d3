"""Ray Data: `read_webdataset` of the same tars, not decoded, shuffled globally, on a Ray of its own."""

from __future__ import annotations

import logging
import sys
import tempfile

import ray
from passes import serve


def main() -> None:
    """Start a local Ray, then serve passes over the tars."""
    tars = sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as sockets:  # sockets need short paths
        ray.init(address="local", _temp_dir=sockets, include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)

        def pictures():
            dataset = ray.data.read_webdataset(tars, decoder=None).random_shuffle()
            return (row["00000.jpg"] for row in dataset.iter_rows())

        serve(pictures)
        ray.shutdown()


if __name__ == "__main__":
    main()
