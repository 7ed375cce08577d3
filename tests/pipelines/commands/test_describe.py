"""`neo stages` and `neo describe`: every stage and field there is, in 80 columns, and a user's own stage as well."""

from pathlib import Path

import pytest

from pipelines.commands.describe import entries_of
from pipelines.planning.stage_catalog import shipped_stages
from tests.pipelines.conftest import ROOT, NeoSite

OWN = '''"""Stages of a lab.

Reads  RawPairs   parts: a tar
Makes  KeptPairs  verdicts
"""

from typing import Literal

from pydantic import Field

from stages.artifacts.kinds import KeptPairs, RawPairs
from stages.contract import Recipe, StageContext, conduct, stage


class ShoutRecipe(Recipe):
    """How loud a caption may be."""

    max_capitals: float = Field(default=0.5, gt=0, le=1)
    """Largest share of capitals in a caption."""
    min_side_px: int
    """Shorter side of the picture."""
    tone: Literal["calm", "loud"] | None = None
    max_share_lost: float = conduct(0.8, ge=0, le=1)
    """Largest share that may be lost."""


@stage(number=1, recipe=ShoutRecipe, makes=KeptPairs)
def drop_shouts(recipe: ShoutRecipe, raw: RawPairs, *, ctx: StageContext) -> None:
    """Drop the pairs whose caption shouts."""
'''


@pytest.fixture
def narrow(site: NeoSite, monkeypatch: pytest.MonkeyPatch) -> NeoSite:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return site


def test_every_shipped_stage_is_listed_with_what_it_reads_and_makes(narrow: NeoSite) -> None:
    told = narrow.neo("stages")
    assert told.code == 0 and told.last_line.startswith("Next: neo describe ")
    on_disk = {path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__"}
    assert on_disk == {line.split()[0] for line in told.out.splitlines()[:-1] if not line.startswith(" ")}
    assert all(len(line) <= 80 for line in told.out.splitlines()[:-1])
    assert "RawPairs|KeptPairs -> KeptPairs" in told.out
    document = narrow.neo("stages", "--json").json
    mixing = next(item for item in document["stages"] if item["name"] == "mix_samples")
    assert mixing["about"].startswith("Draws the samples") and mixing["makes"] == "Draw"
    assert [item["is_optional"] for item in mixing["inputs"]] == [False, True, True]


@pytest.mark.parametrize("name", shipped_stages())
def test_every_field_of_a_shipped_stage_is_told_in_80_columns(narrow: NeoSite, name: str) -> None:
    told = narrow.neo("describe", name)
    document = narrow.neo("describe", name, "--json").json
    assert told.code == document["exit_code"] == 0
    assert all(len(line) <= 80 or " import " in line for line in told.out.splitlines()[:-1])
    assert document["fields"] or name == "take_prebuffer"
    flat = " ".join(told.out.split())
    for field in document["fields"]:
        assert field["meaning"] and f" {field['name']}: " in flat and field["meaning"] in flat
    assert document["imported"] in told.out


def test_a_field_has_its_type_choices_unit_and_default(site: NeoSite) -> None:
    fields = {field["name"]: field for field in site.neo("describe", "filter_pairs", "--json").json["fields"]}
    assert fields["min_side_px"] == {
        "name": "min_side_px", "type": "int, 1 or more", "choices": [], "unit": "pixels", "default": "64",
        "is_identity": True, "meaning": "Smallest shorter side of the image, in pixels.",
    }  # fmt: skip
    fields = {field["name"]: field for field in site.neo("describe", "pack_rows", "--json").json["fields"]}
    assert fields["max_sample_tokens"]["type"] == "int or None, 2 or more"
    fields = {field["name"]: field for field in site.neo("describe", "train_prebuffer", "--json").json["fields"]}
    assert fields["precision"]["choices"] == ["'fp32'", "'bf16'"] and fields["num_steps"]["default"] is None


def test_a_stage_of_a_users_file_is_described(narrow: NeoSite, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    told = narrow.neo("describe", f"{tmp_path}/own.py:drop_shouts")
    assert told.code == 0, told
    assert "max_capitals: float, above 0, at most 1  default 0.5" in told.out
    assert "min_side_px: int  [pixels]  must be given" in told.out
    assert "tone: one of 'calm', 'loud' or None  default None" in told.out
    assert "Largest share that may be lost. Another value makes nothing again." in told.out
    assert "(its docstring is missing)" in told.out
    assert "raw: RawPairs" in told.out and "    ShoutRecipe(min_side_px=...),\n      raw,\n" in told.out


def test_what_is_no_stage_is_told_with_what_there_is(site: NeoSite, tmp_path: Path) -> None:
    told = site.neo("describe", "filter_pair")
    assert (
        told.code == 2 and "did you mean 'filter_pairs'?" in told.err and "Next: neo describe filter_pairs" in told.err
    )
    (tmp_path / "own.py").write_text(OWN)
    for request in (f"{tmp_path}/own.py", f"{tmp_path}/own.py:shouts"):
        told = site.neo("describe", request)
        assert told.code == 2 and told.last_line.startswith(f"Next: neo describe {tmp_path}/own.py:drop_shouts")
    assert "there is no file" in site.neo("describe", f"{tmp_path}/other.py:x").err
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    assert "ModuleNotFoundError" in site.neo("describe", f"{tmp_path}/broken.py:x").err


def test_docstrings_in_columns_are_read_as_entries() -> None:
    columns = (
        "Reads  RawPairs   a tar\n                  and a table\n       BaseLlm    its tokenizer\nMakes  Rows  all"
    )
    assert list(entries_of(columns)) == [
        "Reads  RawPairs: a tar and a table",
        "       BaseLlm: its tokenizer",
        "Makes  Rows: all",
    ]
    assert list(entries_of("Plain words\nover two lines.")) == ["Plain words over two lines."]
    phases = "    measure/<part>   a row each\n                     and documents\n    plan/plan        the plan"
    assert list(entries_of(phases)) == ["measure/<part>: a row each and documents", "plan/plan: the plan"]
