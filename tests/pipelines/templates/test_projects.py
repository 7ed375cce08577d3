"""Each template of `neo init` runs as it is written; nothing is overwritten; what to change is marked."""

import fnmatch
import json
import tomllib
from pathlib import Path

import pytest
import skimage

from pipelines.templates.projects import FILES, TEMPLATES
from tests.pipelines.conftest import ROOT, NeoSite

EXPECTED = {
    "pairs": {"kept": "KeptPairs", "rows": "Rows", "prebuffer": "PreBuffer"},
    "conversations": {"talks": "Conversations", "rows": "Rows"},
    "tune": {"rows": "Rows", "tuned": "Checkpoint", "evaluate": "Evaluation", "export": "ExportedCheckpoint"},
    "full": {"chat_rows": "Rows", "merged": "Checkpoint", "evaluate": "Evaluation", "export": "ExportedCheckpoint"},
}
"""Template to some of the names that its run makes, and what they are."""


def init(site: NeoSite, folder: Path, template: str) -> dict:
    said = site.type_(["init", str(folder), "--template", template, "--json"])
    assert said.code == 0, said
    return said.json


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_runs_as_it_is_written(site: NeoSite, tmp_path: Path, template: str) -> None:
    folder = tmp_path / "project"
    document = init(site, folder, template)
    (name,) = TEMPLATES[template].names
    assert document["next"] == f"cd {folder} && neo run pipeline.py:{name} --site site.toml"
    ran = site.neo("run", f"{folder}/pipeline.py:{name}")
    assert ran.code == 0, ran.out + ran.err
    for step, kind in EXPECTED[template].items():
        assert site.neo("show", f"{name}/{step}", "--json").json["kind"] == kind
        if kind == "Rows":
            assert site.neo("look", f"{name}/{step}", "--json").json["items"][0]["pictures"]
    again = site.neo("run", f"{folder}/pipeline.py:{name}")
    assert again.code == 0 and "Nothing to make" in again.out
    if template == "tune":
        check_the_export_has_not_learned_what_it_was_measured_on(site)


def check_the_export_has_not_learned_what_it_was_measured_on(site: NeoSite) -> None:
    """The evaluation whose scores stand on its card says so, and enters no summary of what it was trained on."""
    for weights in ("tune/tuned", "tune/export"):
        told = site.neo("exposure", weights, "--of", "tune/exam", "--json").json
        assert told["times"] == 0
        assert [one["what"].split(" ")[0] for one in told["not_known"]] == ["start"]
        (measured,) = told["otherwise"]
        assert measured["how"] == "measured" and measured["by"].startswith("evaluate ")
        assert site.neo("exposure", weights, "--of", "tune/talks", "--json").json["times"] > 0
    impact = site.neo("impact", "--of", "tune/exam", "--json").json
    assert impact["trainings"] == [] and [one["step"] for one in impact["made_of_it"]] == ["exam"]
    exam = site.neo("show", "tune/exam", "--json").json["fingerprint"][:12]
    summary = site.neo("disclose", "tune/export", "--eu").out
    assert "read_conversations/" in summary and exam not in summary


def test_nothing_is_overwritten(site: NeoSite, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    init(site, folder, "pairs")
    (folder / "mine.txt").write_text("kept")
    again = site.type_(["init", str(folder), "--template", "tune"])
    assert again.code == 3 and "nothing is overwritten" in again.err
    assert (folder / "mine.txt").read_text() == "kept" and not (tmp_path / ".project.draft").exists()
    file = tmp_path / "file"
    file.write_text("kept")
    assert site.type_(["init", str(file)]).code == 3 and file.read_text() == "kept"
    empty = tmp_path / "empty"
    empty.mkdir()
    init(site, empty, "pairs")


def test_a_template_that_is_not_there_is_answered_with_those_that_are(site: NeoSite, tmp_path: Path) -> None:
    told = site.type_(["init", str(tmp_path / "x"), "--template", "tunes"])
    assert told.code == 2 and "did you mean 'tune'?" in told.err and not (tmp_path / "x").exists()


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_to_change_is_marked(template: str) -> None:
    folder = FILES / template
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "pipeline.py", "sources.toml", "site.toml", "README.md"
    }  # fmt: skip
    sources, pipeline = (folder / "sources.toml").read_text(), (folder / "pipeline.py").read_text()
    entries = tomllib.loads(sources)
    assert sources.count("# EDIT: ") == len(entries), "each source is the user's to change"
    assert "# EDIT: " in pipeline
    assert all(f'Source("{name}")' in pipeline for name in entries)


