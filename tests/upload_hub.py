"""A loopback server that takes uploads as a model hub does: repositories, preupload, Git LFS, commits, their trees.

It holds everything in memory. A commit is refused where its parent is not the newest one, or a large file was not
uploaded before. Only requests with the right token are answered.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

from tests.hub_server import git_digest

TOKEN = "hf_" + "s3cret" * 5
LICENCES = ("apache-2.0", "mit", "other")
"""Licences that this hub lists."""


@dataclass
class Repository:
    """Files of every commit, newest last: path to content, and which paths are large files."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    messages: list[str] = field(default_factory=list)
    large: set[str] = field(default_factory=set)

    @property
    def newest(self) -> str:
        return [*self.commits][-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.newest]


@dataclass
class Hub:
    """The state of the server, and what it was asked."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files that were uploaded, by sha256."""
    requests: list[str] = field(default_factory=list)
    breaks_at: str = ""
    """Beginning of the path of requests that are answered with 500."""

    def asked(self, *beginnings: str) -> list[str]:
        """The requests so far that begin so."""
        return [one for one in self.requests if one.startswith(beginnings)]


@contextmanager
def upload_hub() -> Iterator[Hub]:
    """Serve an empty hub; yields its state, with the address for `HF_ENDPOINT`."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer()

        def do_POST(self):
            self.answer()

        def do_PUT(self):
            self.answer()

        def answer(self):
            path = unquote(urlsplit(self.path).path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.requests.append(f"{self.command} {path}")
            if path.startswith("/upload/"):
                hub.objects[path.removeprefix("/upload/")] = sent
                return self.send(200, {})
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self.send(401, {"error": "Invalid credentials"})
            if hub.breaks_at and path.startswith(hub.breaks_at):
                return self.send(500, {"error": "broken"})
            if path == "/api/repos/create":
                return self.create(json.loads(sent))
            if path == "/api/validate-yaml":
                return self.validate(json.loads(sent)["content"])
            if path.endswith(".git/info/lfs/objects/batch"):
                return self.batch(json.loads(sent))
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            repository = hub.repositories.get(f"{owner}/{name}")
            if repository is None:
                return self.send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            verb, revision = rest if rest else ("", "main")
            return getattr(self, verb or "info")(repository, revision, sent)

        def create(self, asked):
            name = f"{asked['organization']}/{asked['name']}"
            if asked["organization"] == "others":
                return self.send(403, {"error": "You don't have the rights"})
            hub.repositories[name] = Repository(private=asked.get("visibility", "public") == "private")
            return self.send(200, {"url": f"{hub.address}/{name}"})

        def info(self, repository, *_):
            name = next(name for name, one in hub.repositories.items() if one is repository)
            told = {"id": name, "_id": "1", "sha": repository.newest, "private": repository.private, "siblings": []}
            return self.send(200, told)

        def tree(self, repository, revision, _):
            return self.send(200, [*entries(repository, revision)])

        def validate(self, card):
            data = yaml.safe_load(card.split("---")[1]) or {}
            if data.get("license") not in (None, *LICENCES):
                return self.send(400, {"error": "bad", "errors": [{"message": '"license" must be one of'}]})
            warnings = [] if data.get("license") else [{"message": "empty license"}]
            return self.send(200, {"errors": [], "warnings": warnings})

        def preupload(self, repository, _, sent):
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(sent)["files"]
            ]
            return self.send(200, {"files": files})

        def batch(self, asked):
            objects = []
            for one in asked["objects"]:
                there = {"actions": {"upload": {"href": f"{hub.address}/upload/{one['oid']}"}}}
                objects.append({**one, **({} if one["oid"] in hub.objects else there)})
            return self.send(200, {"transfer": "basic", "objects": objects})

        def commit(self, repository, _, sent):
            lines = [json.loads(line) for line in sent.splitlines()]
            if lines[0]["value"]["parentCommit"] != repository.newest:
                return self.send(412, {"error": "A commit has happened since"})
            files = dict(repository.files)
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
                elif value["oid"] not in hub.objects:
                    return self.send(400, {"error": f"{value['path']} was not uploaded"})
                else:
                    files[value["path"]] = hub.objects[value["oid"]]
                    repository.large.add(value["path"])
            oid = hashlib.sha1(sent).hexdigest()
            repository.commits[oid] = files
            repository.messages.append(lines[0]["value"]["summary"])
            name = next(name for name, one in hub.repositories.items() if one is repository)
            return self.send(200, {"commitUrl": f"{hub.address}/{name}/commit/{oid}", "commitOid": oid})

        def send(self, status, value, headers=None):
            body = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def entries(repository: Repository, revision: str) -> Iterator[dict[str, object]]:
    """The entries of a tree, as a hub spells them."""
    for path, data in repository.commits[repository.newest if revision == "main" else revision].items():
        found: dict[str, object] = {"type": "file", "oid": git_digest(data), "size": len(data), "path": path}
        if path in repository.large:
            found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        yield found
