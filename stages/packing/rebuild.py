"""Repairs a damaged part of committed rows, while others may be reading it.

Owns the sequence: find the damaged files, write the part again from the inputs of the rows, and replace the damaged
files, each of which must have the committed digest again. The manifest is not touched. Two processes may repair the
same part at once: they write the same bytes.
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
    """Repair the damaged files of a part. Returns the damage by key; {} where no file is damaged.

    Raises `StageError`, and replaces nothing, where a file that was written again differs from the committed one.
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
                    f"{entry.key} {complaints[entry.key]}, and written again it has another digest: other versions "
                    f"made it ({rows.head.versions}), or its inputs changed; restore it from a copy"
                )
        for entry in damaged:
            put_back(rows.store, made[entry.name], entry.key)
    return complaints
