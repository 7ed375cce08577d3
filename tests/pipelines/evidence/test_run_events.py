"""Events of a run fit OpenLineage's own schemas, name the same ids each time, and reach an endpoint."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from cluster.local import make
from pipelines.evidence.run_events import EndpointError, post_events
from tests.pipelines.conftest import TOYS, NeoSite
from tests.worlds.web_world import CARD, WeightsRecipe, tell_card

SCHEMAS = json.loads((Path(__file__).with_name("schemas") / "openlineage.json").read_text())["schemas"]
REGISTRY: Registry[Any] = Registry().with_resources([(one["$id"], Resource.from_contents(one)) for one in SCHEMAS])


def check(document: dict[str, Any], url: str) -> None:
    """Raise unless a document fits the schema that it names, and each facet in it the schema that that names."""
    schema = {"$ref": url}
    jsonschema.Draft202012Validator(
        schema, registry=REGISTRY, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(document)
    for facet in facets(document):
        check_facet(facet)


def check_facet(facet: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({"$ref": facet["_schemaURL"]}, registry=REGISTRY).validate(facet)


def facets(value: Any) -> Iterator[dict[str, Any]]:
    """Every facet inside a document."""
    if isinstance(value, dict):
        if "_schemaURL" in value:
            yield value
        for inner in value.values():
            yield from facets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facets(inner)


def events_of(site: NeoSite, ref: str) -> list[dict[str, Any]]:
    said = site.neo("disclose", ref, "--openlineage")
    assert said.code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def test_events_of_a_run_fit_their_schemas(site: NeoSite, copy: Path) -> None:
    events = events_of(site, "data")
    for event in events:
        check(event, event["schemaURL"])
    assert events[0]["eventType"] == "START" and events[-1]["eventType"] == "COMPLETE"
    jobs = [event["job"]["name"] for event in events]
    assert (jobs[0], jobs[-1]) == ("data", "data") and sorted(set(jobs)) == [
        "data", "data.kept", "data.mix", "data.pairs", "data.rows",
    ]  # fmt: skip
    for job in set(jobs):
        assert [event["eventType"] for event in events if event["job"]["name"] == job] == ["START", "COMPLETE"]
    assert [event["eventTime"] for event in events] == sorted(event["eventTime"] for event in events)
    made = {one["name"]: one for event in events for one in event["outputs"]}
    read = [one for event in events for one in event["inputs"]]
    assert len(made) == 4 and all(made[one["name"]]["facets"] == one["facets"] for one in read)
    assert events == events_of(site, "data") == events_of(site, "data/rows")


def test_a_failed_step_is_told_with_its_reason(site: NeoSite) -> None:
    assert site.neo("run", f"{TOYS}:broken").code == 1
    events = events_of(site, "broken")
    for event in events:
        check(event, event["schemaURL"])
    (failed,) = [event for event in events if event["eventType"] == "FAIL" and event["job"]["name"] == "broken.weights"]
    assert failed["run"]["facets"]["errorMessage"]["message"] and events[-1]["eventType"] == "FAIL"


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[tuple[str, str | None, dict[str, Any]]]]]:
    """An HTTP server: its address, and the path, key and body of each request. It refuses the 14th."""
    taken: list[tuple[str, str | None, dict[str, Any]]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((self.path, self.headers.get("Authorization"), body))
            self.send_response(500 if len(taken) == 14 else 201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


def test_events_are_posted_in_order_with_a_key(
    site: NeoSite, copy: Path, endpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, taken = endpoint
    assert "has no address for events" in site.neo("disclose", "data", "--openlineage", "--post").err
    site.file.write_text(site.file.read_text() + f'openlineage = "{address}/"\n')
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    said = site.neo("disclose", "data", "--openlineage", "--post", "--json")
    assert (said.code, said.json["num_events"]) == (0, 10), said.err
    assert [body for _, _, body in taken] == events_of(site, "data")
    assert {(path, key) for path, key, _ in taken} == {("/api/v1/lineage", "Bearer secret")}
    refused = site.neo("disclose", "data", "--openlineage", "--post")
    assert refused.code == 3 and "did not take event 4: HTTP Error 500" in refused.err and "3 were taken" in refused.err


def test_under_json_what_is_no_document_stands_in_one(site: NeoSite, copy: Path) -> None:
    said = site.neo("disclose", "data", "--openlineage", "--json")
    assert said.json["events"] == events_of(site, "data") and said.json["exit_code"] == 0
    made = make(tell_card.bind("card", WeightsRecipe()), site.store)
    ref = f"{made.stage}/{made.short}"
    assert site.neo("disclose", ref, "--card").out == CARD
    assert site.neo("disclose", ref, "--card", "--json").json["card"] == CARD


@pytest.mark.parametrize("address", ["localhost", "http://a b:5000", "http://localhost:9x", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused_in_words(address: str) -> None:
    with pytest.raises(EndpointError, match="did not take event 1"):
        post_events(address, [{}], None)


def test_an_endpoint_that_speaks_no_http_is_refused_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(EndpointError, match="did not take event 1"):
            post_events(f"http://127.0.0.1:{server.getsockname()[1]}", [{}], None)
        thread.join()


def test_one_form_at_a_time_and_words_for_what_has_none(site: NeoSite, copy: Path) -> None:
    for words in ((), ("--slsa", "--card"), ("--slsa", "--post")):
        assert site.neo("disclose", "data/rows", *words).code == 2
    assert "holds Rows, not ExportedCheckpoint" in site.neo("disclose", "data/rows", "--card").err
