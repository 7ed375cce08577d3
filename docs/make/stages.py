"""The reference of the stages: what each reads and makes, and every field of its recipe with unit and default."""

from __future__ import annotations

from collections.abc import Iterator

from docs.make.markdown import code, page, table
from pipelines.planning.stage_catalog import shipped_stages
from pipelines.planning.stage_description import FieldDescription, InputDescription, StageDescription, describe_stage


def described() -> Iterator[StageDescription]:
    """The shipped stages, described from their code."""
    return (describe_stage(stage) for stage in shipped_stages().values())


def stage_pages() -> dict[str, str]:
    """A page for each stage and one that lists them, by their place below the site's root."""
    stages = list(described())
    rows = ([f"[`{one.name}`]({one.name}.md)", one.about, ", ".join(one.reads), one.makes] for one in stages)
    index = page(
        "Stages",
        "A stage takes a recipe and artifacts and makes one artifact. `neo describe STAGE` prints the same page.",
        table(("stage", "what it does", "reads", "makes"), rows),
    )
    pages = {f"reference/stages/{one.name}.md": _stage(one) for one in stages}
    return {"reference/stages/index.md": index, **pages}


def _stage(one: StageDescription) -> str:
    inputs = [[code(item.name), " or ".join(item.kinds), _how_many(item), item.meaning] for item in one.inputs]
    makes = f"Makes **{one.makes}**: {one.makes_meaning} Number {one.number}."
    return page(
        one.name,
        one.about,
        *map(_paragraph, one.details),
        f"```python\n{one.imported}\n```" if one.imported else "",
        makes,
        "## Inputs" if inputs else "",
        table(("input", "kinds", "how many", "meaning"), inputs) if inputs else "",
        f"## {one.recipe}",
        one.recipe_about,
        table(("field", "type", "unit", "default", "meaning"), map(_field, one.fields)) if one.fields else "",
        "Fields marked *conduct* decide how the work is done and take no part in the fingerprint."
        if any(not field.is_identity for field in one.fields) else "",
    )  # fmt: skip


def _how_many(item: InputDescription) -> str:
    return ("one" if item.shape == "one" else "several") + (", may be left out" if item.is_optional else "")


def _paragraph(text: str) -> str:
    """A paragraph of a docstring; one with columns keeps its line ends."""
    has_columns = any("  " in line.strip() for line in text.splitlines())
    return f"```\n{text}\n```" if has_columns else text


def _field(field: FieldDescription) -> list[str]:
    meaning = field.meaning if field.is_identity else f"{field.meaning} (*conduct*)"
    default = "must be given" if field.default is None else code(field.default)
    return [code(field.name), code(field.type), field.unit, default, meaning.replace("(*conduct*)", "(conduct)")]
