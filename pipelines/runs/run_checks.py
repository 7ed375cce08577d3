"""Records of runs compared with each other: what a resume, or a rebuild of MLflow, would read.

Owns the checks of frozen plans, attempts, submissions, queued messages, names and the store's own record. These are no
part of an artifact: an audit of an artifact checks those of the runs that made it and what it was made of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from pipelines.planning.code_diff import code_texts
from pipelines.planning.request import Request
from pipelines.runs.outbox import MESSAGE, Message
from pipelines.runs.run import ATTEMPT, ATTEMPT_END, Run
from pipelines.runs.submissions import SUBMISSION, SUBMISSION_END
from stages.artifacts.manifest import manifest_key
from stages.commit.inputs import PINNED_FILES
from stages.commit.repair import Damage, quarantine_key
from stages.contract.source import digest_of
from stages.store.errors import StoreError
from stages.store.metadata import METADATA, METADATA_KEY, open_store
from stages.store.record_kind import RecordKind
from stages.store.refs import OF_ARTIFACT, OF_RUN, REF
from stages.store.store import Store

NUMBERED = re.compile(r"(\d+)(\.[a-z.]+)")
MESSAGES_AT_A_TIME = 4096


def check_store(store: Store) -> Iterator[Damage]:
    """What is wrong with the store's own record."""
    try:
        if store.read(METADATA_KEY) is None:
            yield Damage(METADATA_KEY, "is missing")
            return
        open_store(store, single_writer=True)
        metadata = METADATA.read_existing(store, METADATA_KEY)
        UUID(metadata.uuid)
    except StoreError as error:
        yield Damage(METADATA_KEY, f"is torn: {error}")
    except ValueError:
        yield Damage(METADATA_KEY, "states no uuid")


def check_run(run: Run, plan_sha256s: Iterable[str]) -> Iterator[Damage]:
    """What is wrong with the records of a run. `plan_sha256s` are those that manifests recorded of its frozen plan."""
    store, key = run.store, f"{run.folder}/plan.json"
    try:
        request = run.request
    except StoreError as error:
        yield Damage(key, f"cannot be used: {error}")
        return
    if request.run != run.name:
        yield Damage(key, f"is of another run: its steps and fingerprints name it {request.run}")
    elif (recorded := set(plan_sha256s)) and run.plan_sha256 not in recorded:
        yield Damage(key, "is not as it was when the run's artifacts were committed: its sha256 is another")
    yield from _check_kept(store, request)
    yield from _check_attempts(run)
    yield from _check_messages(run)
    yield from _check_numbered(store, f"{run.folder}/submissions/", 1, SUBMISSION, SUBMISSION_END)


def check_names(store: Store, request: Request) -> Iterator[Damage]:
    """What is wrong with the names of a pipeline: of its newest run, and of each step's artifact.

    A name is moved by the next run of the pipeline, so a name that is wrong is mended by it.
    """
    yield from _check_name(store, request.pipeline, OF_RUN)
    for step in request.steps:
        is_committed = store.size_bytes(manifest_key(step.stage, step.fingerprint)) is not None
        must_be = is_committed and not step.used
        yield from _check_name(store, f"{request.pipeline}/{step.name}", OF_ARTIFACT, must_be=must_be)


def _check_name(store: Store, name: str, has: tuple[str, ...], *, must_be: bool = True) -> Iterator[Damage]:
    """Versions of a name that are missing or cannot be read; whether the last points at what the store holds."""
    prefix = f"refs/{name}/"
    values, found = _numbered(store, prefix), dict[str, Any]()
    last = max(values.get(".json", ()), default=-1)
    if last < 0 and must_be:
        yield Damage(f"{prefix}0.json", "is missing: the name points at nothing")
    for number in range(last + 1):
        key = f"{prefix}{number}.json"
        try:
            found = REF.read_existing(store, key)
        except StoreError as error:
            yield Damage(key, f"cannot be used: {error}")
            continue
        lacking = [field for field in has if not isinstance(found.get(field), str)]
        if lacking:
            yield Damage(key, f"has no {', '.join(lacking)}")
            found = {}
    if found:
        yield from _check_target(store, f"{prefix}{last}.json", found)


