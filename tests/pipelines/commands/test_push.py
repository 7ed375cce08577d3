"""`neo push`: an export reaches a hub once, whole, in one commit, and the token is nowhere to be seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from stages.artifacts.kinds import ExportedCheckpoint
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, export
from stages.store.refs import read_ref
from stages.store.store import Store
from tests.pipelines.conftest import NeoSite
from tests.upload_hub import TOKEN, Hub, upload_hub
from tests.worlds.colour_world import ColourWorld, make_colour_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ColourWorld:
    """A world with an export of its checkpoint, and an evaluation."""
    world = make_colour_world(tmp_path_factory.mktemp("colour_world"))
    world.make(export.bind("export", ExportRecipe(licence="mit"), world.checkpoint))
    world.make(evaluate.bind("asked", EvaluateRecipe(max_new_tokens=2, num_cards=1), world.checkpoint, world.questions))
    return world


@pytest.fixture
def own(site: NeoSite, world: ColourWorld, tmp_path: Path) -> NeoSite:
    """A site on a copy of the store of that world."""
    shutil.copytree(world.store.folder, tmp_path / "own_store")
    site.file.write_text(f'store = "{tmp_path / "own_store"}"\nmlflow = "http://127.0.0.1:9"\n')
    return site


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with upload_hub() as started:
        monkeypatch.setenv("HF_ENDPOINT", started.address)
        yield started


def exported(world: ColourWorld, **fields: str) -> ExportedCheckpoint:
    return world.open(export.bind("export", ExportRecipe(**{"licence": "mit", **fields}), world.checkpoint))


def files_of(artifact: ExportedCheckpoint, folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in artifact.copy_to(folder).iterdir()}


def test_a_push_is_one_private_commit_with_all_files_and_a_second_one_is_nothing(
    own: NeoSite, hub: Hub, world: ColourWorld, tmp_path: Path
) -> None:
    artifact = exported(world)
    said = own.neo("push", artifact.short, "me/my.model-1", "--json")
    assert said.code == 0, said.err + said.out
    repository = hub.repositories["me/my.model-1"]
    assert repository.files == files_of(artifact, tmp_path / "files")
    assert (repository.private, len(repository.commits)) == (True, 2)
    assert repository.messages == [f"Export export/{artifact.short}"]
    assert said.json["revision"] == repository.newest
    assert sorted(said.json["uploaded"]) == sorted(repository.files)
    assert said.json["private"] is True
    sent = len(hub.requests)
    again = own.neo("push", artifact.short, "me/my.model-1", "--json")
    assert (again.json["uploaded"], again.json["revision"]) == ([], repository.newest)
    assert len(repository.commits) == 2
    assert all(request.startswith("GET ") for request in hub.requests[sent:]), "nothing is sent"


def test_where_it_went_is_remembered_in_the_store(own: NeoSite, hub: Hub, world: ColourWorld, tmp_path: Path) -> None:
    artifact = exported(world)
    for _ in range(2):
        said = own.neo("push", artifact.short, "me/my.model", "--json")
    assert said.json["next"].startswith("neo trace hub/me--my_model")
    store = Store(tmp_path / "own_store")
    pushed = read_ref(store, "hub/me--my_model")
    assert pushed is not None and pushed["revision"] == hub.repositories["me/my.model"].newest
    assert pushed["address"] == f"{hub.address}/me/my.model"
    assert len([*store.keys("refs/hub/")]) == 1, "once for each commit"
    traced = own.neo("trace", "hub/me--my_model", "--json")
    assert traced.code == 0, traced.err
    assert "hub/me--my_model" in own.neo("list", "--json").json["names"]


def test_only_what_differs_is_sent_and_what_an_earlier_push_left_goes(
    own: NeoSite, hub: Hub, world: ColourWorld
) -> None:
    first = exported(world)
    assert own.neo("push", first.short, "me/model").code == 0
    repository = hub.repositories["me/model"]
    own_files = {"assets/picture.png": b"own", "lora/adapter.safetensors": b"own", "neo_tools/train.py": b"own"}
    left = {"model-00001-of-00002.safetensors": b"old", "neo_old.py": b"old", **own_files}
    repository.commits["1" * 40] = {**repository.files, **left}
    other = export.bind("other", ExportRecipe(title="Other", licence="mit"), world.checkpoint)
    second = ColourWorld(**{**vars(world), "store": Store(own.neo("list", "--json").json["store"])}).make(other)
    said = own.neo("push", second.fingerprint[:12], "me/model", "--json")
    assert said.code == 0, said.err + said.out
    assert said.json["uploaded"] == ["README.md", "lineage.json"]
    assert sorted(said.json["deleted"]) == ["model-00001-of-00002.safetensors", "neo_old.py"]
    assert b"# Other" in repository.files["README.md"]
    assert own_files.keys() <= repository.files.keys()
    assert len(hub.asked("PUT /upload/")) == 1, "the weights were sent once"


def test_the_model_of_another_is_replaced_only_where_that_is_asked_for(
    own: NeoSite, hub: Hub, world: ColourWorld
) -> None:
    assert own.neo("push", exported(world).short, "me/model").code == 0
    repository = hub.repositories["me/model"]
    theirs = {"README.md": b"another", "pytorch_model.bin": b"another"}
    repository.commits["2" * 40] = theirs
    said = own.neo("push", exported(world).short, "me/model")
    assert (said.code, repository.files) == (3, theirs)
    assert "holds a model that was not pushed from here (pytorch_model.bin)" in " ".join(said.err.split())
    assert own.neo("push", exported(world).short, "me/model", "--replace").code == 0
    assert repository.files["README.md"] != b"another"


def test_a_push_that_broke_off_continues(own: NeoSite, hub: Hub, world: ColourWorld) -> None:
    artifact = exported(world)
    hub.breaks_at = "/api/models/me/model/commit"
    said = own.neo("push", artifact.short, "me/model")
    assert (said.code, hub.repositories["me/model"].files) == (1, {})
    assert f"{hub.address}: cannot write me/model" in said.err
    hub.breaks_at = ""
    assert own.neo("push", artifact.short, "me/model").code == 0
    assert len(hub.asked("PUT /upload/")) == 1, "what was sent is not sent again"


def test_a_repository_is_public_where_that_is_asked_for(own: NeoSite, hub: Hub, world: ColourWorld) -> None:
    said = own.neo("push", exported(world).short, "me/model", "--public")
    assert (said.code, hub.repositories["me/model"].private) == (0, False)
    assert "private" not in said.out
    hub.repositories["me/model"].private = True
    again = own.neo("push", exported(world).short, "me/model", "--public")
    assert "--public changes nothing" in " ".join(again.out.split())


def test_the_token_is_nowhere(own: NeoSite, hub: Hub, world: ColourWorld, tmp_path: Path) -> None:
    said = [own.neo("push", exported(world).short, "me/model")]
    hub.breaks_at = "/api"
    said.append(own.neo("push", exported(world).short, "me/model"))
    assert not any(TOKEN in one.out + one.err for one in said)
    stored = (path.read_bytes() for path in (tmp_path / "own_store").rglob("*") if path.is_file())
    assert not any(TOKEN.encode() in data for data in stored)


@pytest.mark.parametrize(
    ("token", "repository", "message", "code"),
    [
        ("", "me/model", "HF_TOKEN is not set: a token that may write to 'me'", 3),
        (TOKEN, "model", "'model' is no repository: OWNER/NAME", 2),
        (TOKEN, "me/a--b", "is no repository", 2),
        (TOKEN, "../x", "is no repository", 2),
        ("hf_wrong", "me/model", "cannot open me/model: HF_TOKEN is not accepted", 1),
        (TOKEN, "others/model", "cannot open others/model: HF_TOKEN may not write there", 1),
    ],
)
def test_what_cannot_be_pushed_is_told(
    own: NeoSite, hub: Hub, world: ColourWorld, monkeypatch: pytest.MonkeyPatch,
    token: str, repository: str, message: str, code: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", token)
    said = own.neo("push", exported(world).short, repository)
    assert (said.code, hub.asked("POST /api/models")) == (code, [])
    assert message in " ".join(said.err.split())


def test_what_is_no_export_is_refused_with_the_export_to_push(own: NeoSite, hub: Hub, world: ColourWorld) -> None:
    asked = evaluate.bind("asked", EvaluateRecipe(max_new_tokens=2, num_cards=1), world.checkpoint, world.questions)
    for step in (world.checkpoint, asked):
        said = own.neo("push", world.open(step).short, "me/model", "--json")
        assert said.code == 2
        assert said.json["next"].startswith(f"neo push export/{exported(world).short} me/model")
        assert "a hub gets what the stage `export` made" in said.json["error"]
    pictures = own.neo("push", world.open(world.pictures).short, "me/model", "--json")
    assert pictures.code == 2 and pictures.json["next"].startswith("neo describe export")
    assert hub.requests == []


def test_a_card_that_the_hub_refuses_is_told_before_weights_are_sent(
    own: NeoSite, hub: Hub, world: ColourWorld
) -> None:
    step = export.bind("odd", ExportRecipe(licence="gpl-3.0"), world.checkpoint)
    made = ColourWorld(**{**vars(world), "store": Store(own.neo("list", "--json").json["store"])}).make(step)
    said = own.neo("push", made.fingerprint[:12], "me/model")
    assert said.code == 1 and '"license" must be one of' in said.err
    assert hub.asked("PUT", "POST /api/models") == []


def test_a_damaged_file_is_not_sent(own: NeoSite, hub: Hub, world: ColourWorld, tmp_path: Path) -> None:
    artifact = exported(world)
    weights = next(file for file in artifact.model_files if file.name.endswith(".safetensors"))
    path = tmp_path / "own_store" / weights.key
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    said = own.neo("push", artifact.short, "me/model")
    assert (said.code, said.last_line) == (3, f"Next: neo audit {artifact.short} --site {own.file}")
    assert "is damaged in ['model.safetensors']" in " ".join(said.err.split())
    assert hub.repositories["me/model"].files == {}


def test_a_commit_of_someone_else_meanwhile_is_not_overwritten(
    own: NeoSite, hub: Hub, world: ColourWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.outside.hub

    checked = pipelines.outside.hub.HubPush._check

    def meanwhile(*arguments: object) -> None:
        checked(*arguments)
        hub.repositories["me/model"].commits["2" * 40] = {"theirs.txt": b"x"}

    monkeypatch.setattr(pipelines.outside.hub.HubPush, "_check", meanwhile)
    said = own.neo("push", exported(world).short, "me/model")
    assert (said.code, hub.repositories["me/model"].files) == (1, {"theirs.txt": b"x"})
    assert "it was changed meanwhile, push again" in " ".join(said.err.split())
