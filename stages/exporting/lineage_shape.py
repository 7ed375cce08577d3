"""The shape of `lineage.json`, as `docs/lineage.schema.json` describes it: which fields it has, and of which types.

Owns the check of a document that somebody else may have written, before anything of it is used. What its roots are
computed from is judged in `lineage_file.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.exporting.lineage_file import FORMAT, VERSION

MAX_SIZE_BYTES: Final = 2**63 - 1
"""Length of a file at most, in bytes: no file system has longer ones."""
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Counts = dict[str, int]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Input(_Shape):
    stage: str
    fingerprint: _Digest
    content: _Digest


class _Items(_Shape):
    kept: int
    dropped: _Counts
    failed: _Counts


class _Artifact(_Shape):
    stage: str
    number: Annotated[int, Field(ge=1)]
    kind: str
    fingerprint: _Digest
    content: _Digest
    recipe: dict[str, Any]
    inputs: dict[str, _Input]
    items: _Items
    files_root: _Digest
    root: _Digest | None
    drawn: _Counts = Field(default_factory=dict)
    carried: dict[str, Any] = Field(default_factory=dict)
    learned_from: bool = False
    used: list[str] = Field(default_factory=list)


class _Score(_Shape):
    evaluation: _Digest
    metrics: dict[str, Any]


class _File(_Shape):
    name: str
    size_bytes: Annotated[int, Field(ge=0, le=MAX_SIZE_BYTES)]
    sha256: _Digest


class _Document(_Shape):
    format: Annotated[str, Field(pattern=f"^{FORMAT}$")]
    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    artifacts: Annotated[list[_Artifact], Field(min_length=1)]
    document_root: _Digest


class _Export(_Document):
    checkpoint: _Digest
    evaluated: list[_Artifact]
    scores: dict[str, _Score]
    files: list[_File]


class _Copy(_Document):
    artifact: _Digest
    lacking: str


_NAMED: Final = {"export": "an export", "copy": "a copy"}


def shape_problem(document: Mapping[str, Any], of: Literal["export", "copy"]) -> str:
    """What is wrong with the fields of a document, as a phrase that follows its name; '' where nothing is."""
    try:
        (_Export if of == "export" else _Copy).model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        more = f", and {error.error_count() - 1:,} more like it" if error.error_count() > 1 else ""
        return (
            f"is no lineage of {_NAMED[of]} that can be used: {'.'.join(map(str, first['loc']))}: {first['msg']}{more}"
        )
    return ""
