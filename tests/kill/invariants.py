"""What must hold after every death and every resume, one function each; a failure names the thing that broke it.

I9 and I12 are looked at on the command line, I10 at the processes that are left, I11 against the golden run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq

from stages.artifacts.head import ManifestHead, head_of
from stages.artifacts.manifest import Manifest
from stages.artifacts.records import PartRecord
from stages.artifacts.taken_over import superseded_reasons
from stages.formats.sample_table import without_reasons
from tests.kill.home import Golden, Home, Typed, comparable

DRAWING = ["source", "sample_id", "repetition"]
IDENTITY = {
    ("download", "samples.parquet"): ["sample_id"],
    ("import", "samples.parquet"): ["sample_id"],
    ("collect", "samples.parquet"): ["sample_id"],
    ("judge", "verdicts.parquet"): ["sample_id"],
    ("caption", "verdicts.parquet"): ["sample_id"],
    ("score", "verdicts.parquet"): ["sample_id"],
    ("read", "documents.parquet"): ["sample_id"],
    ("read", "conversations.parquet"): ["sample_id"],
    ("draw", "draw.parquet"): DRAWING,
    ("measure", "measured.parquet"): ["place", "repetition"],
    ("write", "samples.parquet"): DRAWING,
    ("write", "index.parquet"): ["row"],
    ("answer", "answers.parquet"): ["sample_id"],
}
"""Tables of items by phase and name, and the columns that no two rows of one phase share."""


def i1_nothing_committed_changes_or_goes(before: dict[str, bytes], home: Home) -> None:
    now = home.committed()
    assert {key: now.get(key) for key in before} == before


def i2_every_item_is_accounted_for(home: Home) -> None:
    for folder, manifest in committed(home):
        for listed in folder.glob("phases/*/parts.json"):
            promised = {part["name"]: part["num_items"] for part in json.loads(listed.read_text())}
            for record in (part for part in manifest.parts if part.phase == listed.parent.name):
                assert promised[record.part] in (None, record.items.total), (folder, record.part)
        last = [part for part in manifest.parts if part.phase == manifest.parts[-1].phase]
        assert manifest.items.total == sum(part.items.total for part in last), folder


def i3_no_item_is_there_twice(home: Home) -> None:
    """But for rows that were fetched again: they are in the table of their part too, which says so."""
    for folder, manifest in committed(home):
        seen: Counter[tuple[str, ...]] = Counter()
        for record in manifest.parts:
            for entry in record.files:
                if columns := IDENTITY.get((record.phase, entry.name)):
                    superseded = superseded_reasons(record)
                    wanted = [*columns, "reason"] if superseded else columns
                    table = pq.read_table(home.store / entry.key, columns=wanted)
                    rows = without_reasons(table, superseded).select(columns).to_pylist()
                    seen.update((record.phase, entry.name, *map(str, row.values())) for row in rows)
        assert not [row for row, times in seen.items() if times > 1], folder


def i4_what_is_committed_is_whole(home: Home) -> None:
    """So no reader can meet a half: every record that exists names files that are there to the last byte."""
    for folder, _ in committed(home):
        if (folder / "head.json").exists():  # a kill right after the commit leaves none; it is computed then
            head = ManifestHead.model_validate_json((folder / "head.json").read_bytes())
            assert head == head_of((folder / "manifest.json").read_bytes()), folder
    for path in home.store.glob("artifacts/*/*/records/*/*.json"):
        if not path.with_name(f"{path.name}.deleted").exists():
            files_are_whole(home, PartRecord.model_validate_json(path.read_bytes()))
    for folder, manifest in committed(home):
        for record in manifest.parts:
            assert (folder / "records" / record.phase / f"{record.part}.json").exists(), (folder, record.part)


def files_are_whole(home: Home, record: PartRecord) -> None:
    for entry in record.files:
        data = (home.store / entry.key).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.size_bytes, entry.sha256), entry.key


def i5_nothing_committed_is_made_again(golden: Golden, step: str, home: Home) -> None:
    """Over all commands: each part is recorded once, and no work begins on what an earlier command recorded."""
    folder = golden.folder_of(step)
    for point in ("part.recorded", "checkpoint.recorded"):
        times = home.trace.times(f"{point}:after", folder)
        assert set(times.values()) <= {1}, times
        assert set(times) <= set(golden.trace.times(f"{point}:after", folder)), sorted(times)
    for earlier, later in pairwise(home.commands):
        begun = later.trace.times("part.files_written:before", folder)
        assert not begun.keys() & earlier.records, "made again"


def i6_training_never_goes_back(home: Home) -> None:
    """Each checkpoint is of a later step than the one before: training resumes from what is committed, never from 0.

    The finished model comes after the state of its step.
    """
    for steps in home.store.glob("artifacts/*/*/records/steps"):
        records = [PartRecord.model_validate_json(path.read_bytes()) for path in sorted(steps.glob("*.json"))]
        at = [(record.facts["step"], "layout" not in record.facts) for record in records]
        assert at == sorted(set(at)), f"{steps}: {at}"


def i7_lineage_is_closed(home: Home) -> None:
    """Whatever a manifest says it read is committed, with the content that was read."""
    contents = {(found.stage, found.fingerprint): found.content for _, found in committed(home)}
    for folder, manifest in committed(home):
        for name, item in manifest.inputs.items():
            assert contents.get((item.stage, item.fingerprint)) == item.content, (folder, name)


def i8_each_part_is_committed_once(home: Home) -> None:
    """The records of a phase are those of its list, and nothing had to be quarantined."""
    for folder, manifest in committed(home):
        for listed in folder.glob("phases/*/parts.json"):
            names = sorted(part["name"] for part in json.loads(listed.read_text()))
            there = sorted(path.stem for path in (folder / "records" / listed.parent.name).glob("*.json"))
            assert names == there, listed
        assert manifest.fingerprint.startswith(folder.name)
    aside = [path for kind in ("torn", "outdated") for path in home.store.glob(f"artifacts/**/*.{kind}-*")]
    assert not aside


def i9_no_run_looks_alive(home: Home) -> None:
    for run in home.runs():
        attempts = {path.stem for path in run.glob("attempts/*.json") if path.stem.isdigit()}
        ended = {path.name.partition(".")[0] for path in run.glob("attempts/*.ended.json")}
        assert attempts == ended, run


def i11_the_end_is_that_of_the_golden_run(golden: Golden, step: str, home: Home) -> None:
    """The same bytes in the same order, weights to the last bit: their digests are among the facts of a manifest."""
    assert comparable(home.manifests()[step]) == comparable(golden.made[step])


def i12_the_end_says_what_to_do(typed: Typed) -> None:
    assert typed.said.code == 0, typed.said.out
    assert typed.said.last_line.startswith("Next: neo "), typed.said.out


def committed(home: Home) -> Iterator[tuple[Path, Manifest]]:
    """Folder and manifest of every artifact."""
    for path in sorted(home.store.glob("artifacts/*/*/manifest.json")):
        yield path.parent, Manifest.model_validate_json(path.read_bytes())


def hold_at_death(home: Home) -> None:
    """What must hold even while the dead lie about."""
    i4_what_is_committed_is_whole(home)
    i6_training_never_goes_back(home)
    i7_lineage_is_closed(home)


def hold_at_the_end(golden: Golden, step: str, at_death: dict[str, bytes], home: Home) -> None:
    """All of them, after a resume that was to make `step`."""
    i1_nothing_committed_changes_or_goes(at_death, home)
    i2_every_item_is_accounted_for(home)
    i3_no_item_is_there_twice(home)
    i4_what_is_committed_is_whole(home)
    i5_nothing_committed_is_made_again(golden, step, home)
    i6_training_never_goes_back(home)
    i7_lineage_is_closed(home)
    i8_each_part_is_committed_once(home)
    i9_no_run_looks_alive(home)
    i11_the_end_is_that_of_the_golden_run(golden, step, home)
    i12_the_end_says_what_to_do(home.commands[-1])
