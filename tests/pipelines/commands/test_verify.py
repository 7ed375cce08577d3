"""`neo verify`, as it is typed: words for people, a document for programs, and no store."""

from pathlib import Path

from tests.pipelines.conftest import NeoSite
from tests.pipelines.evidence.conftest import copy, export, stores

__all__ = ["copy", "export", "stores"]


def test_a_whole_folder_a_damaged_one_and_one_without_a_record(site: NeoSite, export: Path, tmp_path: Path) -> None:
    """The store of this site does not exist."""
    whole = site.neo("verify", str(export))
    assert whole.code == 0 and "All as recorded." in whole.out and whole.last_line.startswith("Next: neo sign ")
    (export / "README.md").unlink()
    (export / "more.txt").touch()
    damaged = site.neo("verify", str(export))
    assert damaged.code == 1 and f"{export}/README.md is missing" in damaged.out and "NOT as recorded: 2" in damaged.out
    document = site.neo("verify", str(export), "--json").json
    assert [one["kind"] for one in document["findings"]] == ["missing", "extra"] and not document["as_recorded"]
    assert site.neo("verify", str(tmp_path)).code == 2
    assert site.neo("verify", str(export), "--key", str(export / "none.pem")).code == 2


def test_a_copy_tells_the_root_that_its_artifact_has(site: NeoSite, copy: Path) -> None:
    document = site.neo("verify", str(copy), "--json").json
    assert document["as_recorded"] and document["artifact"].startswith("pack_toys/") and document["num_artifacts"] == 4
    assert len(document["root"]) == 64


def test_many_findings_are_counted_and_twenty_named(site: NeoSite, export: Path) -> None:
    for number in range(30):
        (export / f"extra-{number}").touch()
    said = site.neo("verify", str(export))
    assert said.out.count("is not listed") == 20 and "and 10 more, which --json names" in said.out
