"""Repairs a damaged part of committed rows, while others may be reading it.

Owns the sequence: find the damaged files, make the part again from the inputs of the rows, and replace only files that
come out with the committed digest. The manifest is not touched and stays true; two processes that repair the same part
at once write the same bytes.
"""

from __future__ import annotations

from stages.artifacts.kinds import ROWS_PHASE, Rows
from stages.artifacts.records import sha256_of
from stages.commit.draft import Draft
from stages.commit.repair import damaged_files, put_back, record_repair
from stages.commit.scratch import scratch_folder
from stages.contract import StageError
from stages.packing.write import rewrite_part


def rebuild_part(rows: Rows, part: str) -> dict[str, str]:
    """Repair the damaged files of a part; returns the damage by key, {} where there is none (any more).

    Raises `StageError` where a file comes out other than it was committed: then nothing is replaced.
    """
    record = rows.part(part, ROWS_PHASE)
    complaints = dict(damaged_files(rows.store, record))
    if not complaints:
        return {}
    record_repair(rows.store, rows.folder, complaints)
    with scratch_folder(f"rebuild-{part}") as scratch:
        draft = Draft(scratch=scratch, report=lambda _num_done: None)
        rewrite_part(rows, part, draft)
        made = dict(draft.files())
        damaged = [entry for entry in record.files if entry.key in complaints]
        for entry in damaged:
            if entry.name not in made or sha256_of(made[entry.name]) != entry.sha256:
                raise StageError(
                    f"{entry.key} {complaints[entry.key]}, and made again it comes out different: another version "
                    f"made it ({rows.manifest.versions}), or what it was made of changed; put it back from a copy"
                )
        for entry in damaged:
            put_back(rows.store, made[entry.name], entry.key)
    return complaints
