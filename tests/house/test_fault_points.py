"""Every commit stands inside a fault point, and every fault point stands where this page says.

Read from the sources: what writes to the store in a way that others can see, moves or deletes, can be made to fail.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.store.fault_points import POINTS

ROOT = Path(__file__).parents[2]
FLOORS = ("stages", "cluster", "pipelines")
FILES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))

COMMITS = {"create", "create_json", "quarantine", "move", "upload", "delete"}
"""Methods of a store that change what it holds."""
COMMITTING_FUNCTIONS = {"set_ref"}
STORE_ROOMS = ("stages/store",)
"""What these files are called begins so: there the methods are made of each other."""

PLACES = {
    "takedown.list_kept": {"pipelines/takedowns/records.py:keep_list"},
    "takedown.found": {"pipelines/takedowns/held.py:keep_held_parts"},
    "takedown.recorded": {"pipelines/takedowns/records.py:record"},
    "store.metadata_created": {"stages/store/metadata.py:_create"},
    "source.kept": {"stages/commit/inputs.py:keep_pin"},
    "run.frozen": {"pipelines/runs/run.py:open_run"},
    "attempt.begun": {"pipelines/runs/run.py:begin_attempt"},
    "attempt.ended": {"pipelines/runs/run.py:end_attempt"},
    "cancel.asked": {"pipelines/runs/run.py:request_stop"},
    "claim.taken": {
        "stages/commit/claims.py:_take",
        "stages/commit/claims.py:_is_last",
        "stages/commit/claims.py:delete_claims",
    },
    "claim.released": {"stages/commit/claims.py:_release"},
    "submission.recorded": {"pipelines/runs/submissions.py:begin"},
    "job.submitted": {"pipelines/commands/submit.py:_submit"},
    "submission.ended": {"pipelines/runs/submissions.py:end_without_attempt"},
    "run.settled": {"pipelines/runs/settled.py:mark_settled", "pipelines/runs/settled.py:forget_settled"},
    "log.kept": {
        "pipelines/runs/log.py:_write",
        "pipelines/runs/log.py:keep_traceback",
        "stages/commit/run_files.py:keep_log",
        "stages/commit/run_files.py:keep_output",
        "stages/commit/run_files.py:keep_picture",
    },
    "picture.kept": {"pipelines/running/summary.py:_pictures"},
    "step.noted": {"pipelines/runs/feed.py:keep_step_record"},
    "ref.set": {
        "pipelines/running/names.py:point_name",
        "pipelines/running/names.py:point_at_run",
        "pipelines/commands/push.py:_record",
    },
    "inputs.recorded": {
        "stages/commit/inputs.py:_create_or_compare",
        "stages/commit/inputs.py:record_conduct_inputs",
    },
    "fork.held": {"stages/commit/checkpoints.py:begin_fork"},
    "fork.recorded": {"stages/commit/checkpoints.py:begin_fork"},
    "phase.listed": {"stages/commit/parts.py:open_phase"},
    "part.taken_over": {"stages/commit/parts.py:_take_over", "stages/commit/parts.py:take"},
    "phase.gathered": {"stages/commit/phase_records.py:_write_bundle"},
    "part.files_written": {"stages/commit/parts.py:_make_part"},
    "part.uploaded": {"stages/commit/parts.py:_make_part", "stages/commit/repair.py:put_back"},
    "part.recorded": {
        "stages/commit/parts.py:_make_part",
        "stages/commit/recorded_facts.py:record_fact",
        "pipelines/lineage/repair.py:_write_again",
    },
    "profile.kept": {"stages/commit/artifact_writer.py:keep_profile"},
    "repair.recorded": {"stages/commit/repair.py:record_repair"},
    "record.quarantined": {
        "stages/commit/repair.py:put_back",
        "stages/commit/phase_records.py:read_record",
        "stages/commit/phase_records.py:_take_bundle",
        "stages/commit/checkpoints.py:roll_back",
        "stages/commit/execute_step.py:_committed",
        "stages/commit/inputs.py:record_inputs",
        "pipelines/lineage/repair.py:_move",
        "pipelines/lineage/repair.py:_write_again",
        "pipelines/lineage/repair.py:_quarantine_copy",
    },
    "artifact.manifest_created": {"stages/commit/execute_step.py:_commit"},
    "artifact.head_written": {"stages/commit/execute_step.py:_write_head"},
    "rows.mapped": {"stages/formats/packed_rows/row_map.py:make_map"},
    "index.uploaded": {"pipelines/indexes/build.py:_upload", "pipelines/indexes/tables.py:keep"},
    "index.recorded": {"pipelines/indexes/build.py:_record"},
    "index.deleted": {"pipelines/indexes/build.py:_delete"},
    "checkpoint.files_written": {
        "stages/training/checkpoints/checkpoint.py:begin",
        "stages/training/checkpoints/checkpoint.py:upload",
        "stages/training/checkpoints/checkpoint.py:commit_model",
    },
    "checkpoint.uploaded": {"stages/commit/checkpoints.py:upload"},
    "checkpoint.gathered": {"stages/training/checkpoints/in_flight.py:_advance"},
    "checkpoint.recorded": {"stages/commit/checkpoints.py:commit"},
    "checkpoint.retired": {"stages/commit/checkpoints.py:delete", "pipelines/lineage/repair.py:_retire"},
    "audit.noted": {"pipelines/lineage/audit_notes.py:_create"},
    "checkpoint.deleted": {"stages/commit/checkpoints.py:delete"},
    "outbox.appended": {"pipelines/runs/outbox.py:append"},
    "outbox.marked_sent": {"pipelines/runs/outbox.py:mark_sent"},
    "gc.listed": {"pipelines/garbage/lists.py:write_list", "pipelines/garbage/lists.py:name_uploads"},
    "gc.marked": {"pipelines/garbage/deletion.py:_may_delete"},
    "gc.forgotten": {"pipelines/garbage/forgotten.py:forget"},
    "gc.quarantined": {"pipelines/garbage/deletion.py:_may_delete"},
    "gc.put_back": {"pipelines/garbage/deletion.py:_may_delete", "pipelines/garbage/deletion.py:_put_back"},
    "gc.deleted": {"pipelines/garbage/deletion.py:_delete_one"},
    "gc.ended": {"pipelines/garbage/lists.py:end_list"},
    "tracker.op_sent": {"pipelines/tracking/delivery.py:_deliver_and_mark"},
}
"""Point to the functions in which it stands, or from which its name is handed to the one that commits."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [p for p in FILES if not name_of(p).startswith(STORE_ROOMS)], ids=name_of)
def test_a_commit_stands_inside_a_fault_point(path: Path) -> None:
    tree = ast.parse(path.read_text())
    guarded = {id(inner) for node in ast.walk(tree) if is_guard(node) for inner in ast.walk(node)}
    bare = [node.lineno for node in ast.walk(tree) if is_commit(node) and id(node) not in guarded]
    assert not bare, f"put what {name_of(path)} commits on lines {bare} inside `with fault_point(...)`"


