"""The site builds strictly, and its generated pages hold every command, option, stage, field, kind, site and reason."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from cluster.site import Site
from docs.make.declared import reason_classes
from docs.make.markdown import cell
from docs.make.reference import reference_pages
from docs.make.sites import site_schema_text
from docs.make.stages import described
from pipelines.cli import app
from pipelines.exits import ExitCode
from stages.artifacts import kinds
from stages.artifacts.artifact import Artifact
from stages.artifacts.columns import COLUMNS
from stages.formats.sample_table import ItemReason
from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


def test_the_site_builds_without_a_warning_and_every_page_is_in_it(built: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")} - {Path("README.html")}
    pages = {page.with_name("index.html") if page.stem == "README" else page for page in pages}
    assert sorted(str(page) for page in pages if not (built / page).is_file()) == []
    assert all((built / place).with_suffix(".html").is_file() for place in reference_pages())


def test_nothing_of_it_is_fetched_from_elsewhere(built: Path) -> None:
    for page in built.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"(https?://[^\"]+)", page.read_text())
        assert loaded == [], page


def test_every_command_and_option_is_in_the_reference() -> None:
    text = reference_pages()["reference/commands.md"]
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        if not command.hidden:
            _, _, section = text.partition(f"## neo {name}\n")
            section, _, _ = section.partition("\n## ")
            shown = [param for param in command.params if not getattr(param, "hidden", False)]
            for param in shown:
                if param.param_type_name == "option" and param.opts not in (["--help"], ["--site"], ["--json"]):
                    assert param.opts[0] in section, (name, param.opts)


def test_every_stage_and_field_is_in_the_reference() -> None:
    pages = reference_pages()
    for stage in described():
        text = pages[f"reference/stages/{stage.name}.md"]
        for field in stage.fields:
            default = "must be given" if field.default is None else cell(f"`{field.default}`")
            assert f"| `{field.name}` |" in text and default in text and cell(field.meaning) in text


def test_every_kind_and_its_files_are_in_the_reference() -> None:
    text = reference_pages()["reference/kinds.md"]
    names = [one.kind for one in vars(kinds).values() if isinstance(one, type) and issubclass(one, Artifact)]
    assert [name for name in names if name not in ("Artifact", "TabledArtifact") and f"## {name}\n" not in text] == []
    values = {value for name, value in vars(kinds).items() if name.isupper() and isinstance(value, str)}
    values -= {kinds.STEPS_PHASE}
    assert sorted(value for value in values if f"`{value}`" not in text) == []
    for (kind, file), columns in COLUMNS.items():
        _, _, section = text.partition(f"### {file} of {kind}\n")
        lines = [f"| `{one.name}` | {one.type} | {cell(one.meaning)} |" for one in columns]
        assert [line for line in lines if line not in section.partition("\n#")[0]] == []


def test_every_reason_is_in_the_reference() -> None:
    text = reference_pages()["reference/reasons.md"]
    import importlib

    num_reasons = 0
    for path, node in reason_classes():
        module = importlib.import_module(path.with_suffix("").as_posix().replace("/", "."))
        for reason in getattr(module, node.name):
            assert isinstance(reason, ItemReason)
            line = f"| `{reason.value}` | {reason.verdict.value} | {'yes' if reason.retriable else 'no'} | "
            assert line in text, line
            num_reasons += 1
    assert num_reasons > 100


def test_every_field_of_a_site_is_in_the_reference_and_in_the_schema_for_editors() -> None:
    text = reference_pages()["reference/sites.md"]
    assert [name for name in Site.model_fields if name != "name" and f"| `{name}` |" not in text] == []
    kept = (DOCS / "site.schema.json").read_text()
    assert kept == site_schema_text(), "python -m docs.make.sites > docs/site.schema.json"


def test_every_exit_code_is_told(built: Path) -> None:
    page = (built / "how-to" / "exit-codes.html").read_text()
    assert [code.name for code in ExitCode if code.name not in page] == []


def test_the_shipped_sites_fit_the_schema() -> None:
    import json
    import tomllib

    import jsonschema

    schema = json.loads((DOCS / "site.schema.json").read_text())
    for file in (ROOT / "cluster" / "sites").glob("*.toml"):
        jsonschema.validate(tomllib.loads(file.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"store": "x", "gang": {"num_rank": 2}}, schema)


@pytest.mark.long
def test_the_page_of_capacity_is_what_neo_estimate_computes() -> None:
    from docs.make.capacity import capacity_page

    assert (DOCS / "capacity.md").read_text() == capacity_page(), "python -m docs.make.capacity > docs/capacity.md"
