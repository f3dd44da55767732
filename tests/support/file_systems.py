"""Real file systems of several kinds, mounted for as long as a test needs them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.requirements import missing, require, require_root

MIB = 1 << 20
_MAKERS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], 16 * MIB),
    "xfs": (["mkfs.xfs", "-q"], 300 * MIB),
    "btrfs": (["mkfs.btrfs", "-q"], 128 * MIB),
    "btrfs mixed": (["mkfs.btrfs", "-q", "--mixed"], 64 * MIB),
    "vfat": (["mkfs.vfat", "-F", "32"], 64 * MIB),
    "exfat": (["mkfs.exfat"], 64 * MIB),
}


@contextmanager
def disk_image(kind: str, mount: Path, *, size: int = 0) -> Iterator[Path]:
    """Mount an empty file system of *kind* ("btrfs mixed": small, its data beside what tells of it), of at least *size* bytes."""
    require_root()
    (maker, *options), least = _MAKERS[kind]
    kind = kind.partition(" ")[0]
    if f"\t{kind}\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        pytest.skip(f"this kernel has no {kind}")
    image = mount.with_name(f"{mount.name}.img")
    with image.open("wb") as file:
        file.truncate(max(size, least))  # sparse
    _run(require(maker), *options, image)
    with mounted_image(kind, image, mount):
        yield mount


@contextmanager
def mounted_image(kind: str, image: Path, mount: Path, *options: str) -> Iterator[Path]:
    """Mount what `disk_image` has made, which lies beside its mount, once more."""
    with _mounted("-t", kind, "-o", ",".join(("loop", *options)), image, mount):
        yield mount


@contextmanager
def tmpfs(mount: Path) -> Iterator[Path]:
    require_root()
    with _mounted("-t", "tmpfs", "tmpfs", mount):
        yield mount


@contextmanager
def overlay(mount: Path, *, upper: Path) -> Iterator[Path]:
    """Mount a tmpfs at *upper*'s parent, and an overlay of *upper* at *mount*."""
    require_root()
    with tmpfs(upper.parent):
        lower, work = upper.with_name("lower"), upper.with_name("work")
        for folder in (lower, upper, work):
            folder.mkdir()
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        with _mounted("-t", "overlay", "-o", layers, "overlay", mount):
            yield mount


@contextmanager
def read_only_bind(folder: Path, mount: Path) -> Iterator[Path]:
    """Show *folder* at *mount* as well, where nobody can write: what a sandbox is given."""
    require_root()
    with _mounted("--bind", folder, mount):
        _run("mount", "-o", "remount,bind,ro", mount)
        yield mount


@contextmanager
def fuse(mount: Path, *, below: Path) -> Iterator[Path]:
    """Show *below* at *mount* through a program: what is written below, this kernel does not see."""
    program = require("bindfs")
    for folder in (below, mount):
        folder.mkdir(parents=True, exist_ok=True)
    if not Path("/dev/fuse").exists():
        missing("this kernel has no FUSE")
    # Attributes at once, as of a disk: else the kernel keeps them for a second.
    _run(program, "-o", "attr_timeout=0,entry_timeout=0", below, mount)
    try:
        yield mount
    finally:
        _run("umount", "--lazy", mount)


@dataclass
class Silenced:
    """A folder whose file system stops answering, as that of a server that is gone."""

    mount: Path
    program: int

    def fall_silent(self) -> None:
        os.kill(self.program, signal.SIGSTOP)

    def answer(self) -> None:
        os.kill(self.program, signal.SIGCONT)


@contextmanager
def fuse_that_falls_silent(mount: Path, *, below: Path) -> Iterator[Silenced]:
    """Show *below* at *mount* through a program that can be made to answer nothing any more."""
    program = require("bindfs")
    for folder in (below, mount):
        folder.mkdir(parents=True, exist_ok=True)
    if not Path("/dev/fuse").exists():
        missing("this kernel has no FUSE")
    options = "attr_timeout=0,entry_timeout=0"
    with subprocess.Popen([program, "-f", "-o", options, below, mount]) as child:
        try:
            wait_for(lambda: os.path.ismount(mount), "it is mounted")
            yield Silenced(mount, child.pid)
        finally:
            os.kill(child.pid, signal.SIGCONT)
            _run("umount", "--lazy", mount)
            child.wait(20)


def forget_cached() -> None:
    """Have all be read from its disk again, and FAT number its files anew."""
    _run("sync")
    Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")


@contextmanager
def _mounted(*what: str | Path) -> Iterator[None]:
    where = Path(what[-1])
    where.mkdir(parents=True, exist_ok=True)
    _run("mount", *what)
    try:
        yield
    finally:
        _run("umount", "--lazy", where)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
