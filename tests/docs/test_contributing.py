"""What CONTRIBUTING.md says of a stage of one's own holds: its files are written, its test passes, its command runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.docs.pages import ROOT, blocks
from tests.pipelines.conftest import NeoSite, site, type_

__all__ = ["site", "type_"]

PIPELINE = '''"""Pairs for a stage of one's own."""

from my_stages import WordyRecipe, keep_wordy_pairs
from stages.contract import Source
from stages.import_pairs import ImportPairsRecipe, import_pairs
from tests.worlds.mixture_world import PairsRecipe, make_pairs


def raw():
    return make_pairs.bind("pairs", PairsRecipe())


def wordy():
    return keep_wordy_pairs.bind("wordy", WordyRecipe(), raw())
'''


def test_a_stage_of_ones_own_is_described_planned_run_and_tested(site: NeoSite, tmp_path: Path) -> None:
    (stage,) = [one.code for one in blocks(ROOT / "stages" / "README.md") if one.language == "python"]
    (test,) = [one.code for one in blocks(ROOT / "CONTRIBUTING.md") if one.language == "python"]
    for name, text in {"my_stages.py": stage, "pipeline.py": PIPELINE, "test_wordy.py": test}.items():
        (tmp_path / name).write_text(text)
    described = site.type_(["describe", f"{tmp_path}/my_stages.py:keep_wordy_pairs"])
    assert described.code == 0 and "Fewest words of a caption" in described.out, described
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_wordy.py"],
        cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0 and "2 passed" in ran.stdout, ran.stdout + ran.stderr
    planned = site.neo("plan", f"{tmp_path}/pipeline.py:wordy")
    assert planned.code == 0 and "keep_wordy_pairs" in planned.out, planned


def test_what_it_names_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = [name for name in re.findall(r"`((?:tests|stages|benchmarks|\.ci)/[^`\s]*)`", text) if "VERB" not in name]
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    targets = re.findall(r"^make (\S+)", text, re.M)
    assert all(f"\n{target}: " in (ROOT / "Makefile").read_text() for target in targets)


def test_the_forms_for_others_are_valid() -> None:
    for file in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(file.read_text()), file
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version"} <= cited.keys()
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version and cited["version"] == version[1]
    assert json.dumps(cited)
