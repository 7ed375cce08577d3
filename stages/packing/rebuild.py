"""A damaged part of committed rows, made again while somebody reads it.

Owns the order: look what is damaged, make the part again from the rows' own inputs, and put back only what comes out
as it was committed. The manifest stands all the while and stays true; whoever does it at the same time puts the same.
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
    """Make whole what is damaged of a part; returns what was wrong with which key, {} where nothing is, any more.

    Raises `StageError` where it comes out otherwise than it was committed: then nothing is put back.
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
