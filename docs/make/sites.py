"""The reference of sites: each field of a site file, and the JSON Schema by which an editor checks one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cluster.site import Site
from docs.make.markdown import code, page, table

TABLES = {
    "Site": "At the top of the file.",
    "RaySettings": "In `[ray]`.",
    "PartResources": "In `[parts]`, `[stages.NAME.parts]`, `[steps.NAME.parts]` and `[stages.NAME.phases.PHASE]`.",
    "GangResources": "In `[gang]`, `[stages.NAME.gang]` and `[steps.NAME.gang]`.",
    "DriverResources": "In `[driver]`.",
}
"""Model of a table of a site file to where in the file it stands."""
SCHEMA_URL = "https://json-schema.org/draft/2020-12/schema"


def site_schema() -> dict[str, Any]:
    """The JSON Schema of a site file, without `name`, which is that of the file."""
    schema = Site.model_json_schema()
    schema["properties"].pop("name", None)
    schema["required"] = [name for name in schema.get("required", []) if name != "name"]
    return {"$schema": SCHEMA_URL, **schema, "title": "A site of neo-pipelines"}


def site_schema_text() -> str:
    """The same as the text of a file."""
    return json.dumps(site_schema(), indent=2, sort_keys=True) + "\n"


def sites_page() -> str:
    """Every field of a site file."""
    schema = site_schema()
    blocks = []
    for name, where in TABLES.items():
        model = schema if name == "Site" else schema["$defs"][name]
        blocks += [f"## {name}", f"{where} {' '.join(str(model.get('description', '')).split())}"]
        blocks.append(table(("field", "type", "default", "meaning"), _fields(model)))
    return page(
        "Sites",
        "A site is a TOML file that says where a run executes: store, tracker, cluster, resources. Nothing in it is "
        "part of what an artifact is. Name one with `--site FILE`, or in `NEO_SITE`; `neo doctor --site FILE` checks "
        "it.",
        "An editor that reads JSON Schema (with Taplo or Even Better TOML) completes and checks a site file whose "
        "first line names [site.schema.json](../site.schema.json): `#:schema ./site.schema.json`.",
        *blocks,
    )


def _fields(model: dict[str, Any]) -> Iterator[list[str]]:
    required = model.get("required", [])
    for name, field in model["properties"].items():
        default = (
            "must be given" if name in required else code(json.dumps(field["default"]) if "default" in field else "")
        )
        yield [code(name), _type(field), default, field.get("description", "")]


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "enum" in field:
        return "one of " + ", ".join(code(json.dumps(one)) for one in field["enum"])
    if "const" in field:
        return code(json.dumps(field["const"]))
    if "$ref" in field or "allOf" in field:
        return "table"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}" if "items" in field else "list"
    return {"object": "table", "null": "nothing"}.get(str(field.get("type")), str(field.get("type", "any")))


if __name__ == "__main__":
    print(site_schema_text(), end="")
