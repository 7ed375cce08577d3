"""Every source file has a test of its own name, or a line in tests/README.md that names what covers it."""

import re
from pathlib import Path

from tests.house.test_layout import FILES, ROOT

TESTS = ROOT / "tests"
LINE = re.compile(r"^\| (`[^|]+`) \| (`[^|]+`) \|$", re.M)


def covered_elsewhere() -> dict[str, list[str]]:
    """Source file to the test files that the last table of tests/README.md names."""
    _, _, table = (TESTS / "README.md").read_text().partition("## Sources without a test file of their own name")
    lines = (
        (re.findall(r"`([^`]+)`", sources), re.findall(r"`([^`]+)`", tests)) for sources, tests in LINE.findall(table)
    )
    return {source: tests for sources, tests in lines for source in sources}


def has_mirrored_test(path: Path) -> bool:
    return (TESTS / path.parent / f"test_{path.name}").is_file()


def test_every_source_has_a_test_of_its_name_or_a_line_in_the_table() -> None:
    listed = covered_elsewhere()
    sources = [path for path in FILES if path.name != "__init__.py"]
    assert [str(path) for path in sources if not has_mirrored_test(path) and str(path) not in listed] == []


def test_the_table_names_nothing_that_is_gone_or_needs_no_line() -> None:
    listed = covered_elsewhere()
    assert [source for source in listed if not (ROOT / source).is_file() or has_mirrored_test(Path(source))] == []
    named = {test for tests in listed.values() for test in tests}
    assert sorted(test for test in named if not (TESTS / test).is_file()) == []
