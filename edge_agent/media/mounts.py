"""What is mounted where, as this process sees it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def mounts_near(root: Path, mountinfo: bytes) -> tuple[bytes, ...]:
    """Return what of *mountinfo* (proc(5)) decides which folders are below *root*.

    That is what is mounted at *root*, below it or above it: container engines mount things elsewhere
    all day long. Of each the device and the place, for the rest changes without any folder's changing.
    """
    path = os.fsencode(root).rstrip(b"/")
    return tuple(
        b" ".join((device, top, point))
        for device, top, point in _mounts(mountinfo)
        if _is_within(point, path) or _is_within(path, point)
    )


def mount_points_below(root: Path) -> tuple[bytes, ...]:
    """Return where something is mounted below *root*, a real path; empty if that cannot be told."""
    path = os.fsencode(root).rstrip(b"/")
    try:
        mountinfo = MOUNTINFO.read_bytes()
    except OSError:
        return ()
    points = (point for _, _, point in _mounts(mountinfo))
    return tuple(point for point in points if point != path and _is_within(point, path))


def _mounts(mountinfo: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield of each mount the device, what of it is mounted, and where."""
    for line in mountinfo.splitlines():
        fields = line.split(b" ", 6)
        if len(fields) < 6:
            continue
        point = _ESCAPE.sub(lambda code: bytes([int(code[1], 8)]), fields[4]).rstrip(b"/")
        yield fields[2], fields[3], point


def _is_within(inner: bytes, outer: bytes) -> bool:
    return inner == outer or inner.startswith(outer + b"/")
