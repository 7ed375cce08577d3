"""Secrets that stand at every door of a real run are nowhere afterwards: not in the store, the tracker, logs, screens,
pages or process lists. URLs of a table are data: theirs stay in its tables, and there alone."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.runs.run import all_runs
from tests import s3_server as s3
from tests.hostile.planted import (
    ENVIRONMENT,
    IN_URLS,
    NO_PROXY,
    PIPELINE,
    found_below,
    found_in,
    planted,
    planted_web,
    put_table,
    secret,
    urls,
)
from tests.pipelines.conftest import NOBODY, ROOT, NeoSite, Said, fresh_database, site, tracked, type_
from tests.pipelines.tracking.mlflow_server import mlflow_server
from tests.worlds.caption_server import Answer, answered, caption_server

__all__ = ["fresh_database", "site", "tracked", "type_"]  # fixtures
TABLES_OF_URLS = re.compile(
    r"store/artifacts/download_pairs/\w+/attempts/[^/]+/(?:rows|download)/.*\.(?:bin|parquet|tar)"
)
"""The files that hold URLs of a table as they are."""


@dataclass
class Planted:
    """A user's pipeline with secrets at every door, and whether the endpoint of captions refuses its key."""

    folder: Path
    pipeline: str
    urls: list[str]
    refuses: bool = False

    def answer(self, words: str, before: int) -> Answer:
        said = f"your key {secret('OPENAI_API_KEY')} is unknown; see https://me:{secret('redirect')}@127.0.0.1/keys"
        return (401, {}, said.encode()) if self.refuses else answered("a better caption")


