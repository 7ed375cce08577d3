"""`neo serve` as it is typed: served, asked, stopped by Ctrl-C, and refused before anything is loaded."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pipelines.conftest import NeoSite
from tests.pipelines.serving.served_models import data_uri, picture_part, user
from tests.worlds.colour_world import COLOURS, ColourWorld, make_colour_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ColourWorld:
    return make_colour_world(tmp_path_factory.mktemp("colour_world"))


@pytest.fixture
def ready(site: NeoSite, world: ColourWorld) -> NeoSite:
    """A site on the store of the colour world."""
    site.file.write_text(f'store = "{world.store.folder}"\nmlflow = "http://127.0.0.1:9"\n')
    return site


@contextmanager
def serving(site: NeoSite, *words: str, is_json: bool = False) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`neo serve` in a process of its own, and its address, once it is told."""
    process = site.start("serve", *words, "--port", "0", *(["--json"] if is_json else []))
    try:
        told = process.stderr if is_json else process.stdout
        assert told is not None
        lines = []
        for line in told:
            lines.append(line)
            if found := re.search(r"(http://127\.0\.0\.1:\d+) \(the page\)", line):
                break
        else:
            raise AssertionError(f"it did not start: {lines} {process.communicate()}")
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def asked(address: str, model: str, colour: str) -> str:
    shown = user(picture_part(data_uri(COLOURS[colour])), "What colour is it?")
    body = json.dumps({"model": model, "messages": [shown]}).encode()
    request = urllib.request.Request(f"{address}/v1/chat/completions", body, {"content-type": "application/json"})
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text: str = json.load(answer)["choices"][0]["message"]["content"]
                return text
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.1)
    raise AssertionError("it never listened")


def test_a_checkpoint_is_served_until_ctrl_c(ready: NeoSite, world: ColourWorld) -> None:
    fingerprint = world.make(world.checkpoint).fingerprint[:12]
    with serving(ready, fingerprint, is_json=True) as (process, address):
        assert asked(address, f"learn/{fingerprint}", "green") == "green"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["address"] == address and document["outcomes"] == {"answered": 1}
    assert document["next"].startswith(f"neo serve {fingerprint}")


def test_a_folder_is_served_under_its_own_name(ready: NeoSite, world: ColourWorld, tmp_path: Path) -> None:
    folder = world.open(world.checkpoint).copy_to(tmp_path / "my-model")
    with serving(ready, str(folder)) as (process, address):
        assert asked(address, "my-model", "red") == "red"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "answered after" in out and "Stopping once the answers in progress are sent" in out


def test_what_cannot_be_served_is_refused_in_words(ready: NeoSite, world: ColourWorld) -> None:
    fingerprint = world.make(world.checkpoint).fingerprint[:12]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = ready.neo("serve", fingerprint, "--port", port)
        assert said.code == 3 and f"port {port} of 127.0.0.1 is in use" in said.err
        assert f"Next: neo serve {fingerprint} --port 0" in said.err
    pictures = world.make(world.pictures).fingerprint[:12]
    said = ready.neo("serve", pictures, "--port", "0")
    assert said.code == 2 and "only a whole model answers" in said.err
    said = ready.neo("serve", "nothing-of-that-name", "--port", "0")
    assert said.code == 2 and "is no folder" in said.err
    said = ready.neo("serve", fingerprint, "--max-tokens", "100", "--max-new-tokens", "100", "--json")
    assert said.code == 2 and "leaves no room for a question" in said.json["error"]
    assert ready.neo("serve", fingerprint, "--port", "70000").code == 2
