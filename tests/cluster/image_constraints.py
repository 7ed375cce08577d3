"""The exact versions of this environment, for the image: `make constraints` writes them to a file beside it.

All packages that ours needs, directly or not, as they are installed where the tests have passed. What an index adds for
its GPUs (CUDA's libraries) comes with torch, which is pinned.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parents[2] / "cluster" / "ray" / "constraints.txt"
PACKAGE = "neo-pipelines"


def needed(package: str = PACKAGE) -> dict[str, str]:
    """Name to version of all that a package needs and that is installed; local parts (`+cpu`) are left out."""
    found: dict[str, str] = {}
    waiting = [Requirement(package)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = installed.version.partition("+")[0]
        for line in installed.requires or ():
            below = Requirement(line)
            if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(below)
    del found[canonicalize_name(package)]
    return found


if __name__ == "__main__":
    lines = [f"{name}=={version}\n" for name, version in sorted(needed().items())]
    CONSTRAINTS.write_text("# Written by `make constraints` from the environment of the tests.\n" + "".join(lines))
