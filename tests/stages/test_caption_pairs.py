"""Pairs get new captions from a served endpoint; each way in which one can fail ends in its reason."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local import make
from stages import caption_pairs as stage_file
from stages.artifacts.kinds import KeptPairs
from stages.caption_pairs import CaptionPairsRecipe, caption_pairs
from stages.captioning import endpoint as endpoint_file
from stages.captioning import shared_answers as shared_file
from stages.captioning.caption_cache import CaptionCache
from stages.captioning.endpoint import Endpoint
from stages.captioning.reasons import CaptionReason
from stages.captioning.shared_answers import SharedAnswers
from stages.contract import StageError, Step
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.formats.pairs import PairReader
from stages.formats.sample_table import read_table
from stages.store import private_folder as private_folder_file
from stages.store.errors import StoreError, StoreUnavailableError
from stages.store.store import Store
from tests.worlds.caption_server import Answer, CaptionServer, answered, caption_server, failed
from tests.worlds.mixture_world import PairsRecipe, make_pairs

RAW = make_pairs.bind("raw", PairsRecipe(num_pairs=24, num_parts=2, decodable=True))
RECIPE = CaptionPairsRecipe(model="toy-vl", prompt="Write better: {caption}", num_tries=3, num_at_once=4)


def good(words: str, before: int) -> Answer:
    return answered(f"  better {words.removeprefix('Write better: ')}\u200b")


@pytest.fixture(autouse=True)
def _own_cache_and_little_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_CAPTION_CACHE", str(tmp_path / "captions.sqlite"))
    plain = CaptionPairsRecipe.reach

    def impatient(recipe: CaptionPairsRecipe) -> Endpoint:
        return Endpoint(**{**plain(recipe).__dict__, "first_wait_seconds": 0.01})

    monkeypatch.setattr(CaptionPairsRecipe, "reach", impatient)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def server() -> Iterator[CaptionServer]:
    with caption_server(good) as served:
        yield served


def step(server: CaptionServer, **changes: Any) -> Step[KeptPairs]:
    return caption_pairs.bind("captions", RECIPE.model_copy(update={"endpoint": server.address, **changes}), RAW)


def rows(artifact: Any, name: str) -> list[dict[str, Any]]:
    return [row for part in artifact.parts for row in read_table(artifact.read(part.file(name))).to_pylist()]


def test_new_captions_stand_in_place_of_the_old_ones_which_are_kept(server: CaptionServer, store: Store) -> None:
    made = make(step(server), store)
    raw = {pair.sample_id: pair for pair in PairReader(make(RAW, store))}
    reader = PairReader(made)
    for pair in reader:
        assert pair.caption == f"better {raw[pair.sample_id].caption}"
        assert reader.image(pair.sample_id) == PairReader(make(RAW, store)).image(pair.sample_id)
    table = reader.read_table(reader.parts[0])
    assert set(table["caption_by"].to_pylist()) == {"toy-vl"}
    assert [raw[one].caption for one in table["sample_id"].to_pylist()] == table["original_caption"].to_pylist()
    assert made.manifest.items.kept == len(raw) == len(list(reader)) == sum(server.asked.values())
    assert {row["caption_by"] for row in rows(made, "verdicts.parquet")} == {"toy-vl"}


def test_a_filter_judges_the_new_captions(server: CaptionServer, store: Store) -> None:
    captions = step(server)
    kept = make(filter_pairs.bind("kept", FilterPairsRecipe(), captions), store)
    assert all(pair.caption.startswith("better ") for pair in PairReader(kept))
    assert 0 < kept.manifest.items.kept < make(captions, store).manifest.items.kept


def test_what_is_sent_is_the_picture_made_smaller_and_the_settings(store: Store) -> None:
    def unhurried(words: str, before: int) -> Answer:
        time.sleep(0.2)
        return good(words, before)

    with caption_server(unhurried) as server:
        make(step(server, max_side_px=100, temperature=0.5, seed=7, max_new_tokens=33), store)
    assert max(map(max, server.sizes)) == 100 and (64, 64) in server.sizes
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["seed"], body["max_tokens"]) == ("toy-vl", 0.5, 7, 33)
    assert server.keys == {None} and 1 < server.most_in_flight <= 4


def number_of(words: str) -> int:
    return int(words.split()[2])


HARD: dict[int, tuple[CaptionReason | None, Any]] = {
    0: (None, lambda before: failed(429, Retry_After="0") if before < 2 else answered("after waiting")),
    1: (CaptionReason.RATE_LIMITED, lambda before: failed(429, Retry_After="soon")),
    2: (None, lambda before: failed(500) if not before else answered("after a failure")),
    3: (CaptionReason.SERVER_ERROR, lambda before: failed(503)),
    4: (None, lambda before: (200, {}, b"<html>") if not before else answered("after nonsense")),
    5: (CaptionReason.ANSWER_UNREADABLE, lambda before: (200, {}, b'{"choices": [')),
    6: (CaptionReason.ANSWER_UNREADABLE, lambda before: (200, {}, b'{"choices": []}')),
    7: (CaptionReason.REFUSED, lambda before: answered(None, refusal="I cannot help with that.")),
    8: (CaptionReason.REFUSED, lambda before: answered("no", "content_filter")),
    10: (CaptionReason.CAPTION_EMPTY, lambda before: answered(" \u200b\n")),
    11: (CaptionReason.CAPTION_CUT, lambda before: answered("a picture of a", "length")),
    12: (CaptionReason.REQUEST_REJECTED, lambda before: failed(400)),
    13: (CaptionReason.ANSWER_UNREADABLE, lambda before: (200, {}, b'{"a": "' + b"x" * 2**21 + b'"}')),
    14: (CaptionReason.REQUEST_REJECTED, lambda before: failed(302, Location="http://127.0.0.1:9/")),
    15: (CaptionReason.ANSWER_UNREADABLE, lambda before: answered(["no", "text"])),
}
"""Pair to the reason with which it ends, and to what is answered."""


def hard(words: str, before: int) -> Answer:
    number = number_of(words)
    return HARD[number][1](before) if number in HARD else good(words, before)


def test_each_way_to_fail_ends_in_its_reason(store: Store) -> None:
    with caption_server(hard) as server:
        made = make(step(server), store)
    captions = {pair.sample_id: pair.caption for pair in PairReader(make(RAW, store))}
    found = {number_of(f"x x {captions[row['sample_id']]}"): row for row in rows(made, "verdicts.parquet")}
    for number, (reason, _) in HARD.items():
        assert found[number]["reason"] == (reason and reason.value), number
        assert found[number]["verdict"] == ("kept" if reason is None else reason.verdict.value)
    assert all(row["reason"] is None for number, row in found.items() if number not in HARD)
    tries = {number_of(words): times for words, times in server.asked.items()}
    assert tries[0] == 3 and tries[2] == tries[4] == 2 and tries[1] == tries[3] == tries[5] == 3
    assert tries[7] == tries[12] == tries[14] == 1
    kept = {pair.sample_id: pair.caption for pair in PairReader(made)}
    assert {"after waiting", "after a failure", "after nonsense"} <= set(kept.values())


def test_pairs_without_a_new_caption_may_keep_theirs(store: Store) -> None:
    with caption_server(hard) as server:
        made = make(step(server, without_caption="keep_original", keep_cut=True), store)
    captions = {number_of(f"x x {pair.caption}"): pair for pair in PairReader(make(RAW, store))}
    kept = {pair.sample_id: pair for pair in PairReader(made)}
    assert len(kept) == len(captions)
    assert kept[captions[7].sample_id].caption == captions[7].caption
    assert kept[captions[11].sample_id].caption == "a picture of a"
    by = {row["sample_id"]: row["caption_by"] for row in rows(made, "verdicts.parquet")}
    assert by[captions[7].sample_id] is None and by[captions[11].sample_id] == "toy-vl"


def test_a_resume_asks_nothing_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt dies when a part has all its answers, before it is recorded."""
    with caption_server(good) as server:
        with monkeypatch.context() as broken:
            broken.setattr(stage_file, "write_captions", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("killed")))
            with pytest.raises(RuntimeError, match="killed"):
                make(step(server), store)
        half = sum(server.asked.values())
        made = make(step(server), store)
    assert half > 0 and set(server.asked.values()) == {1}
    assert made.manifest.items.kept == sum(server.asked.values())


