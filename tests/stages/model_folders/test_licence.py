"""The licence is what the front matter of the README says, in each of its spellings."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.model_folders.folder import ForeignFolder
from stages.model_folders.licence import licence_of
from stages.origins.pinning import pin_source


@pytest.mark.parametrize(
    ("readme", "name", "link"),
    [
        ("---\nlicense: apache-2.0\nlanguage: en\n---\n# Model\nlicense: mit\n", "apache-2.0", None),
        ("---\r\nlicense: 'mit'\r\n---\r\ntext", "mit", None),
        ("---\nlicense:\n- cc-by-4.0\ntags: [x]\n---\n", "cc-by-4.0", None),
        ("---\nlicense: other\nlicense_name: qwen\nlicense_link: https://x.test/L\n---\n", "qwen", "https://x.test/L"),
        ("---\nlicense: other\n---\n", "other", None),
        ("---\nlicense: Other\nlicense_name: qwen\n---\n", "qwen", None),
        ("---\nlicense: other  # see below\nlicense_name: 'qwen' # ours\n---\n", "qwen", None),
        ("---\ntags: [x]\n---\nlicense: mit\n", None, None),
        ("# A model\n\nlicense: mit\n", None, None),
        ("", None, None),
    ],
)
def test_the_front_matter_is_read(readme: str, name: str | None, link: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(readme.encode())
    (tmp_path / "LICENSE.txt").write_text("terms")
    (tmp_path / "NOTICE").write_text("notice")
    licence = licence_of(ForeignFolder(pin_source("mine", [str(tmp_path)])))
    assert (licence.name, licence.link, licence.files) == (name, link, ("LICENSE.txt", "NOTICE"))


def test_a_folder_without_readme_states_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    licence = licence_of(ForeignFolder(pin_source("mine", [str(tmp_path)])))
    assert (licence.name, licence.files) == (None, ())
