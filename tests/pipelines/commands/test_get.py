"""`neo files` and `neo get`, as they are typed."""

import hashlib
import json
import signal
import time
from pathlib import Path

from tests.pipelines.conftest import TOYS, NeoSite


def test_what_is_listed_is_what_a_copy_holds(site: NeoSite, tmp_path: Path) -> None:
    site.neo("run", f"{TOYS}:data")
    listed = site.neo("files", "data/rows", "--json").json
    assert listed["kind"] == "Rows" and listed["num_files"] == len(listed["files"])
    got = site.neo("get", "data/rows", str(tmp_path / "out"), "--json").json
    assert (got["num_files"], got["copied"]) == (listed["num_files"], listed["num_files"])
    for file in listed["files"]:
        data = (tmp_path / "out" / file["path"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["sha256"] and len(data) == file["size_bytes"]
        assert Path(file["location"]).read_bytes() == data
    again = site.neo("get", "data/rows", str(tmp_path / "out"))
    assert again.code == 0 and f"{listed['num_files']} there already" in again.out


def test_patterns_choose_and_paths_are_for_other_programs(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    tables = site.neo("files", "data/kept", "--only", "*.parquet", "--paths").out.splitlines()
    assert tables and all(Path(path).is_file() and path.endswith(".parquet") for path in tables)
    none = site.neo("files", "data/kept", "--only", "*.tar")
    assert none.code == 2 and "has no file whose path matches *.tar" in none.err


def test_wrong_words_are_refused_before_anything_is_written(site: NeoSite, tmp_path: Path) -> None:
    site.neo("run", f"{TOYS}:data")
    out = tmp_path / "out"
    assert site.neo("get", "data/rows", str(out), "--link", "--hard-link").code == 2
    assert site.neo("get", "data/rosw", str(out)).code == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("a")
    refused = site.neo("get", "data/rows", str(tmp_path / "mine"))
    assert refused.code == 3 and "is not empty" in refused.err and "neo get --help" in refused.last_line
    assert not out.exists()


def test_ctrl_c_leaves_whole_files_alone_and_the_same_command_continues(site: NeoSite, tmp_path: Path) -> None:
    site.neo("run", f"{TOYS}:data")
    whole = {file["path"]: file["sha256"] for file in site.neo("files", "data/rows", "--json").json["files"]}
    out = tmp_path / "out"
    process = site.start("get", "data/rows", str(out), "--json")
    while not (out / ".neo" / "about.json").exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    found = {path: out / path for path in whole if (out / path).exists()}
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == whole[name] for name, path in found.items())
    if process.returncode != -signal.SIGINT:  # it came when all was done, and Python was leaving
        assert process.returncode in (0, 75) and json.loads(told)["exit_code"] == process.returncode
    got = site.neo("get", "data/rows", str(out), "--json").json
    assert got["there"] >= len(found) and got["num_files"] == len(whole)