def test_each_fault_point_stands_where_it_is_expected() -> None:
    found: dict[str, set[str]] = {}
    for path in FILES:
        for function in functions(ast.parse(path.read_text())):
            for node in ast.walk(function):
                if isinstance(node, ast.Constant) and node.value in POINTS:
                    found.setdefault(node.value, set()).add(f"{name_of(path)}:{function.name}")
    assert found == PLACES
    assert set(POINTS) == PLACES.keys()


def test_what_counts_as_a_commit_is_seen() -> None:
    """The reading of the sources itself: a call is seen through any name of a store, and a guard covers its body."""
    calls = ("spec.store.create_json(key, 1)", "self.store.delete(key)", "set_ref(store, name, 1)", "queue.create(1)")
    assert [is_commit(ast.parse(call, mode="eval").body) for call in calls] == [True, True, True, False]
    guard = ast.parse("with open(x), fault_point('ref.set'):\n    pass").body[0]
    assert is_guard(guard)
    assert not is_guard(ast.parse("with open(x):\n    pass").body[0])


def is_commit(node: ast.AST) -> bool:
    """Whether a node is a call such as `run.store.create(...)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in COMMITTING_FUNCTIONS
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in COMMITS):
        return False
    holder = node.func.value
    last = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
    return last.lstrip("_") == "store"


def is_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.With) and any(
        isinstance(item.context_expr, ast.Call) and getattr(item.context_expr.func, "id", "") == "fault_point"
        for item in node.items
    )


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
