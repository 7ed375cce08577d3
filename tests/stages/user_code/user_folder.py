"""A folder of a user's own files, written in a test."""

from pathlib import Path
from textwrap import dedent

from stages.user_code.digest import code_digest
from stages.user_code.files import UserFile, read_user_file


def write_files(folder: Path, **texts: str) -> None:
    """Write modules: `mine=...` is mine.py, `**{"lib/clean": ...}` is lib/clean.py."""
    for name, text in texts.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def read_mine(folder: Path, **texts: str) -> UserFile:
    """`mine.py` of a folder with these modules."""
    write_files(folder, **texts)
    return read_user_file(folder / "mine.py")


def digest_of(folder: Path, *, module: str = "mine", function: str = "load", **texts: str) -> str:
    """The digest of the code that `load` of `mine.py` depends on."""
    return code_digest(read_mine(folder, **texts), module, function)
