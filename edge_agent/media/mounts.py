"""File systems as this process sees them: what is mounted where, of which type, how full it is.

The only reader of mountinfo (proc(5)). What it says is passed on as bytes, and looked up in those.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class _Mount:
    number: bytes
    device: bytes
    top: bytes
    """What of the device is mounted."""
    point: bytes
    """Where, without a slash at the end: that of ``/`` is empty."""
    kind: str


def read_mountinfo() -> bytes:
    """Return what the kernel says of all mounts.

    Raises:
        OSError: it says nothing: there is no /proc.
    """
    return _MOUNTINFO.read_bytes()


def mounts_near(root: Path, mountinfo: bytes) -> tuple[bytes, ...]:
    """Return what of *mountinfo* decides which folders are below *root*.

    That is what is mounted at *root*, below it or above it: container engines mount things elsewhere
    all day long. Of each the device and the place, for the rest changes without any folder's changing.
    """
    path = _plain(root)
    return tuple(
        b" ".join((one.device, one.top, one.point))
        for one in _mounts(mountinfo)
        if _is_within(one.point, path) or _is_within(path, one.point)
    )


def mount_points_below(root: Path, mountinfo: bytes) -> tuple[bytes, ...]:
    """Return where something is mounted below *root*, a real path."""
    path = _plain(root)
    points = (one.point for one in _mounts(mountinfo))
    return tuple(point for point in points if point != path and _is_within(point, path))


def kind_at(path: Path, mountinfo: bytes) -> str | None:
    """Return the type of the file system that *path*, a real one, lies on; None: none is named."""
    found = _mount_of(_plain(path), mountinfo)
    return None if found is None else found.kind


def _mount_of(path: bytes, mountinfo: bytes) -> _Mount | None:
    mounts = _by_point(mountinfo)
    while path and path not in mounts:
        path = path.rpartition(b"/")[0]
    return mounts.get(path)


def mount_point_of(path: Path, mountinfo: bytes) -> bytes:
    """Return where the file system is mounted that *path*, a real one, lies on; empty: at ``/``."""
    found = _mount_of(_plain(path), mountinfo)
    return b"" if found is None else found.point


def on_device(path: Path, mountinfo: bytes) -> bytes:
    """Return what tells *path*, a real one, from all others, by whatever mount it is reached."""
    wanted = _plain(path)
    mount = _mount_of(wanted, mountinfo)
    if mount is None:
        return wanted
    return mount.device + mount.top.rstrip(b"/") + wanted[len(mount.point) :]


def mount_points(mountinfo: bytes) -> frozenset[bytes]:
    """Return all places where something is mounted."""
    return frozenset(one.point for one in _mounts(mountinfo))


def fstab_points(fstab: bytes) -> Iterator[bytes]:
    """Yield the places that fstab(5) has something for, but ``/``."""
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) >= 2 and not fields[0].startswith(b"#") and fields[1].startswith(b"/"):
            point = _unescaped(fields[1]).rstrip(b"/")
            if point:
                yield point


def _unescaped(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda code: bytes([int(code[1], 8) & 0xFF]), field)


@lru_cache(maxsize=1)
def _by_point(mountinfo: bytes) -> Mapping[bytes, _Mount]:
    """Return what is seen at each place: of two at one the later, which hides the other.

    Every touch of a recording asks for its mount, and mounts seldom change.
    """
    return {one.point: one for one in _mounts(mountinfo)}


@lru_cache(maxsize=1)
def _mounts(mountinfo: bytes) -> tuple[_Mount, ...]:
    return tuple(_read(mountinfo))


def _read(mountinfo: bytes) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ", 5)
        if len(fields) < 6:
            continue
        point = _unescaped(fields[4]).rstrip(b"/")
        kind = os.fsdecode(after.partition(b" ")[0])
        yield _Mount(fields[0], fields[2], fields[3], point, kind)


def _plain(path: Path) -> bytes:
    return os.fsencode(path).rstrip(b"/")


def _is_within(inner: bytes, outer: bytes) -> bool:
    return inner == outer or inner.startswith(outer + b"/")


def mount_of(path: bytes, mountinfo: bytes) -> bytes:
    """Return what tells the mount that *path*, a real one, lies on from all others there are now."""
    found = _mount_of(path.rstrip(b"/"), mountinfo)
    return b"mount " + (b"" if found is None else found.number)


@dataclass(frozen=True, slots=True)
class Space:
    """What is left for us, and what there is, in bytes."""

    free: int
    total: int


def space_at(folder: bytes | int) -> Space | None:
    """Return what is free for us where *folder*, a path or a descriptor, lies; None: cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