@pytest.fixture
def world(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    """The table of URLs in a bucket, the servers of pictures and of captions, and an environment full of secrets."""
    for name, value in {**s3.environment(s3_server), **ENVIRONMENT, **NO_PROXY}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEO_CAPTION_CACHE", str(tmp_path / "captions.sqlite"))
    bucket = s3.make_bucket(s3_server, tmp_path.name.replace("_", "-").lower())
    folder = tmp_path / "project"
    folder.mkdir()
    with planted_web() as web:
        made = Planted(folder, f"{folder / 'pipeline.py'}:planted", urls(web))
        with caption_server(made.answer) as endpoint:
            put_table(bucket, web)
            (folder / "sources.toml").write_text(f'[urls]\nuri = "{bucket}/urls.parquet"\n')
            (folder / "pipeline.py").write_text(PIPELINE.replace("ENDPOINT", endpoint.address))
            yield made


def check_files(folder: Path) -> None:
    """No file below holds a secret, but tables of URLs those of their URLs."""
    found = found_below(folder, planted())
    of_urls = {path: doors for path, doors in found.items() if TABLES_OF_URLS.fullmatch(path) and doors <= {*IN_URLS}}
    assert {path: doors for path, doors in found.items() if path not in of_urls} == {}
    assert set().union(*of_urls.values()) == {*IN_URLS}, "the search finds what is there"


def check_screen(said: Said) -> None:
    assert found_in((said.out + said.err).encode(errors="replace"), planted()) == set(), said


def test_no_secret_is_stored_tracked_or_shown(
    world: Planted, tracked: NeoSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fails with a key in its answer, and goes on; then every command that shows what was made."""
    monkeypatch.chdir(tmp_path)
    check_screen(tracked.neo("look", "urls", "--beside", str(world.folder)))
    assert tracked.neo("pin", world.pipeline).code == 0
    world.refuses = True
    failed = tracked.neo("run", world.pipeline)
    assert failed.code == 1 and "the key is missing or wrong (your key <key> is unknown" in failed.out, failed
    check_screen(failed)
    world.refuses = False
    done = tracked.neo("run", world.pipeline, "--json")
    assert done.code == 0, done
    assert done.json["steps"]["pairs"]["items"]["kept"] == 2, done
    check_screen(done)
    (run,) = all_runs(tracked.store)
    with_user, signed = world.urls[2], world.urls[1]
    for words in (
        ("status", run.name), ("logs", run.name), ("logs", run.name, "--all", "--attempt", "1"),
        ("logs", run.name, "captions", "--attempt", "1"), ("show", run.name), ("show", run.name, "--json"),
        ("show", "planted/pairs"), ("show", "planted/pairs", "--json"), ("list",), ("look", "planted/pairs"),
        ("look", "planted/captions", "--json"), ("trace", "planted/captions"), ("files", "planted/pairs"),
        ("trace", "planted/captions", "--url", signed), ("where", signed), ("where", signed, "--json"),
        ("where", with_user), ("report", run.name), ("diff", "planted/kept", "planted/captions"),
        ("audit", "planted/captions"),
    ):  # fmt: skip
        said = tracked.neo(*words)
        assert said.code == 0, said
        check_screen(said)
    for words in (("nonsense", with_user), ("show", with_user), ("plan", with_user), ("takedown", with_user)):
        said = tracked.neo(*words)
        assert said.code == 2, said
        check_screen(said)
    assert (tmp_path / f"{run.name}.html").is_file() and (tmp_path / "mlflow-files").is_dir()
    check_files(tmp_path)


SITES = {
    "the store": 'store = "s3://me:SECRET@bucket/neo"\nmlflow = "NOBODY"',
    "a store with a key of slashes": 'store = "s3://AKIA:wJ/SECRET/x@bucket/neo"\nmlflow = "NOBODY"',
    "a source": 'store = "STORE"\nmlflow = "NOBODY"\n[sources]\nurls = "https://host/x.json?token=SECRET"',
    "events": 'store = "STORE"\nmlflow = "NOBODY"\nopenlineage = "http://me:SECRET@host:5000"',
    "a header": 'store = "STORE"\nmlflow = "NOBODY"\n[ray]\nheaders = {Authorization = "Bearer SECRET"}',
    "a cookie": 'store = "STORE"\nmlflow = "NOBODY"\n[ray]\ncookies = {session = "SECRET=="}',
    "Ray's address": 'store = "STORE"\nmlflow = "NOBODY"\n[ray]\naddress = "ray://me:SECRET@head:10001"',
    "a dashboard": 'store = "STORE"\nmlflow = "NOBODY"\n[ray]\naddress = "head:6379"\njobs = "https://me:SECRET@head"',
    "a key nobody knows": 'store = "STORE"\nmlflow = "NOBODY"\naws_secret_access_key = "SECRET"',
    "no TOML": 'store = "STORE"\nmlflow = "NOBODY"\npassword = SECRET',
}
"""Files of a site that hold a secret where none may stand."""
SOURCES = (
    "s3://me:SECRET@bucket/urls.parquet", "s3://AKIA:wJ/SECRET/x@bucket/urls.parquet", "https://me:SECRET@host/urls.csv",
    "https://host/urls.csv?token=SECRET", "https://host/urls.csv?X-Amz-Signature=SECRET", "ftp://me:SECRET@host/urls.csv",
    "hf://datasets/me/mine@main/urls.csv?token=SECRET", "hf://me:SECRET@datasets/me/mine/urls.csv",
    "gs://me:SECRET@bucket/*.parquet", "toy:urls.jsonl?key=SECRET", "file://me:SECRET@host/urls.csv",
)  # fmt: skip
"""Places of sources that hold a secret."""
SETTINGS = (
    "captions.endpoint=https://me:SECRET@host/v1", "captions.endpoint=https://host/v1?api_key=SECRET",
    "captions.shared_answers=s3://me:SECRET@bucket/x", "captions.shared_answers=redis://me:SECRET@host",
    "pairs.allow_hosts=[\"https://me:SECRET@host\"]", "pairs.deadline_seconds=https://host/?token=SECRET",
    "pairs.nothing=https://me:SECRET@host/", "https://me:SECRET@host/", "nobody.field=https://host/?sig=SECRET",
)  # fmt: skip
"""Words behind `--set` that hold a secret."""


@pytest.fixture
def told_at_the_door(site: NeoSite) -> Iterator[NeoSite]:
    """A project whose pipeline can be planned; afterwards nothing of it holds the secret but what was typed."""
    project = site.folder / "project"
    project.mkdir()
    (project / "pipeline.py").write_text(PIPELINE.replace("ENDPOINT", f"{NOBODY}/v1"))
    (project / "sources.toml").write_text(f'[urls]\nuri = "{project}/urls.csv"\n')
    (project / "urls.csv").write_text("url,caption\nhttp://127.0.0.1/1.jpg,a picture\n")
    yield site
    typed = {"site.toml", "project/sources.toml"}
    assert found_below(site.folder, {"door": secret("door")}).keys() <= typed


def is_refused(said: Said, *, code: int) -> None:
    assert said.code == code and "Traceback" not in said.err, said
    assert found_in((said.out + said.err).encode(errors="replace"), {"door": secret("door")}) == set(), said


def test_a_secret_in_a_site_a_source_or_a_setting_is_refused_and_not_shown(told_at_the_door: NeoSite) -> None:
    """One test for all doors, each with and without `--json`: a fixture for each would take as long again."""
    site, project = told_at_the_door, told_at_the_door.folder / "project"
    pipeline = f"{project / 'pipeline.py'}:planted"
    plain, plain_sources = site.file.read_text(), (project / "sources.toml").read_text()
    assert site.neo("plan", pipeline).code == 0
    for name, text in SITES.items():
        spelled = text.replace("SECRET", secret("door")).replace("STORE", str(site.folder / "store"))
        site.file.write_text(spelled.replace("NOBODY", NOBODY))
        for words in (("plan", pipeline), ("plan", pipeline, "--json")):
            said = site.neo(*words)
            assert said.code != 0, f"{name}: {said}"
            is_refused(said, code=2)
    site.file.write_text(plain)
    for place in SOURCES:
        (project / "sources.toml").write_text(f'[urls]\nuri = "{place.replace("SECRET", secret("door"))}"\n')
        for words in (("pin", pipeline), ("run", pipeline, "--json")):
            said = site.neo(*words)
            assert said.code in (2, 3), f"{place}: {said}"
            is_refused(said, code=said.code)
    (project / "sources.toml").write_text(plain_sources)
    for setting in SETTINGS:
        for more in ((), ("--json",)):
            said = site.neo("plan", pipeline, "--set", setting.replace("SECRET", secret("door")), *more)
            is_refused(said, code=2)


@pytest.mark.long
def test_no_process_of_a_run_on_ray_shows_a_secret(world: Planted, tmp_path: Path, fresh_database: Path) -> None:
    """The command, its cluster and the tracker are real; the tracker's address holds a password."""
    home = Path(tempfile.mkdtemp(prefix="neo-", dir="/tmp"))
    secrets = planted() | {"tracker": secret("tracker")}
    seen: dict[str, set[str]] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            for line in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    if doors := found_in(line.read_bytes(), secrets):
                        seen[str(line)] = doors
            for path in home.rglob("*.*"):
                with suppress(OSError):
                    if path.suffix in (".log", ".out", ".err") and (doors := found_in(path.read_bytes(), secrets)):
                        seen[str(path)] = doors

    (tmp_path / "site.toml").write_text(f'store = "{tmp_path}/store"\nmlflow = "{NOBODY}"\n')
    neo = [sys.executable, "-m", "pipelines.cli"]
    subprocess.run([*neo, "pin", world.pipeline, "--site", str(tmp_path / "site.toml")], cwd=ROOT, check=True)
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server", fresh_database) as server:
        tracker = f"http://me:{secret('tracker')}@127.0.0.1:{server.port}"
        (tmp_path / "site.toml").write_text(f'store = "{tmp_path}/store"\nmlflow = "{tracker}"\ncode = "local"\n')
        watching = threading.Thread(target=watch)
        watching.start()
        command = [*neo, "run", world.pipeline, "--site", str(tmp_path / "site.toml")]
        environment = os.environ | {"TMPDIR": str(home), "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        ended.set()
        watching.join()
    (tmp_path / "site.toml").unlink()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert found_in((ran.stdout + ran.stderr).encode(), secrets) == set() and seen == {}
    assert "has not taken everything" not in ran.stdout
    check_files(tmp_path)
    assert found_below(tmp_path, {"tracker": secret("tracker")}) == {}
