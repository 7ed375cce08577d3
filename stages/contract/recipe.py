"""The recipe of a stage: everything that changes what it makes, and nothing about where it runs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Recipe(BaseModel):
    """Everything that changes what a stage makes, and nothing about where it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
