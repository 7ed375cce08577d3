"""Deletes what a survey found, in an order of which any part may be missing.

Killed anywhere, nothing that is left looks whole: the manifest is quarantined first, records go before the files that
they name, copies of records before these. What something leads to by now is spared; see the README of this room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from pipelines.garbage.forgotten import forget
from pipelines.garbage.lists import CollectionEnd, end_list, list_key, name_uploads, write_list
from pipelines.garbage.reachability import ASIDE, Reachability
from pipelines.garbage.survey import BEGUN_TO_DELETE, INDEXES, Candidate, Objects, Survey, unnamed_uploads
from pipelines.runs.run import Run
from stages.artifacts.manifest import artifact_folder, manifest_key
from stages.artifacts.records import STEPS_PHASE
from stages.commit.attempt import AttemptId
from stages.commit.claims import DELETED_MARK, Claimant, ClaimHeldError, delete_claims
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.store import Store

AT_A_TIME = 1000
"""Objects that are deleted side by side before the next ones are looked at."""
BEGUN = "collected.begun.json"
"""Name of the mark of an artifact of which something may be gone: it is deleted to the end, whatever leads to it."""
LEADS_TO_IT_NOW = "a run, a name or an artifact that stays leads to it by now"


@dataclass
class Deletion:
    """One collection: what it deletes of a survey, and what it spares."""

    store: Store
    reached: Reachability
    grace: timedelta
    say: Callable[[str], None]
    spared: dict[str, str] = field(default_factory=dict)
    deleted: Objects = field(default_factory=Objects)
    num_artifacts: int = 0

    def carry_out(self, found: Survey) -> CollectionEnd:
        """Delete what the survey found, each once more looked at; returns how it ended, as the store has it too."""
        self.number = write_list(self.store, found)
        folder = list_key(self.number).rpartition("/")[0]
        before = next(written for _, _, written in self.store.objects(f"{folder}/")) - self.grace
        self._forget(found)
        for one in self._ordered(found):
            if one.objects.newest > before and one.why != BEGUN_TO_DELETE:
                self._spare(one.short, "it was written just now, by the clock of the store")
                self.reached.keep([one.artifact])
            elif one.is_whole and one.artifact in self.reached and one.why != BEGUN_TO_DELETE:
                self._spare(one.short, LEADS_TO_IT_NOW)
            elif one.is_whole:
                self._delete_artifact(one)
            else:
                self._delete_uploads(one, before)
        end = CollectionEnd(
            num_artifacts=self.num_artifacts,
            num_objects=self.deleted.number,
            size_bytes=self.deleted.size_bytes,
            spared=self.spared,
        )
        end_list(self.store, self.number, end)
        return end

    def _ordered(self, found: Survey) -> list[Candidate]:
        """What is deleted: artifacts before what they were made of, and uploads last.

        So wherever this ends, nothing is left without what it was made of, and what is spared keeps all of that.
        """
        whole = {one.artifact: one for one in found.deletable if one.is_whole}
        uploads = [one for one in found.deletable if not one.is_whole]
        return [*(whole[artifact] for artifact in self.reached.children_first(whole)), *uploads]

    def _spare(self, what: str, why: str) -> None:
        self.spared[what] = why
        self.say(f"{what} stays: {why}")

    def _forget(self, found: Survey) -> None:
        """From here on the runs keep nothing, but for those of which an attempt lives."""
        for name in found.runs:
            if not forget(Run(self.store, name)):
                self._spare(name, "an attempt of it is at work")
        self.reached.to_forget = frozenset()  # the marks count now, and those of a run that began again do not

    def _delete_artifact(self, one: Candidate) -> None:
        folder = artifact_folder(*one.artifact)
        claimant = Claimant(self.store, folder, one.short, AttemptId("gc", self.number))
        try:
            with claimant.claim_of_ended() as claim:
                if not self._may_delete(one, folder):
                    self._spare(one.short, LEADS_TO_IT_NOW)
                    return
                indexes = self.store.keys(f"{INDEXES}/{one.short}/")
                self._delete(sorted(indexes, key=lambda key: not key.endswith(".json")))
                for keys in _in_order(self.store, folder):
                    self._delete(keys)
        except ClaimHeldError as error:
            self._spare(one.short, f"{error.holder.holder} is at work on it")
            self.reached.keep([one.artifact])
            return
        delete_claims(self.store, folder, claim.number, self._delete_one)
        for prefix in (f"{INDEXES}/{one.short}", folder):
            _remove_empty_folders(self.store, prefix)
        self.deleted += one.objects
        self.num_artifacts += 1
        self.say(f"{one.short} is deleted: {one.objects.number:,} objects, {one.objects.size_bytes:,} bytes")

    def _may_delete(self, one: Candidate, folder: str) -> bool:
        """Quarantine the manifest of an artifact, and record that its deletion begins.

        False where something leads to it by now; it is then as it was, also where an earlier collection had marked it.
        """
        mark, begun, manifest = f"{folder}/{DELETED_MARK}", f"{folder}/{BEGUN}", manifest_key(*one.artifact)
        if self.store.size_bytes(begun) is not None:
            return True
        self.reached.refresh()
        if one.artifact not in self.reached:
            with fault_point("gc.marked", mark):
                self.store.create_json(mark, {"list": list_key(self.number)})
            if self.store.size_bytes(manifest) is not None:
                with fault_point("gc.quarantined", manifest):
                    self.store.quarantine(manifest, ASIDE)
            self.reached.refresh()
        if one.artifact not in self.reached:
            with fault_point("gc.marked", begun):
                self.store.create_json(begun, {"list": list_key(self.number)})
            return True
        self._put_back(manifest)
        with fault_point("gc.put_back", mark):
            self.store.delete(mark)
        return False

    def _put_back(self, key: str) -> None:
        """Undo the quarantine of a manifest, unless there is another by now."""
        number = first_missing(lambda number: self.store.size_bytes(f"{key}.{ASIDE}-{number}") is not None)
        if number and self.store.size_bytes(key) is None:
            with fault_point("gc.put_back", key):
                self.store.move(f"{key}.{ASIDE}-{number - 1}", key)

    def _delete_uploads(self, one: Candidate, before: datetime) -> None:
        """Delete uploads that were written until then from an artifact that stays, is committed and lends no parts."""
        self.reached.refresh()
        if one.artifact in self.reached.lends_parts:
            self._spare(one.short, "another artifact takes parts over from it by now")
            return
        unnamed = unnamed_uploads(self.store, one.artifact)
        found = {key: upload for key, upload in unnamed if upload.newest <= before}
        name_uploads(self.store, self.number, one.short, found)
        self._delete(list(found))
        _remove_empty_folders(self.store, f"{artifact_folder(*one.artifact)}/attempts")
        self.deleted += sum(found.values(), Objects())
        self.say(f"{one.short}: {len(found):,} uploads are deleted")

    def _delete(self, keys: Sequence[str]) -> None:
        rest = iter(keys)
        while batch := list(islice(rest, AT_A_TIME)):
            self.store.each(self._delete_one, batch)

    def _delete_one(self, key: str) -> None:
        with fault_point("gc.deleted", key):
            self.store.delete(key)


def _in_order(store: Store, folder: str) -> Iterator[list[str]]:
    """The keys of an artifact in groups: each group may go once those before it are gone; claims are left out.

    Records of checkpoints go one by one, the newest first: their numbers have no gap then, wherever it ends. So do the
    marks: that which says that something is gone before that which keeps attempts away.
    """
    groups: dict[str, list[str]] = {
        name: [] for name in ("copies", "records", "steps", "rest", "files", "aside", "mark")
    }
    for key in store.keys(f"{folder}/"):
        name = key.removeprefix(f"{folder}/")
        if not name.startswith("claims/"):
            groups[_group(name)].append(key)
    for name, keys in groups.items():
        if name in ("steps", "mark"):
            yield from ([key] for key in (reversed(keys) if name == "steps" else keys))
        else:
            yield keys


def _group(name: str) -> str:
    """What an object of an artifact is, by its name below the artifact's folder."""
    if name.startswith("phases/") and not name.endswith("/parts.json"):
        return "copies"
    if name.startswith(f"records/{STEPS_PHASE}/"):
        return "steps"
    if name.startswith(("records/", "attempts/")):
        return "records" if name.startswith("records/") else "files"
    if name in (BEGUN, DELETED_MARK):
        return "mark"
    return "aside" if f".{ASIDE}-" in name else "rest"


def _remove_empty_folders(store: Store, folder: str) -> None:
    """Remove the folders below a folder that hold nothing, and itself; a local store alone has any."""
    if store.folder is None:
        return
    root: Path = store.folder / folder
    for path in sorted((one for one in root.rglob("*") if one.is_dir()), reverse=True):
        with suppress(OSError):
            path.rmdir()
    with suppress(OSError):
        root.rmdir()
