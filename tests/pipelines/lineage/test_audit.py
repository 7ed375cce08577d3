"""Which level of an audit notices which damage, and that an audit that was broken off continues."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import pipelines.lineage.audit_notes as audit_notes
from stages.store.store import Store
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.test_damaged_stores import local_runs

LEVELS = ("quick", "size", "full")
TRAINED = "artifacts/train_toy/*"
STEPS = f"{TRAINED}/records/steps"
CHANGED = {"0": "1", "1": "2", "2": "3", "3": "4", "a": "b", "e": "f", "d": "c", "t": "s", "o": "p"}


def change(path: Path, mark: str = "") -> None:
    """Change one letter or digit after `mark`; the file still parses."""
    text = path.read_text()
    place = next(place for place in range(text.index(mark) + len(mark), len(text)) if text[place] in CHANGED)
    path.write_text(text[:place] + CHANGED[text[place]] + text[place + 1 :])


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def changed_after(mark: str) -> Callable[[Path], None]:
    return lambda path: change(path, mark)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a training that kept its checkpoints 1 and 2 and deleted checkpoint 0; bundles of 2 parts."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, local_runs(folder) as run:
        patch.setenv("TOY_KEEPS_TWO", "1")
        assert run("whole") == 0
    return folder


@pytest.fixture
def made(trained: Path, site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> NeoSite:
    """A site with a copy of that store."""
    monkeypatch.setattr("stages.commit.phase_records.PARTS_PER_BUNDLE", 2)
    shutil.copytree(trained / "store", site.folder / "store")
    return site


def the(site: NeoSite, pattern: str, place: int = 0) -> Path:
    return sorted((site.folder / "store").glob(pattern))[place]


def levels_that_notice(site: NeoSite, victim: Path) -> list[str]:
    """The levels whose findings or remarks name the file, or the folder of messages that it was one of."""
    key = victim.relative_to(site.folder / "store").as_posix()
    noticed = []
    for level in LEVELS:
        document = site.neo("audit", "whole/evaluate", "--level", level, "--json").json
        told = [finding["key"] for finding in document.get("findings", ())] + [*document.get("remarks", ())]
        told += [document.get("error", "")]
        if any(key in one or one == f"{Path(key).parent}/" for one in told):
            noticed.append(level)
    return noticed


def test_a_whole_store_is_clean_at_every_level(made: NeoSite) -> None:
    said = {level: made.neo("audit", "whole/evaluate", "--level", level) for level in (*LEVELS, "sample")}
    assert {level: one.code for level, one in said.items()} == dict.fromkeys(said, 0), said
    assert "Everything is as it was committed." in said["full"].out
    assert "Read 0 bytes in 0 of 16 files" in said["quick"].out
    assert list((made.folder / "store" / "audits").glob("*")) == [], "a quick audit leaves no notes"


@pytest.mark.parametrize("damage", [changed_after(""), halve, Path.unlink], ids=["changed", "halved", "removed"])
@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        (f"{STEPS}/000000.json", 0),
        (f"{STEPS}/000001.json", 0),
        (f"{STEPS}/000000.json.deleted", 0),
        ("artifacts/fetch_toys/*/phases/fetch/parts.json", 0),
        ("artifacts/judge_toys/*/inputs.json", 0),
        ("artifacts/judge_toys/*/records/judge/00001.json", 0),
        ("refs/whole/0.json", 0),
        ("refs/whole/rows/0.json", 0),
        ("runs/whole-*/plan.json", 0),
    ],
)
def test_every_level_notices_damage_to_a_record(
    made: NeoSite, pattern: str, place: int, damage: Callable[[Path], None]
) -> None:
    victim = the(made, pattern, place)
    damage(victim)
    assert levels_that_notice(made, victim) == list(LEVELS)


@pytest.mark.parametrize(
    ("pattern", "place", "damage", "levels"),
    [
        (f"{TRAINED}/attempts/*/step-00000004-*/model/weights.json", 0, changed_after("{"), ["full"]),
        (f"{TRAINED}/attempts/*/step-00000004-*/model/weights.json", 0, halve, ["size", "full"]),
        (f"{TRAINED}/attempts/*/step-00000004-*/model/weights.json", 0, Path.unlink, ["size", "full"]),
        (f"{TRAINED}/attempts/*/step-00000006-*/model/weights.json", 0, changed_after("{"), ["full"]),
        ("artifacts/fetch_toys/*/phases/fetch/sheets/0.json", 0, changed_after("sha256"), list(LEVELS)),
        ("artifacts/fetch_toys/*/phases/fetch/sheets/0.json", 0, halve, list(LEVELS)),
        ("artifacts/fetch_toys/*/phases/fetch/sheets/0.json", 0, Path.unlink, []),
        ("runs/whole-*/plan.json", 0, changed_after('"num_steps"'), list(LEVELS)),
        ("runs/whole-*/plan.json", 0, changed_after('"source"'), list(LEVELS)),
        ("refs/whole/rows/0.json", 0, changed_after('"manifest_sha256"'), list(LEVELS)),
        ("refs/whole/rows/0.json", 0, changed_after('"run"'), list(LEVELS)),
        ("store.json", 0, halve, list(LEVELS)),
        ("store.json", 0, changed_after('"exclusive_cr'), list(LEVELS)),
        ("runs/whole-*/attempts/1.json", 0, halve, list(LEVELS)),
        ("runs/whole-*/attempts/1.ended.json", 0, halve, list(LEVELS)),
        ("runs/whole-*/outbox/*.json", 3, halve, list(LEVELS)),
        ("runs/whole-*/outbox/*.json", 3, Path.unlink, list(LEVELS)),
        ("runs/whole-*/outbox/*.json", -1, Path.unlink, list(LEVELS)),
        ("artifacts/train_toy/*/claims/0.json", 0, halve, []),
    ],
)
def test_which_level_notices_which_damage(
    made: NeoSite, pattern: str, place: int, damage: Callable[[Path], None], levels: list[str]
) -> None:
    victim = the(made, pattern, place)
    damage(victim)
    assert levels_that_notice(made, victim) == levels


def test_what_nothing_depends_on_is_repaired_and_then_clean(made: NeoSite) -> None:
    """A list of inputs is written again, an earlier checkpoint retired, copies of records are quarantined."""
    halve(the(made, "artifacts/judge_toys/*/inputs.json"))
    halve(the(made, "artifacts/fetch_toys/*/phases/fetch/sheets/0.json"))
    the(made, f"{STEPS}/000000.json.deleted").unlink()
    change(the(made, f"{TRAINED}/attempts/*/step-00000004-*/model/weights.json"), "{")
    repaired = made.neo("audit", "whole/evaluate", "--repair")
    assert repaired.code == 0, repaired.out
    assert the(made, f"{STEPS}/000001.json.deleted").is_file()
    again = made.neo("audit", "whole/evaluate")
    assert "Everything is as it was committed." in again.out, again.out
    assert made.neo("plan", f"{TOYS}:whole", "--json").json["steps"][-1]["action"] == "reuse"


def test_an_artifact_of_an_earlier_version_is_said_to_be_checked_less(made: NeoSite) -> None:
    manifest = the(made, "artifacts/toy_llm/*/manifest.json")
    written = json.loads(manifest.read_text())
    del written["provenance"]["record_sha256"]
    manifest.write_text(json.dumps(written))
    said = made.neo("audit", "whole/evaluate", "--level", "quick")
    assert "of toy_llm/72e00e5b4f74 cannot be found: committed before manifests kept digests" in said.out


class Reads(set[str]):
    """Keys of the files whose bytes were read by ranges. From the tenth on reading fails, while `is_broken_off`."""

    is_broken_off = True


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    keys = Reads()
    read_range = Store.read_range

    def counted(self: Store, key: str, start: int, length: int, *, keep_open: bool = False) -> bytes:
        if keys.is_broken_off and len(keys | {key}) == 10:
            raise KeyboardInterrupt
        keys.add(key)
        return read_range(self, key, start, length, keep_open=keep_open)

    monkeypatch.setattr(Store, "read_range", counted)
    monkeypatch.setattr("pipelines.lineage.file_checks.NUM_READERS", 1)
    return keys


def test_an_audit_that_was_broken_off_reads_each_file_once(
    made: NeoSite, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_notes, "SECONDS_BETWEEN_NOTES", 0.0)
    assert made.neo("audit", "whole/evaluate").code == 75
    first = set(reads)
    reads.clear()
    reads.is_broken_off = False
    continued = made.neo("audit", "whole/evaluate")
    assert continued.code == 0 and "Continues an audit that was broken off" in continued.out, continued
    assert len(first) == 9 and not first & reads
    assert len(first | reads) == 16
    reads.clear()
    assert "Continues" not in made.neo("audit", "whole/evaluate").out
    assert len(reads) == 16, "an audit that came to its end is not believed by the next"


def test_a_file_that_was_written_again_is_read_again(
    made: NeoSite, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_notes, "SECONDS_BETWEEN_NOTES", 0.0)
    assert made.neo("audit", "whole/evaluate").code == 75
    victim = made.folder / "store" / min(reads)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    reads.is_broken_off = False
    continued = made.neo("audit", "whole/evaluate")
    assert continued.code == 1 and str(victim) in continued.out
    assert "Continues" in continued.out
