"""megatron-energon: the same tars, with energon's index, not decoded, shuffled in a buffer of 1,000 samples."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    WorkerConfig,
    basic_sample_keys,
    edataclass,
    get_loader,
    get_train_dataset,
    stateless,
)
from passes import serve

SHUFFLE_BUFFER = 1000


@edataclass
class Picture(Sample):
    """A sample: its picture, still encoded."""

    image: bytes


@stateless
def cook(sample: dict) -> Picture:
    """The picture of a sample of the tars."""
    return Picture(**basic_sample_keys(sample), image=sample["00000.jpg"])


class Raw(DefaultTaskEncoder):
    """Passes pictures on without decoding them."""

    cookers = (Cooker(cook),)
    decoder = None


def prepare(folder: Path, tars: list[str]) -> int:
    """Link the tars into one folder and write energon's index; returns the number of samples."""
    folder.mkdir()
    for number, tar in enumerate(tars):
        (folder / f"{number:05d}.tar").hardlink_to(tar)
    command = [Path(sys.executable).with_name("energon"), "prepare", folder, "--non-interactive", "--split-ratio=1,0,0"]
    subprocess.run([*command, "--sample-type=CrudeWebdataset", "--num-workers=1"], check=True)
    info = (folder / ".nv-meta" / ".info.json").read_text()
    return sum(json.loads(info)["shard_counts"].values())


def main() -> None:
    """Prepare the tars, then serve passes over them."""
    folder = Path(sys.argv[1]) / "energon"
    num_samples = prepare(folder, sys.argv[2:])
    config = WorkerConfig(rank=0, world_size=1, num_workers=0)
    dataset = get_train_dataset(
        folder,
        worker_config=config,
        task_encoder=Raw(),
        batch_size=None,
        shuffle_buffer_size=SHUFFLE_BUFFER,
        max_samples_per_sequence=100,
    )
    loader = iter(get_loader(dataset))
    serve(lambda: (sample.image for sample in islice(loader, num_samples)))


if __name__ == "__main__":
    main()