def test_the_files_are_in_the_package() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["pipelines"]
    for path in (path for path in FILES.glob("*/*") if path.is_file()):
        name = path.relative_to(ROOT / "pipelines").as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_the_data_is_what_people_have(site: NeoSite, tmp_path: Path) -> None:
    """A LLaVA-style JSON whose pictures are there, an image folder, a corpus, and a Qwen3 folder."""
    folder = tmp_path / "project"
    init(site, folder, "full")
    records = json.loads((folder / "data" / "chat.json").read_text())
    assert all((folder / "data" / "pictures" / record["image"]).is_file() for record in records)
    assert {turn["from"] for record in records for turn in record["conversations"]} == {"human", "gpt"}
    assert all(record["conversations"][0]["value"].startswith("<image>\n") for record in records)
    readers = {"my_chat": "read_conversations", "my_pairs": "import_pairs", "my_text": "read_text", "llm": "fetch_llm"}
    for name, reader in readers.items():
        shown = site.neo("look", name, "--beside", str(folder), "--images", "my_pictures", "--json").json
        assert f" = {reader}.bind(" in shown["facts"]["read by"], shown["facts"]
        assert not shown["troubles"] and all(item["verdict"] == "" for item in shown["items"])
        if name in ("my_chat", "my_pairs"):
            assert all(" px, JPEG, " in item["pictures"][0] for item in shown["items"])


PHOTOS = {
    "astronaut.png": "An astronaut.",
    "chelsea.png": "A cat.",
    "coffee.png": "A cup of coffee.",
    "rocket.jpg": "A rocket.",
}
"""Photographs that scikit-image ships, and the answer to what they show."""


def test_a_users_own_photographs_and_checkpoint_take_three_lines(site: NeoSite, tmp_path: Path) -> None:
    """A JSON that somebody has, a folder of photographs, and a checkpoint's folder: sources.toml, and nothing else."""
    photos = Path(skimage.__file__).parent / "data"
    turns = [
        [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": answer}]
        for answer in PHOTOS.values()
    ]
    records = [{"id": name, "image": name, "conversations": said} for name, said in zip(PHOTOS, turns, strict=True)]
    told = [{"id": str(n), "conversations": [{"from": "human", "value": f"Say {n}."}, {"from": "gpt", "value": f"{n}"}]}
            for n in range(20)]  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(records + told))
    folder, other = tmp_path / "project", tmp_path / "other"
    init(site, folder, "tune")
    init(site, other, "tune")
    own = {
        "data/chat.json": str(tmp_path / "mine.json"),
        "data/pictures": str(photos),
        "data/tiny-neo": str(other / "data" / "tiny-neo"),
    }
    sources = (folder / "sources.toml").read_text()
    for ours, theirs in own.items():
        sources = sources.replace(f'"{ours}"', f'"{theirs}"')
    (folder / "sources.toml").write_text(sources)
    ran = site.neo("run", f"{folder}/pipeline.py:tune", "--until", "tuned")
    assert ran.code == 0, ran.out + ran.err
    talks = site.neo("look", "tune/talks", "--num", "24", "--json").json["items"]
    shown = [item["pictures"][0] for item in talks if item["pictures"]]
    assert shown and all(" px, JPEG, " in about or " px, PNG, " in about for about in shown)
    assert site.neo("show", "tune/tuned", "--json").json["kind"] == "Checkpoint"
