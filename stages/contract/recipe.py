"""The recipe of a stage: everything that changes what it makes, and nothing about where it runs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from stages.artifacts.fingerprint import CONDUCT


class Recipe(BaseModel):
    """Everything that changes what a stage makes, and nothing about where it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def conduct(default: Any, **constraints: Any) -> Any:
    """A recipe field that decides how a stage conducts itself, never what it makes: `max_share_lost = conduct(0.8)`.

    Such as when it gives up, how often it commits, what it shows of itself. The value is kept in plans and manifests
    and takes no part in identity, so that it can be changed half-way: raising a limit after a costly download does not
    download again, and a training continues from its last checkpoint. A stage must not write it to a table, a part's
    task or a fact. `constraints` are those of pydantic's `Field`, such as `ge=0, le=1`.
    """
    return Field(default, json_schema_extra=dict(CONDUCT), **constraints)
