"""A card whose faults are the device's: an ext4 file system on a loop device whose backing file is cut.

What lies behind the cut cannot be read any more (EIO, from the block device), until it is put back.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.requirements import require, require_root

MIB = 2**20
_BLOCK_BYTES = 4096


class Card:
    """Mounted; use `card`."""

    def __init__(self, image: Path, mount: Path) -> None:
        self.mount = mount
        self._image = image
        self._kept = image.with_suffix(".kept")

    def break_from(self, path: Path, offset: int) -> None:
        """Let no byte of *path* from *offset* on be read, nor anything that lies behind it."""
        self.forget_cached()
        self._kept.write_bytes(self._image.read_bytes())
        os.truncate(self._image, self._place_of(path, offset))

    def break_all(self) -> None:
        """Let nothing be read any more: it was pulled out, and nobody has unmounted it."""
        self.forget_cached()
        self._kept.write_bytes(self._image.read_bytes())
        os.truncate(self._image, 0)

    def mend(self) -> None:
        """Put back what was cut off."""
        with self._kept.open("rb") as source, self._image.open("r+b") as target:
            at = os.fstat(target.fileno()).st_size
            os.ftruncate(target.fileno(), os.fstat(source.fileno()).st_size)
            source.seek(at)
            target.seek(at)
            while piece := source.read(MIB):
                target.write(piece)
            os.fsync(target.fileno())

    def remount(self, *options: str) -> None:
        _run("mount", "-o", ",".join(("remount", *options)), self.mount)

    def forget_cached(self) -> None:
        """Have the kernel read what it reads from the device again."""
        os.sync()
        _run("mount", "-o", "remount,ro", self.mount)
        _run("mount", "-o", "remount,rw", self.mount)
        for path in self.mount.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def _place_of(self, path: Path, offset: int) -> int:
        """Return where the byte at *offset* of *path* lies on the device."""
        block = offset // _BLOCK_BYTES
        told = _run(
            require("debugfs"), "-R", f"bmap /{path.relative_to(self.mount)} {block}", self._image
        )
        return int(told.split()[-1]) * _BLOCK_BYTES


@contextmanager
def card(mount: Path, *, size: int = 64 * MIB) -> Iterator[Card]:
    """Mount an empty card at *mount*."""
    require_root()
    image = mount.with_name(f"{mount.name}.img")
    mount.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    _run(require("mkfs.ext4"), "-q", "-F", "-b", str(_BLOCK_BYTES), image)
    _run("mount", "-t", "ext4", "-o", "loop,noatime,errors=continue", image, mount)
    try:
        yield Card(image, mount)
    finally:
        _run("umount", "--lazy", mount)


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout
