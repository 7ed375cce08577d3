"""Small stages with the kinds and tables of the real ones: from a URL table by way of verdicts, draw and rows to
weights and an evaluation, in a second or two."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from stages.artifacts.kinds import (
    SAMPLE_ROWS_FILE,
    SAMPLE_ROWS_OFFSETS_FILE,
    BaseLlm,
    Checkpoint,
    Draw,
    Evaluation,
    KeptPairs,
    RawPairs,
    Rows,
)
from stages.artifacts.records import ItemBalance, PartRecord
from stages.contract import InterruptedRunError, Part, PartDraft, Rank, Recipe, StageContext, conduct, stage
from tests.worlds.cluster_world import commit_together, first_of


class FetchRecipe(Recipe):
    num_urls: int = 12
    """Rows of the URL table; every fifth is not there."""
    num_parts: int = 3
    pause_seconds: float = 0.0
    """How long a part takes."""
    max_share_lost: float = conduct(0.8, ge=0, le=1)
    """Largest share of the URLs that may be lost; decides nothing here."""


class JudgeRecipe(Recipe):
    min_width_px: int = 13
    """Width of the image, in pixels."""


class DrawRecipe(Recipe):
    num_repetitions: int = 1


class PackRecipe(Recipe):
    pairs_per_row: int = 2


class LlmRecipe(Recipe):
    width: int = 4


class TrainRecipe(Recipe):
    num_steps: int = 6
    rows_per_step: int = 1
    until_steps: tuple[int, ...] = ()
    seed: int = 0
    pause_seconds: float = 0.0
    fail_at_step: int | None = None


class ScoreRecipe(Recipe):
    kinds: tuple[str, ...] = ("colour", "shape")


def sample_id(url: str) -> bytes:
    return hashlib.sha256(url.encode()).digest()[:16]


def url_of(number: int) -> str:
    return f"http://toy.invalid/{number}.jpg"


def count_execution(draft: PartDraft, name: str) -> None:
    """Note outside the store that a part was really worked on."""
    if log := os.environ.get("TOY_EXECUTIONS"):
        with Path(log).open("a") as file:
            file.write(f"{name}\n")


def wait_for_file(path: Path) -> None:
    """Wait until somebody makes the file, or kills the driver."""
    while not path.exists():
        time.sleep(0.05)


def write_table(rows: list[dict], path: Path, schema) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def fetch_part(part: Part, draft: PartDraft, pause_seconds: float) -> None:
    import pyarrow as pa

    count_execution(draft, f"fetch/{part.name}")
    if int(part.name) >= int(os.environ.get("TOY_STUCK_FROM_PART", "999")):
        wait_for_file(Path(os.environ.get("TOY_STUCK_UNTIL", "/nonexistent")))
    time.sleep(pause_seconds)
    rows = []
    for done, number in enumerate(part.task["numbers"]):
        there = number % 5 != 4
        rows.append(
            {
                "sample_id": sample_id(url_of(number)),
                "url": url_of(number),
                "caption": f"picture \x1b[31m{number}{os.environ.get('TOY_WEB', '')}",
                "verdict": "kept" if there else "failed",
                "reason": None if there else "not_found",
                "width_px": 10 + number if there else None,
                "height_px": 20 if there else None,
            }
        )
        draft.progress(done + 1)
    schema = pa.schema(
        [
            ("sample_id", pa.binary(16)),
            ("url", pa.string()),
            ("caption", pa.string()),
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("width_px", pa.int32()),
            ("height_px", pa.int32()),
        ]
    )
    write_table(rows, draft.path("samples.parquet"), schema)
    kept = sum(row["verdict"] == "kept" for row in rows)
    failed = {"not_found": len(rows) - kept} if kept < len(rows) else {}
    draft.count(ItemBalance(kept=kept, failed=failed))


@stage(number=1, recipe=FetchRecipe, makes=RawPairs)
def fetch_toys(recipe: FetchRecipe, *, ctx: StageContext) -> None:
    numbers = [list(range(n, recipe.num_urls, recipe.num_parts)) for n in range(recipe.num_parts)]
    over = [Part(name=f"{n:05d}", task={"numbers": part}, num_items=len(part)) for n, part in enumerate(numbers)]
    ctx.spread(partial(fetch_part, pause_seconds=recipe.pause_seconds), over=over, phase="fetch")


def read_rows(artifact, record: PartRecord, name: str) -> list[dict]:
    import pyarrow.parquet as pq

    with artifact.local_file(record.file(name)) as path:
        return pq.read_table(path).to_pylist()


def judge_part(part: Part, draft: PartDraft, raw: RawPairs, min_width_px: int) -> None:
    import pyarrow as pa

    count_execution(draft, f"judge/{part.name}")
    entered = [row for row in read_rows(raw, raw.part(part.name), "samples.parquet") if row["verdict"] == "kept"]
    rows = [
        {
            "sample_id": row["sample_id"],
            "verdict": "kept" if row["width_px"] >= min_width_px else "dropped",
            "reason": None if row["width_px"] >= min_width_px else "too_small",
        }
        for row in entered
    ]
    schema = pa.schema([("sample_id", pa.binary(16)), ("verdict", pa.string()), ("reason", pa.string())])
    write_table(rows, draft.path("verdicts.parquet"), schema)
    kept = sum(row["verdict"] == "kept" for row in rows)
    draft.count(ItemBalance(kept=kept, dropped={"too_small": len(rows) - kept} if kept < len(rows) else {}))


@stage(number=1, recipe=JudgeRecipe, makes=KeptPairs)
def judge_toys(recipe: JudgeRecipe, raw: RawPairs, *, ctx: StageContext) -> None:
    over = [Part(name=record.part, num_items=record.items.kept) for record in raw.parts]
    ctx.spread(partial(judge_part, raw=raw, min_width_px=recipe.min_width_px), over=over, phase="judge")


@stage(number=1, recipe=JudgeRecipe, makes=KeptPairs)
def break_toys(recipe: JudgeRecipe, raw: RawPairs, *, ctx: StageContext) -> None:
    raise ValueError("the toy broke on purpose")


def draw_part(part: Part, draft: PartDraft, kept: KeptPairs, num_repetitions: int) -> None:
    import pyarrow as pa

    rows = [
        {"source": "pairs", "sample_id": row["sample_id"], "repetition": repetition}
        for repetition in range(num_repetitions)
        for record in kept.parts
        for row in read_rows(kept, record, "verdicts.parquet")
        if row["verdict"] == "kept"
    ]
    schema = pa.schema([("source", pa.string()), ("sample_id", pa.binary(16)), ("repetition", pa.int32())])
    write_table(rows, draft.path("draw.parquet"), schema)
    draft.count(ItemBalance(kept=len(rows)))
    num_samples = len({row["sample_id"] for row in rows})
    draft.fact(source="pairs", num_samples=num_samples, num_distinct=num_samples, num_drawn=len(rows))


@stage(number=1, recipe=DrawRecipe, makes=Draw)
def draw_toys(recipe: DrawRecipe, kept: KeptPairs, *, ctx: StageContext) -> None:
    work = partial(draw_part, kept=kept, num_repetitions=recipe.num_repetitions)
    ctx.spread(work, over=[Part(name="draw")], phase="draw")


def packed_ids(draw: Draw, pairs_per_row: int) -> list[list[bytes]]:
    """The samples of each row."""
    ids = [row["sample_id"] for row in read_rows(draw, draw.part("draw"), "draw.parquet")]
    return [ids[first : first + pairs_per_row] for first in range(0, len(ids), pairs_per_row)]


def plan_toy_rows(part: Part, draft: PartDraft, draw: Draw, pairs_per_row: int) -> None:
    import numpy as np

    from stages.formats.packed_rows.sample_index import ENTRY_FIELDS, write_index

    entries = [
        (sample_id, row) for row, ids in enumerate(packed_ids(draw, pairs_per_row)) for sample_id in dict.fromkeys(ids)
    ]
    bucket = np.array(entries, ENTRY_FIELDS)
    write_index([bucket], len(entries), draft.path(SAMPLE_ROWS_FILE), draft.path(SAMPLE_ROWS_OFFSETS_FILE))


def pack_part(part: Part, draft: PartDraft, draw: Draw, pairs_per_row: int) -> None:
    import pyarrow as pa

    packed = packed_ids(draw, pairs_per_row)
    rows = [
        {"row": number, "sample_ids": ids, "sources": ["pairs"] * len(ids), "document_tokens": [7] * len(ids)}
        for number, ids in enumerate(packed)
    ]
    kinds = {"row": pa.int64(), "sample_ids": pa.list_(pa.binary(16)), "sources": pa.list_(pa.string())}
    write_table(rows, draft.path("index.parquet"), pa.schema(kinds | {"document_tokens": pa.list_(pa.int32())}))
    draft.path("rows.tar").write_bytes(b"\0" * 1024 * len(rows))
    draft.count(ItemBalance(kept=sum(map(len, packed))))
    num_documents = sum(map(len, packed))
    sources = {"pairs": {"documents": num_documents, "tokens": 7 * num_documents}}
    draft.fact(first_row=0, num_rows=len(rows), num_documents=num_documents, sources=sources)


@stage(number=1, recipe=PackRecipe, makes=Rows)
def pack_toys(recipe: PackRecipe, draw: Draw, *, ctx: StageContext) -> None:
    given = {"draw": draw, "pairs_per_row": recipe.pairs_per_row}
    ctx.spread(partial(plan_toy_rows, **given), over=[Part(name="plan")], phase="plan")
    ctx.spread(partial(pack_part, **given), over=[Part(name="00000")], phase="write")


def write_llm(part: Part, draft: PartDraft, width: int) -> None:
    draft.path("model/config.json").write_text(json.dumps({"width": width}))
    draft.count(ItemBalance())


@stage(number=1, recipe=LlmRecipe, makes=BaseLlm)
def toy_llm(recipe: LlmRecipe, *, ctx: StageContext) -> None:
    ctx.spread(partial(write_llm, width=recipe.width), over=[Part(name="model")], phase="write")


def copy_part(part: Part, draft: PartDraft, llm: BaseLlm) -> None:
    llm.copy_to(draft.path("model/config.json").parent)
    draft.count(ItemBalance())


@stage(number=1, recipe=LlmRecipe, makes=Checkpoint)
def copy_weights(recipe: LlmRecipe, llm: BaseLlm, *, ctx: StageContext) -> None:
    ctx.spread(partial(copy_part, llm=llm), over=[Part(name="model")], phase="write")


def train_rank(rank: Rank, recipe: TrainRecipe) -> None:
    latest = rank.checkpoints.latest()
    first = latest.facts["step"] if latest else 0
    for step in range(first, recipe.num_steps):
        if log := os.environ.get("TOY_EXECUTIONS"):
            with Path(log).open("a") as file:
                file.write(f"train/{step}\n")
        if step == recipe.fail_at_step:
            raise ValueError(f"the loss is not finite at step {step}")
        time.sleep(recipe.pause_seconds)
        rank.report({"loss": 1 / (step + 1), "odd": float("nan")}, at_step=step + 1)
        if (step + 1) % 2 == 0 or step + 1 == recipe.num_steps:
            folder = rank.scratch / f"step-{step + 1}"
            (folder / "model").mkdir(parents=True)
            (folder / "model" / "weights.json").write_text(json.dumps({"step": step + 1}))
            commit_together(rank, folder, step + 1, {"allows_rollback": rank.checkpoints.allows_rollback})
            kept = rank.checkpoints.kept()
            for record in kept[:-2] if os.environ.get("TOY_KEEPS_TWO") and rank.rank == 0 else ():
                rank.checkpoints.delete(record)
            if step + 1 < recipe.num_steps and first_of(rank.should_stop()):
                raise InterruptedRunError(f"stopped after step {step + 1}")


@stage(number=1, recipe=TrainRecipe, makes=Checkpoint)
def train_toy(recipe: TrainRecipe, rows: Sequence[Rows], llm: BaseLlm, *, ctx: StageContext) -> None:
    ctx.gang(partial(train_rank, recipe=recipe))


def score_part(part: Part, draft: PartDraft, checkpoint: Checkpoint, kinds: tuple[str, ...]) -> None:
    from PIL import Image

    metrics = {"accuracy": 0.95, "accuracy_low": 0.93, "accuracy_high": 0.97, "accuracy_blind": 0.25}
    for kind in kinds:
        metrics |= {f"accuracy_{kind}": 0.9, f"accuracy_blind_{kind}": 0.3}
    draft.path("metrics.json").write_text(json.dumps(metrics))
    Image.new("RGB", (8, 8), "red").save(draft.path("contact_sheet.png"))
    draft.count(ItemBalance(kept=2))


@stage(number=1, recipe=ScoreRecipe, makes=Evaluation)
def score_toy(recipe: ScoreRecipe, checkpoint: Checkpoint, *, ctx: StageContext) -> None:
    work = partial(score_part, checkpoint=checkpoint, kinds=recipe.kinds)
    ctx.spread(work, over=[Part(name="evaluate")], phase="evaluate")
