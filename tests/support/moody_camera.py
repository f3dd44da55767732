"""A camera that does to its files whatever a camera may: and what was true of each of them at each instant."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

_WHEN_NS = 1_700_000_000 * 10**9


@dataclass
class Take:
    """One file, by its inode: names come and go."""

    inode: int
    digest: str
    length: int
    fd: int | None = None
    """Open for writing."""


@dataclass
class MoodyCamera:
    """Works in *folders*. Each content that a file ever had is among `ever`."""

    folders: list[Path]
    takes: dict[int, Take] = field(default_factory=dict)
    """What it has on its card, by inode, whatever the agent has done to it since."""
    ever: set[str] = field(default_factory=set)
    changes: int = 0
    _count: int = 0

    def files(self) -> list[Path]:
        """Return what is there by a name of its own, in a lasting order."""
        found = [
            one
            for folder in self.folders
            for one in sorted(folder.iterdir(), key=os.fsencode)
            if one.is_file() and not one.name.startswith(".")
        ]
        return [one for one in found if one.stat().st_ino in self.takes]

    def create(self, path: Path, length: int, *, stays_open: bool) -> None:
        """Begin a recording; one that had its name is gone."""
        if path.exists():
            self.delete(path)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        os.pwrite(fd, self._draw(length), 0)
        inode = os.fstat(fd).st_ino
        self.takes[inode] = Take(inode, "", length, fd)
        self._note(inode)
        if not stays_open:
            self.close(path)

    def grow(self, path: Path, length: int) -> None:
        fd, take = self._opened(path)
        os.pwrite(fd, self._draw(length), os.fstat(fd).st_size)
        self._note(take.inode)

    def write_header(self, path: Path) -> None:
        fd, take = self._opened(path)
        os.pwrite(fd, self._draw(min(8, os.fstat(fd).st_size)), 0)
        self._note(take.inode)

    def truncate(self, path: Path, share: float) -> None:
        fd, take = self._opened(path)
        os.ftruncate(fd, int(os.fstat(fd).st_size * share))
        self._note(take.inode)

    def rewrite_alike(self, path: Path) -> None:
        """Write other bytes, as many, and give the file its old modification time."""
        fd, take = self._opened(path)
        before = os.fstat(fd)
        now = before
        while now.st_ctime_ns == before.st_ctime_ns:  # an older kernel's tick
            os.pwrite(fd, self._draw(before.st_size), 0)
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
            now = os.fstat(fd)
        self._note(take.inode)

    def close(self, path: Path) -> None:
        take = self.takes[path.stat().st_ino]
        if take.fd is not None:
            os.close(take.fd)
            take.fd = None

    def rename(self, path: Path, target: Path) -> None:
        if target == path:
            return
        if target.exists():
            self.delete(target)
        path.rename(target)
        self.changes += 1

    def delete(self, path: Path) -> None:
        inode = path.stat().st_ino
        path.unlink()
        self.changes += 1
        self.lose(inode)

    def lose(self, inode: int) -> None:
        """Have that file no more."""
        take = self.takes.pop(inode, None)
        if take is not None and take.fd is not None:
            os.close(take.fd)

    def is_open(self, inode: int) -> bool:
        return inode in self.takes and self.takes[inode].fd is not None

    def rest(self) -> None:
        """Close whatever is open; nothing is written any more."""
        for take in self.takes.values():
            if take.fd is not None:
                os.close(take.fd)
                take.fd = None

    def _opened(self, path: Path) -> tuple[int, Take]:
        take = self.takes[path.stat().st_ino]
        if take.fd is None:
            take.fd = os.open(path, os.O_RDWR)
        return take.fd, take

    def _draw(self, length: int) -> bytes:
        self._count += 1
        return random.Random(self._count).randbytes(length)

    def _note(self, inode: int) -> None:
        take = self.takes[inode]
        assert take.fd is not None
        size = os.fstat(take.fd).st_size
        take.digest = hashlib.sha256(os.pread(take.fd, size, 0)).hexdigest()
        take.length = size
        self.ever.add(take.digest)
        self.changes += 1
