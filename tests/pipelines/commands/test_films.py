"""Films from their files to weights on the command line, and back: run, show, trace, row, seen, where, look, audit."""

import json
from pathlib import Path

import pytest

from tests.pipelines.conftest import NeoSite
from tests.worlds.clip_world import write_films

FILMS = ("walk", "jump", "turn", "fall", "copy", "still", "black")
PIPELINE = """
from neo_model.inputs.frame_sampling import FrameSampling
from stages.contract import Source
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.filter_clips import FilterClipsRecipe, filter_clips
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from tests.worlds.mixture_world import LLM
from tests.worlds.pipeline_world import TrainRecipe, train_toy


def films():
    cutting = CutClipsRecipe(source=Source("films"), sampling=FrameSampling(num_frames=8), max_clip_seconds=2.0)
    clips = cut_clips.bind("clips", cutting)
    kept = filter_clips.bind("kept", FilterClipsRecipe(), clips)
    talks = read_conversations.bind("talks", ReadConversationsRecipe(source=Source("chat")), None, clips)
    draw = mix_samples.bind("mix", MixRecipe(shares={"films": 1, "talks": 1}), {"films": kept, "talks": talks})
    packing = PackRowsRecipe(max_row_tokens=512, min_frame_pixels_px=1024, max_frame_pixels_px=4096)
    rows = pack_rows.bind("rows", packing, draw, LLM)
    return train_toy.bind("weights", TrainRecipe(num_steps=8), [rows], LLM)
"""
SOURCES = '[films]\nuri = "films"\n[chat]\nuri = "chat.json"\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as somebody may have it: films with texts beside them, a table of talks, and a broken film."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "films").mkdir()
    write_films(folder / "films", FILMS)
    for name in FILMS:
        (folder / "films" / f"{name}.txt").write_text(f"shapes of the film {name} move over a ground")
    (folder / "films" / "zz.mp4").write_bytes(b"no film at all")
    turns = [{"from": "human", "value": "<video>\nWhat moves?"}, {"from": "gpt", "value": "A square and a disc."}]
    chat = [{"video": f"{name}.mp4", "start": 0.0, "end": 1.98, "conversations": turns} for name in ("walk", "jump")]
    (folder / "chat.json").write_text(json.dumps(chat))
    (folder / "sources.toml").write_text(SOURCES)
    (folder / "pipeline.py").write_text(PIPELINE)
    return folder


@pytest.fixture
def made(site: NeoSite, project: Path) -> NeoSite:
    """One store for all of these tests: the second run finds everything made."""
    site.file.write_text(f'store = "{project / "store"}"\nmlflow = "http://127.0.0.1:9"\n')
    told = site.neo("run", f"{project / 'pipeline.py'}:films")
    assert told.code == 0, told
    return site


def test_films_are_followed_to_the_steps_that_read_them_and_back(made: NeoSite) -> None:
    sightings = {one["step"]: one for one in made.neo("where", "walk.mp4", "--json").json["sightings"]}
    assert list(sightings)[:2] == ["clips", "kept"] and list(sightings)[-1] == "weights"
    assert "0.00 to 1.98 s of films:walk.mp4, 8 frames, 128 x 96 px" in sightings["clips"]["said"]
    assert sightings["talks"]["said"] == "1 conversation about it"
    assert "drawn" in sightings["mix"]["said"] and "row" in sightings["rows"]["said"]
    steps = sightings["weights"]["details"]["steps"]
    assert steps and set(steps) <= set(range(1, 9))
    row = next(iter(sightings["rows"]["details"]["rows"]))
    documents = made.neo("row", "films/rows", row, "--json").json["documents"]
    ids = {row["sample_id"] for row in sightings["clips"]["details"]["samples"]}
    ids |= set(sightings["talks"]["details"]["sample_ids"])
    assert ids & {one["sample_id"] for one in documents}
    back = made.neo("where", sorted(ids)[0], "--json").json["sightings"]
    assert back[-1]["step"] == "weights"


def test_the_weights_lead_back_to_the_films_and_an_audit_reads_everything(made: NeoSite) -> None:
    traced = made.neo("trace", "films/weights", "--json").json
    assert [node["step"] for node in traced["nodes"] if node["kind"] in ("RawClips", "KeptClips")] == ["clips", "kept"]
    told = made.neo("trace", "films/weights").out
    assert "source films" in told and "source chat" in told
    seen = made.neo("seen", "films/weights", "--json").json["seen"][0]
    assert set(seen["sources"]) == {"films", "talks"}
    audited = made.neo("audit", "films/weights")
    assert audited.code == 0, audited


def test_what_was_dropped_is_shown_with_its_reasons_and_looked_at(made: NeoSite, tmp_path: Path) -> None:
    shown = made.neo("show", "films/kept", "--json").json
    assert shown["items"]["dropped"] == {"black": 2, "near_duplicate": 2, "static": 2}
    assert "near_duplicate" in made.neo("show", "films/kept").out
    lost = made.neo("where", "zz.mp4", "--json").json["sightings"]
    assert [one["said"] for one in lost] == ["part 00000: failed (unknown_format)"]
    page = tmp_path / "page.html"
    for ref in ("clips", "kept", "talks", "rows"):
        assert made.neo("look", f"films/{ref}", "--html", str(page)).code == 0
        assert '<div class="strip">' in page.read_text(), ref
