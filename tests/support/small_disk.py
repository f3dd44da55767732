"""A file system that is small, can be filled, and can be made read-only."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.requirements import require_root


@dataclass(frozen=True)
class SmallDisk:
    path: Path

    def fill(self) -> None:
        """Leave no byte."""
        with (self.path / "ballast").open("wb", buffering=0) as ballast:
            for piece in (1 << 16, 1):
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(piece)):
                        pass

    def make_room(self) -> None:
        (self.path / "ballast").unlink()

    def set_writable(self, *, writable: bool) -> None:
        mode = "rw" if writable else "ro"
        _run("mount", "-o", f"remount,{mode}", self.path)


@contextlib.contextmanager
def small_disk(mount: Path, *, size: str, inodes: int = 0) -> Iterator[SmallDisk]:
    """Mount one; *inodes*: how many files it takes, 0: any number."""
    require_root()
    mount.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs", mount)
    try:
        yield SmallDisk(mount)
    finally:
        if mount.is_mount():  # else: the test has ejected it
            _run("umount", "-l", mount)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=20)