def _check_target(store: Store, key: str, ref: Mapping[str, Any]) -> Iterator[Damage]:
    """Whether a version of a name points at a run and a manifest that the store holds, with the sha256 it states."""
    run = ref.get("run")
    if run is not None and store.size_bytes(f"runs/{run}/plan.json") is None:
        yield Damage(key, f"names run {run}, of which there is no plan")
    if "fingerprint" not in ref:
        return
    manifest = manifest_key(ref["stage"], ref["fingerprint"])
    versions = [data for data in store.read_many([manifest, quarantine_key(manifest)]) if data is not None]
    if not versions:
        yield Damage(key, f"points at {manifest}, which is missing")
    elif ref.get("manifest_sha256") not in {hashlib.sha256(data).hexdigest() for data in versions}:
        yield Damage(key, f"states another sha256 than {manifest} has")


def _check_kept(store: Store, request: Request) -> Iterator[Damage]:
    """The lists of the files of the run's sources, and the code of its user's stages."""
    for source in request.sources.values():
        try:
            kept = PINNED_FILES.read_existing(store, source.key)
        except StoreError as error:
            yield Damage(source.key, f"cannot be used: {error}")
            continue
        if not source.key.startswith(f"sources/{digest_of(kept.files)}"):
            yield Damage(source.key, "lists other files than its name says")
    file = request.user_file if any(step.code for step in request.steps) else None
    for key, text in code_texts(file).items() if file else ():
        data = store.read(key)
        if data != text.encode():
            yield Damage(key, "is missing" if data is None else "differs from the text in the run's plan")


def _check_attempts(run: Run) -> Iterator[Damage]:
    yield from _check_numbered(run.store, f"{run.folder}/attempts/", 1, ATTEMPT, ATTEMPT_END)
    for record in run.attempts():
        key = f"{run.folder}/attempts/{record.number}.json"
        if run.store.size_bytes(key) is None:
            yield Damage(key, "states the number of another attempt")


def _check_numbered(
    store: Store, prefix: str, first: int, kind: RecordKind[Any], end_kind: RecordKind[Any]
) -> Iterator[Damage]:
    """Numbered records that are missing, or cannot be read, and those of their ends."""
    found = _numbered(store, prefix)
    numbers = set().union(*found.values()) if found else set()
    for number in range(first, max(numbers, default=first - 1) + 1):
        for ending, one in ((".json", kind), (".ended.json", end_kind)):
            key = f"{prefix}{number}{ending}"
            try:
                if ending == ".json" or number in found.get(ending, ()):
                    one.read_existing(store, key)
            except StoreError as error:
                yield Damage(key, f"cannot be used: {error}")


def _check_messages(run: Run) -> Iterator[Damage]:
    """Messages for MLflow that are missing or cannot be read: gaps in their numbers, and ends of attempts untold."""
    store, prefix = run.store, f"{run.folder}/outbox/"
    found = _numbered(store, prefix)
    last = max(set().union(*found.values()), default=-1) if found else -1
    told: set[tuple[str, int]] = set()
    for first in range(0, last + 1, MESSAGES_AT_A_TIME):
        keys = [f"{prefix}{number:08d}.json" for number in range(first, min(first + MESSAGES_AT_A_TIME, last + 1))]
        for key, message in zip(keys, MESSAGE.read_many(store, keys), strict=True):
            if isinstance(message, Message):
                told.add((message.kind, message.attempt))
            else:
                yield Damage(key, f"cannot be used: {message or MESSAGE.missing(store, key)}")
    for number in range(1, run.num_attempts + 1):  # an end is queued before it is recorded
        if run.end(number) is not None and ("attempt_ended", number) not in told:
            yield Damage(prefix, f"has no message of the end of attempt {number}, which is recorded: messages are gone")


def _numbered(store: Store, prefix: str) -> dict[str, set[int]]:
    """Ending, such as `.json`, to the numbers of the objects directly below a prefix that have it."""
    found: dict[str, set[int]] = {}
    for key in store.keys(prefix):
        if match := NUMBERED.fullmatch(key.removeprefix(prefix)):
            found.setdefault(match[2], set()).add(int(match[1]))
    return found
