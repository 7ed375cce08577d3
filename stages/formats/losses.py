"""Refuses a step that keeps nothing or loses most of its items for one reason, which nobody means.

Parts record an example of each reason as a fact (`examples_of`); a stage asks `check_losses` when all parts are done.
The limit is a field of the recipe that takes no part in identity: raised, it takes what is recorded as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stages.artifacts.records import PartRecord, total
from stages.contract import PartFacts, StageError
from stages.surfaces.credentials import without_credentials

if TYPE_CHECKING:
    import pyarrow as pa

MAX_SHARE_LOST = 0.8
"""Default of the recipe field `max_share_lost`. Half of the URLs of a list of the web are gone after some years."""
NUM_SHOWN_REASONS = 3
"""Reasons that the error names, the most frequent ones first."""
MAX_EXAMPLE_CHARS = 200
"""Characters of a value in an example."""


class LossFacts(PartFacts):
    """What parts with sample tables record about the items that they lost."""

    examples: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Reason to its first item: `row`, its number in the whole table where that is known, and some values of it."""


def examples_of(table: pa.Table, shown: Sequence[str], first_row: int | None = 0) -> dict[str, Any]:
    """The fact `examples` of a part: for each reason in a sample table, its first row and the `shown` columns there.

    `draft.fact(**examples_of(table, ["url"], first_row))`. `first_row` is the number of the part's first row in the
    whole table, None where the table holds not all of them. Columns that the table lacks, and nulls, are left out.
    """
    examples: dict[str, dict[str, Any]] = {}
    reasons = table["reason"].to_pylist()
    for number, reason in enumerate(reasons):
        if reason is not None and reason not in examples:
            values = {name: _shown(table[name], number) for name in shown if name in table.column_names}
            known = {name: value for name, value in values.items() if value is not None}
            examples[reason] = known if first_row is None else {"row": first_row + number, **known}
    return LossFacts(examples=examples).dump()


def check_losses(
    records: Iterable[PartRecord], max_share_lost: float, *, items: str = "rows", no_loss: Collection[str] = ()
) -> None:
    """Raise `StageError` where nothing was kept, or more than `max_share_lost` of the items went for one reason.

    `records` are those of the parts that hold sample tables; `items` is what the error calls what they hold. With a
    limit of 1 anything is taken. Items that went for a reason of `no_loss` are not counted: of a table of conversations
    most rows may repeat the video of an earlier one.
    """
    records = list(records)
    balance = total(record.items for record in records)
    lost = Counter({**balance.dropped, **balance.failed})
    num_items = balance.total - sum(lost.pop(reason, 0) for reason in no_loss)
    if max_share_lost >= 1 or not num_items:
        return
    _, most = lost.most_common(1)[0] if lost else ("", 0)
    if balance.kept and most <= max_share_lost * num_items:
        return
    examples = _first_examples(records)
    reasons = "; ".join(
        f"{number:,} {reason}{_example(examples.get(reason))}" for reason, number in lost.most_common(NUM_SHOWN_REASONS)
    )
    what = "none" if not balance.kept else f"{balance.kept:,}"
    raise StageError(
        f"of {num_items:,} {items}, {what} were kept, and one reason may cost {max_share_lost:.0%} of them: "
        f"{reasons}. "
        "Mend the source or the recipe; or, where this is meant, set `max_share_lost=1`: what is done already stays"
    )


def _first_examples(records: Iterable[PartRecord]) -> Mapping[str, Mapping[str, Any]]:
    examples: dict[str, Mapping[str, Any]] = {}
    for record in records:
        for reason, example in LossFacts.of(record).examples.items():
            examples.setdefault(reason, example)
    return examples


def _example(example: Mapping[str, Any] | None) -> str:
    if not example:
        return ""
    row = [f"row {example['row']:,}"] if "row" in example else []
    return f" (such as {', '.join([*row, *(f'{name} {value!r}' for name, value in example.items() if name != 'row')])})"


def _shown(column: pa.ChunkedArray, number: int) -> str | None:
    """The beginning of a value as text, whatever it is, without credentials of its URLs: examples are told."""
    import pyarrow as pa

    value = column.slice(number, 1)
    if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
        (data,) = value.cast(pa.large_binary()).to_pylist()
        text = None if data is None else data.decode(errors="backslashreplace")
    else:
        (plain,) = value.to_pylist()
        text = None if plain is None else str(plain)
    return None if text is None else without_credentials(text)[:MAX_EXAMPLE_CHARS]
