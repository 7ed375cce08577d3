"""What weights are said to have seen is what the batches of real trainings held, along all that they began from."""

from collections import Counter
from collections.abc import Iterator

import pytest

from pipelines.exposure.account import Exposure, exposure_to
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import CONVERSATIONS_FILE
from stages.contract import Step
from stages.formats.sample_table import read_table
from tests.spoil import flip
from tests.worlds.mixture_world import sample_id
from tests.worlds.noted_trainings import (
    AGAIN,
    CHAT,
    CHATS,
    LLM,
    MERGED,
    PREBUFFER,
    TAKEN,
    TALK_ROWS,
    NotedTrainings,
    short,
)

ALL = [sample_id(f"{kind} {number}") for kind in ("pair", "text", "chat") for number in range(18)]


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> NotedTrainings:
    """A pre-Buffer over two lists of rows, merged, tuned to the mean of two states, and cut out again."""
    found = NotedTrainings.at(tmp_path_factory.mktemp("noted"))
    for step in (PREBUFFER, MERGED, CHAT, TAKEN):
        found.make(step)
    return found


def about(noted: NotedTrainings, samples: list[bytes]) -> list[bytes]:
    """These samples, and the conversations about them."""
    chats: Artifact = noted.world.open(CHATS)
    tables = [read_table(chats.read(part.file(CONVERSATIONS_FILE))).to_pylist() for part in chats.parts]
    talks = [row["sample_id"] for table in tables for row in table if set(row["image_ids"]) & set(samples)]
    return [*samples, *talks]


def steps_in(exposure: Exposure) -> dict[str, Counter[int]]:
    """Training to the number of documents that each step read."""
    return {
        one.training.short: Counter(dict(zip(one.reads.steps.tolist(), one.reads.documents.tolist(), strict=True)))
        for one in exposure.trained_on
    }


def check(noted: NotedTrainings, weights: Step, trained: list[Step], samples: list[bytes]) -> Exposure:
    """The exposure is what was noted; of each sample by itself, too."""
    exposure = exposure_to(noted.world.store, short(weights), samples)
    wanted = about(noted, samples)
    assert steps_in(exposure) == {short(step): noted.times(step, wanted) for step in trained}
    held = Counter(
        bytes.fromhex(sample)
        for step in trained
        for batches in noted.batches[step.fingerprint].values()
        for batch in batches
        for sample in batch["samples"]
        if bytes.fromhex(sample) in wanted
    )
    assert exposure.times_by_sample == held and exposure.times == held.total()
    return exposure


def groups() -> Iterator[list[bytes]]:
    yield [sample_id("pair 1")]
    yield [sample_id("text 3")]
    yield [sample_id("chat 2")]
    yield [sample_id("pair 3")]  # too small for the filter
    yield ALL[::5]
    yield ALL


def test_what_was_seen_is_what_all_batches_held_along_all_weights(noted: NotedTrainings) -> None:
    for samples in groups():
        check(noted, PREBUFFER, [PREBUFFER], samples)
        check(noted, MERGED, [PREBUFFER], samples)
        check(noted, CHAT, [PREBUFFER, CHAT], samples)
        check(noted, TAKEN, [PREBUFFER, CHAT], samples)


def test_a_language_model_from_outside_is_not_known_and_0_is_not_claimed(noted: NotedTrainings) -> None:
    never = exposure_to(noted.world.store, short(CHAT), [b"\0" * 16])
    assert never.times == 0 and not never.is_known and not never.doubts
    (unknown,) = never.not_known
    assert unknown.short == short(LLM) and "what it was trained on before is not in this store" in unknown.why


def test_a_damaged_index_is_a_doubt_about_all_that_was_trained_on_it(noted: NotedTrainings) -> None:
    rows = noted.world.open(TALK_ROWS)
    for phase, name in (("write", "index.parquet"), ("plan", "sample_rows.bin")):
        entry = next(part for part in rows.phase(phase)).file(name)
        path = noted.world.store.folder / entry.key
        whole = path.read_bytes()
        flip(path)
        try:
            exposure = exposure_to(noted.world.store, short(CHAT), ALL)
            assert exposure.doubts and name in exposure.doubts[0] and not exposure.is_known
        finally:
            path.write_bytes(whole)


@pytest.mark.long
def test_forks_and_pre_buffers_that_were_cut_out_carry_what_was_seen_before(noted: NotedTrainings) -> None:
    """A moving average and another language model's rows, too. What the fork skips of its origin it has not seen."""
    noted.make(AGAIN)
    fork = noted.fork(PREBUFFER, 4, PREBUFFER)
    noted.make(fork)
    noted.batches[fork.fingerprint] |= {step: noted.batches[PREBUFFER.fingerprint][step] for step in range(1, 5)}
    for samples in groups():
        check(noted, AGAIN, [PREBUFFER, CHAT, AGAIN], samples)
        check(noted, fork, [fork], samples)
