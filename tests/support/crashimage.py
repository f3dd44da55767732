"""A disk whose power can be cut at any instant, as often as one likes, while it goes on.

An outer XFS holds a file that is the disk: a loop device over it with direct I/O, ext4 or XFS on that.
What it has only in its page cache is not in the file. `CrashDisk.cut` clones the file with FICLONE,
which XFS does atomically while writes go on, so that the clone holds exactly what had reached the
disk at that instant. (A plain copy mixes blocks of different instants.) Mounting the clone replays
the journal: the reboot after the power cut.

What this does not show: a disk that lies about a flush, or loses its own cache.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from tests.support.requirements import missing, require, require_root

FICLONE = 0x40049409
MIB = 2**20
_MAKERS = {
    # Lazy initialisation would write to the disk at times of its own.
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
}


class CrashDisk:
    """Use in a ``with`` block; ``live`` is the mounted file system."""

    def __init__(self, folder: Path, *, kind: str = "ext4", size: int = 512 * MIB) -> None:
        self._folder = folder
        self._kind = kind
        self._size = size
        self._stack = ExitStack()
        self._cuts = 0
        self._outer = folder / "outer"
        self._disk = self._outer / "disk.img"
        self.live = folder / "live"

    def __enter__(self) -> Self:
        with self._stack:
            self._make()
            self._stack = self._stack.pop_all()  # made whole: it stays until the end
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make(self) -> None:
        require_root()
        for program in ("losetup", "mount", "mkfs.xfs", "mkfs.ext4"):
            require(program)
        self._folder.mkdir(parents=True, exist_ok=True)
        backing = self._folder / "outer.img"
        _sparse(backing, 8 * self._size)
        self._stack.callback(backing.unlink)
        _run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", backing)
        self._stack.enter_context(_mounted(backing, self._outer))
        _sparse(self._disk, self._size)
        _run(*_MAKERS[self._kind], self._disk)
        self._stack.enter_context(_mounted(self._disk, self.live, self._kind, direct=True))

    def cut(self) -> Path:
        """Return an image of the disk as it is at this instant; nothing waits for it."""
        image = self._outer / f"cut-{self._cuts}.img"
        self._cuts += 1
        with self._disk.open("rb") as source, image.open("wb") as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        return image

    @contextmanager
    def rebooted(self, image: Path, *, in_place: bool = False) -> Iterator[Path]:
        """Mount an image of a cut, its journal replayed; the image is gone afterwards.

        Args:
            in_place: over the disk of before, which nobody uses by then: who remembers paths finds them.
        """
        where = self.live if in_place else self._folder / image.stem
        with ExitStack() as stack:
            stack.callback(image.unlink)
            yield stack.enter_context(_mounted(image, where, self._kind))


@contextmanager
def _mounted(
    image: Path, where: Path, kind: str = "xfs", *, direct: bool = False
) -> Iterator[Path]:
    where.mkdir(exist_ok=True)
    how = ["--direct-io=on"] if direct else []
    try:
        device = _run("losetup", "--find", "--show", *how, image)
    except subprocess.CalledProcessError as error:
        missing(f"there is no loop device to be had ({error.stderr.strip()})")
        raise
    try:
        if direct and _run("losetup", "--noheadings", "-O", "DIO", device) != "1":
            missing("the loop device does no direct I/O, so that its cuts would prove nothing")
        # A clone has the identity of its original, which is mounted too; XFS minds.
        options = "noatime,nouuid" if kind == "xfs" else "noatime"
        _run("mount", "-o", options, device, where)
        try:
            yield where
        finally:
            _unmount(where)
    finally:
        _run("losetup", "--detach", device)


def _unmount(where: Path) -> None:
    # A loop device holds its file, and what that lies on, until the last mount of it is gone: also
    # that in the mount namespace of a process that was started meanwhile.
    for _ in range(20):
        try:
            _run("umount", where)
        except subprocess.CalledProcessError:
            time.sleep(0.1)
        else:
            return
    _run("umount", "--lazy", where)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _run(*command: str | Path) -> str:
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PATH": search},
    )
    return done.stdout.strip()