def test_another_machine_asks_nothing_twice_where_answers_are_shared(
    server: CaptionServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first machine is gone when a part has all its answers; the second has neither its cache nor its store."""
    shared = {"shared_answers": str(tmp_path / "shared")}
    with monkeypatch.context() as broken:
        broken.setattr(stage_file, "write_captions", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("lost")))
        with pytest.raises(RuntimeError, match="lost"):
            make(step(server, **shared), store)
    half = sum(server.asked.values())
    monkeypatch.setenv("NEO_CAPTION_CACHE", str(tmp_path / "other.sqlite"))
    made = make(step(server, **shared), Store(tmp_path / "other"))
    assert half > 0 and set(server.asked.values()) == {1}
    assert made.manifest.items.kept == sum(server.asked.values())

    make(step(server, model="other", **shared), store)
    assert set(server.asked.values()) == {2}, "another model's answers are none of this one's"
    objects = [file for file in (tmp_path / "shared").rglob("*") if file.is_file()]
    assert 0 < len(objects) <= 4


def left_at(place: str) -> dict[bytes, bytes]:
    return dict(SharedAnswers(place, "asking", "part").read())


def test_a_place_that_holds_nonsense_or_fails_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "shared")
    with CaptionCache(SharedAnswers(place, "asking", "part")) as cache:
        cache.put(b"a", b"one")
    (whole,) = (file for file in (tmp_path / "shared").rglob("*") if file.is_file())
    whole.with_name("0").write_bytes(b"no answers")
    assert left_at(place) == {b"a": b"one"} and "holds no answers" in caplog.text

    def is_down(*_: object) -> None:
        raise StoreUnavailableError("it is down")

    with monkeypatch.context() as broken:
        for name in ("keys", "overwrite"):
            broken.setattr(Store, name, is_down)
        with CaptionCache(SharedAnswers(place, "asking", "part")) as cache:
            cache.put(b"b", b"two")
            assert (cache.get(b"a"), cache.get(b"b")) == (b"one", b"two")
    assert "not shared with other machines any longer: it is down" in caplog.text
    with CaptionCache(SharedAnswers(place, "asking", "part")) as cache:
        assert cache.get(b"b") == b"two", "what this machine alone has is left for others when it is used again"
    assert left_at(place) == {b"a": b"one", b"b": b"two"}


def test_answers_are_shared_while_a_part_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_file, "FLUSH_SECONDS", 0.0)
    answers = SharedAnswers(str(tmp_path / "shared"), "asking", "part")
    for number in range(3):
        answers.add(bytes([number]), f"answer {number} \u00e9".encode())
    seen = dict(SharedAnswers(str(tmp_path / "shared"), "asking", "part").read())
    assert seen == {bytes([number]): f"answer {number} \u00e9".encode() for number in range(3)}
    assert not list(SharedAnswers(str(tmp_path / "shared"), "asking", "other part").read())


def test_a_place_that_is_another_one_on_each_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="give an absolute path"):
        CaptionPairsRecipe(model="m", shared_answers="answers")
    assert CaptionPairsRecipe(model="m", shared_answers="s3://bucket/answers").shared_answers
    for place in ("s3://key:secret@bucket/x", "https://user:pw@host/x"):
        with pytest.raises(ValueError, match="takes no user, password, signature or token"):
            CaptionPairsRecipe(model="m", shared_answers=place)
    with pytest.raises(ValueError, match="no place begins with foo://; known are s3, gs, az"):
        CaptionPairsRecipe(model="m", shared_answers="foo://x")


def test_answers_are_named_by_all_that_decides_them(server: CaptionServer, store: Store) -> None:
    make(step(server), store)
    num_pairs = sum(server.asked.values())
    for changes in ({"num_tries": 5}, {"keep_cut": True}):
        make(step(server, **changes), store)
    assert sum(server.asked.values()) == num_pairs, "these fields decide no answer"
    for number, changes in enumerate(
        ({"seed": 1}, {"model": "other"}, {"max_side_px": 99}, {"prompt": "Say: x {caption}"}), 2
    ):
        make(step(server, **changes), store)
        assert sum(server.asked.values()) == number * num_pairs


def test_one_picture_is_asked_about_once_for_one_wording(server: CaptionServer, store: Store) -> None:
    make(step(server, prompt="Describe it."), store)
    shas = [row["sha256"] for row in rows(make(RAW, store), "samples.parquet") if row["sha256"]]
    assert server.asked["Describe it."] == len(set(shas))


def test_the_key_travels_and_is_never_stored(
    server: CaptionServer, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=r"the environment has no TOY_KEY, which `key_variable` names"):
        make(step(server, key_variable="TOY_KEY"), store)
    assert not server.asked
    monkeypatch.setenv("TOY_KEY", "sk-very-secret")
    make(step(server, key_variable="TOY_KEY"), store)
    assert server.keys == {"Bearer sk-very-secret"}
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"very-secret" in file.read_bytes()]


@pytest.mark.parametrize(("status", "why"), [(401, "key is missing or wrong"), (404, "no such address or model")])
def test_an_endpoint_that_refuses_all_stops_the_step(status: int, why: str, store: Store) -> None:
    with caption_server(lambda words, before: failed(status)) as server:
        with pytest.raises(StageError, match=rf"refuses all: .*{why}"):
            make(step(server), store)
    assert sum(server.asked.values()) <= 8


def test_an_error_holds_no_key_even_where_it_is_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", "sk-very-secret")
    said = b"your key sk-very-secret is unknown " + b"x" * 454 + b" sk-very-secret is what you sent"
    with caption_server(lambda words, before: (401, {}, said)) as server:
        with pytest.raises(StageError, match=r"\(your key <key> is unknown x+") as raised:
            make(step(server, key_variable="TOY_KEY"), store)
    assert "sk-v" not in str(raised.value) and len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "address", ["https://me:word@host/v1", "https://me@host", "http://host/v1?key=word", "http://host/v1#word"]
)
def test_an_address_with_a_secret_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="takes no user, password, query or fragment; give the address alone"):
        CaptionPairsRecipe(model="m", endpoint=address)
    CaptionPairsRecipe(model="m", endpoint="https://host/accounts/@me/v1")


def test_the_cache_is_in_a_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEO_CAPTION_CACHE")
    monkeypatch.setattr(private_folder_file.tempfile, "gettempdir", lambda: str(tmp_path))
    with CaptionCache() as cache:
        cache.put(b"a", b"b")
    folder = tmp_path / f"neo-captions-{os.geteuid()}"
    assert cache.path.parent == folder and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(StoreError, match="others may write into"):
        CaptionCache()


def test_an_endpoint_that_is_down_stops_the_step_and_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_file, "FAILED_IN_A_ROW", 5)
    with caption_server(good) as server:
        pass
    with pytest.raises(StageError, match=r"failed 5 pictures in a row, 3 tries each, the last one as unreachable"):
        make(step(server), store)
    with caption_server(good) as again:
        made = make(step(again), store)
    assert made.manifest.items.kept == sum(again.asked.values())


def dies(words: str, before: int) -> Answer:
    """Of an endpoint that answers to ten pairs, and to no other."""
    return good(words, before) if number_of(words) < 10 else failed(502)


def test_an_endpoint_that_dies_with_few_pictures_left_loses_nothing(store: Store) -> None:
    with caption_server(dies) as server:
        server.hello = failed(502)
        with pytest.raises(StageError, match=r"in a row, 3 tries each, the last one as server_error: it is taken to"):
            make(step(server, num_at_once=1, max_share_lost=1.0), store)
        assert server.num_greetings >= 3
    with caption_server(good) as again:
        made = make(step(again), store)
    num_pairs = len(list(PairReader(make(RAW, store))))
    assert made.manifest.items.failed == {} and made.manifest.items.kept == num_pairs
    had_answers = {words for words in server.asked if number_of(words) < 10}
    assert had_answers and not had_answers & again.asked.keys() and again.num_greetings == 0


def test_pictures_at_which_a_sound_endpoint_fails_are_recorded(store: Store) -> None:
    with caption_server(dies) as server:
        made = make(step(server, num_at_once=1, max_share_lost=1.0), store)
    num_pairs = len(list(PairReader(make(RAW, store))))
    assert made.manifest.items.failed == {"server_error": num_pairs - 9} and made.manifest.items.kept == 9
    assert 0 < server.num_greetings <= 2


def test_a_slow_endpoint_runs_out_of_time(store: Store) -> None:
    def slow(words: str, before: int) -> Answer:
        if number_of(words) == 2:
            time.sleep(1)
        return good(words, before)

    with caption_server(slow) as server:
        made = make(step(server, timeout_seconds=0.3, num_tries=1), store)
    assert made.manifest.items.failed == {"unreachable": 1}


def test_a_picture_that_cannot_be_decoded_is_not_sent(server: CaptionServer, store: Store) -> None:
    noise = make_pairs.bind("raw", PairsRecipe(num_pairs=4, num_parts=1))
    recipe = RECIPE.model_copy(update={"endpoint": server.address, "max_share_lost": 1.0})
    made = make(caption_pairs.bind("captions", recipe, noise), store)
    assert made.manifest.items.failed == {"picture_unreadable": 4} and not server.asked


def test_the_endpoint_is_not_what_is_made(server: CaptionServer) -> None:
    elsewhere = RECIPE.model_copy(update={"endpoint": "https://example.org/v1", "num_at_once": 1, "key_variable": "K"})
    assert caption_pairs.bind("a", elsewhere, RAW).fingerprint == step(server).fingerprint
    assert step(server, num_tries=9).fingerprint != step(server).fingerprint
    with pytest.raises(ValueError, match="pattern"):
        CaptionPairsRecipe(model="m", endpoint="localhost:8000")


def test_every_reason_is_reached() -> None:
    reached = {reason for reason, _ in HARD.values()} | {CaptionReason.UNREACHABLE, CaptionReason.PICTURE_UNREADABLE}
    assert reached - {None} == set(CaptionReason)


def test_a_broken_cache_is_named(server: CaptionServer, store: Store, tmp_path: Path) -> None:
    (tmp_path / "captions.sqlite").write_text(json.dumps("no database") * 500)
    with pytest.raises(StageError, match=r"captions.sqlite cannot be used \(.*\); remove the file"):
        make(step(server), store)
