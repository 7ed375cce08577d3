"""Profiles: what people look at of a stage's work, kept beside its artifact and no part of its content.

    artifacts/<stage>/<fingerprint>/profiles/<phase>/<part>.json   counts and examples of one part
                                   /records/profile/pictures.json  the record of what was drawn of all parts

Owns the keys, and finds the pictures. The manifest lists none of these, so an artifact is the same with other pictures
or with none; `neo audit` does not look at them. `stages/profiles/` owns what is in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from stages.artifacts.artifact import CommittedArtifact
from stages.artifacts.records import PART_RECORD, PROFILE_PHASE, FileEntry, PartRecord

PICTURES_PART: Final = "pictures"
"""Name of the one part of phase `profile`."""


def profile_key(folder: str, phase: str, part: str) -> str:
    """Where the profile of a part lies; `folder` is the artifact's key prefix."""
    return f"{folder}/profiles/{phase}/{part}.json"


def profile_keys(records: Iterable[PartRecord]) -> list[str]:
    """Where the profiles of these parts lie: below the artifact that holds their files. Parts without files have none.

    A part may lie in the folder of another artifact, which made it, maybe in a phase of another name: files lie at
    `artifacts/<stage>/<fingerprint>/attempts/<attempt>/<phase>/...`.
    """
    keys = []
    for record in records:
        if record.files:
            names = record.files[0].key.split("/")
            phase = names[5] if names[3] == "attempts" and len(names) > 6 else record.phase
            keys.append(profile_key("/".join(names[:3]), phase, record.part))
    return keys


def profile_files(artifact: CommittedArtifact) -> tuple[FileEntry, ...]:
    """The files that were drawn of an artifact: pictures, and the numbers behind them; () where none were."""
    key = f"{artifact.folder}/records/{PROFILE_PHASE}/{PICTURES_PART}.json"
    record = PART_RECORD.read_or_skip(artifact.store, key)
    return () if record is None else record.files


def profile_pictures(artifact: CommittedArtifact) -> list[FileEntry]:
    """The pictures that were drawn of an artifact, in the order of their names."""
    return [entry for entry in profile_files(artifact) if entry.name.endswith(".png")]
