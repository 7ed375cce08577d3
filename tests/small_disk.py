"""A disk of a megabyte that can be filled and freed again: a real one, where this process may mount a tmpfs."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SIZE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class SmallDisk:
    folder: Path

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def leave(self, num_bytes: int) -> None:
        """Fill the disk up to so many bytes."""
        self.free()
        usage = os.statvfs(self.folder)
        self.ballast.write_bytes(bytes(max(0, usage.f_bavail * usage.f_bsize - num_bytes)))

    def free(self) -> None:
        """Make room."""
        self.ballast.unlink(missing_ok=True)

    def forbid_writing(self) -> None:
        """As when a file server takes permission away: reading goes on."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def permit_writing(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, size_bytes: int = SIZE_BYTES) -> Iterator[SmallDisk]:
    """Mount one at `folder`, by default of a megabyte. Raises PermissionError where that is not allowed."""
    folder.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"no tmpfs may be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
