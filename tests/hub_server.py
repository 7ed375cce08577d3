"""A loopback server that speaks as much of a model hub's protocol as listing and reading a repository take.

Trees, path information, commits of branches, and files under `resolve/` with ranges. Large files state their sha256,
as files in Git LFS do; small ones have the digest that git gives them.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_BYTES = 1000
"""Files above this size are served as if they were in Git LFS."""


@contextmanager
def hub_server(repos: dict[str, Path], commit: str = "c0ffee" + "0" * 34) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as repositories: `datasets/me/mine` or `models/me/mine` to a folder. All branches are at `commit`.

    Yields the address for `HF_ENDPOINT`, and the list of requests so far.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(has_body=False)

        def do_GET(self):
            self.answer(has_body=True)

        def do_POST(self):
            self.answer(has_body=True)

        def answer(self, has_body):
            asked.append(f"{self.command} {self.path}")
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            for name, folder in repos.items():
                kind, repo = name.split("/", 1)
                api, files = f"/api/{kind}/{repo}", f"/{name}/" if kind == "datasets" else f"/{repo}/"
                if path == api or path.startswith(f"{api}/"):
                    return self.about(repo, folder, path.removeprefix(api).strip("/"), sent)
                if path.startswith(f"{files}resolve/"):
                    revision, _, inside = path.removeprefix(f"{files}resolve/").partition("/")
                    return self.file(folder / inside, revision, has_body)
            return self.send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

        def about(self, repo, folder, what, sent):
            verb, _, rest = what.partition("/")
            if verb in ("", "revision"):
                return self.send_json({"id": repo, "_id": "1", "sha": commit, "siblings": [], "private": False})
            revision, _, inside = rest.partition("/")
            if revision not in (commit, "main"):
                return self.send(404, b'{"error": "Invalid rev"}', {"X-Error-Code": "RevisionNotFound"})
            if verb == "paths-info":
                data = parse_qs(sent.decode()) if b"paths=" in sent else json.loads(sent)
                paths = [folder / path for path in data["paths"]]
                return self.send_json([entry(path, folder) for path in paths if path.exists()])
            below = folder / inside
            if not below.is_dir():
                return self.send(404, b'{"error": "no entry"}', {"X-Error-Code": "EntryNotFound"})
            return self.send_json([entry(path, folder) for path in sorted(below.rglob("*"))])

        def file(self, path, revision, has_body):
            if revision not in (commit, "main") or not path.is_file():
                return self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            data = path.read_bytes()
            headers = {"ETag": f'"{git_digest(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
            if span := self.headers.get("Range"):
                start, _, end = span.removeprefix("bytes=").partition("-")
                last = min(int(end), len(data) - 1) if end else len(data) - 1
                headers["Content-Range"] = f"bytes {start}-{last}/{len(data)}"
                return self.send(206, data[int(start) : last + 1], headers, has_body)
            return self.send(200, data, headers, has_body)

        def send_json(self, value):
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def send(self, status, body, headers, has_body=True):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if has_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def entry(path: Path, folder: Path) -> dict[str, object]:
    """An entry of a tree, as the hub spells it."""
    name = path.relative_to(folder).as_posix()
    if path.is_dir():
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
    data = path.read_bytes()
    found: dict[str, object] = {"type": "file", "oid": git_digest(data), "size": len(data), "path": name}
    if len(data) > LARGE_BYTES:
        found["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return found


def git_digest(data: bytes) -> str:
    """The sha1 of a blob, as git names it."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
