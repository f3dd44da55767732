"""Files of which their recorder says that they are finished.

By `edge-agent upload --finished`, or by renaming them into place. It spares the quiet time and does no
more: one that is lost, in a crowd or a power cut, is found by a scan and waits for its quiet time.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass
from types import MappingProxyType

from edge_agent.base.errors import AgentError
from edge_agent.core.left_out import Cause
from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.media import answers, beneath
from edge_agent.media.folder import FolderRules
from edge_agent.media.identity import identity_at, identity_of
from edge_agent.media.scan import SYSTEM_FOLDERS

_KEPT = 10_000
_BY_NAME = MappingProxyType(
    {
        Cause.HIDDEN: "its name begins with a dot: such files are never sent",
        Cause.IGNORED: "[watch] ignore, or the ending of a marker, fits its name: it is never sent",
        Cause.PATTERNS: "none of [watch] patterns fits its name: add one that does",
    }
)


class NoRecordingError(AgentError):
    """What a path names is no recording of the watched folder; the text says why."""


@dataclass(frozen=True, slots=True)
class Announcement:
    path: bytes
    identity: Identity | None = None
    """What was announced; None: whatever is there."""


class Announcements:
    """What waits to be taken up, the oldest forgotten when they are too many. For any thread."""

    def __init__(self) -> None:
        self._waiting: deque[Announcement] = deque(maxlen=_KEPT)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, one: Announcement) -> None:
        self._waiting.append(one)

    def put_back(self, some: list[Announcement]) -> None:
        """Take in *some* again that could not be taken up: for what is there now, and not what comes after it."""
        for one in some:
            identity = one.identity or identity_at(one.path)
            if identity is not None:
                self._waiting.append(Announcement(one.path, identity))

    def take(self, limit: int) -> list[Announcement]:
        """Return up to *limit* of them, the oldest first, and have them no more."""
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]


def recording_at(path: bytes, root: bytes, rules: FolderRules) -> Identity:
    """Return what the file at *path* is, which a scan of *root* would take for a recording.

    Args:
        path: no component of it is a link.
        root: the watched folder's real path.
        rules: of the folder.

    Raises:
        NoRecordingError: a scan would not.
    """
    why = why_not_by_name(path, root, rules)
    if why is not None:
        raise NoRecordingError(why)
    try:
        return answers.touch(path, lambda: _identity_of_regular(path))
    except OSError as error:
        raise NoRecordingError(error.strerror or str(error)) from error


def _identity_of_regular(path: bytes) -> Identity:
    if not stat.S_ISREG(beneath.status(path).st_mode):
        raise NoRecordingError("it is no regular file")
    fd = beneath.open_file(path)  # whether this process may read it is known only then
    try:
        return identity_of(os.fstat(fd))
    finally:
        os.close(fd)


def why_not_by_name(path: bytes, root: bytes, rules: FolderRules) -> str | None:
    """Return why a file at *path* is no recording of *root*; None: by its name it is."""
    top = root.rstrip(b"/") + b"/"
    if not path.startswith(top):
        return f"it is not in the watched folder, {printable(root)}"
    *folders, name = path[len(top) :].split(b"/")
    if folders and not rules.is_recursive:
        return "it is in a subfolder, and [watch] recursive is false"
    if any(one.startswith(b".") or one in SYSTEM_FOLDERS for one in folders):
        return "it is in a folder that is not looked into"
    cause = rules.names.why_not(name)
    return None if cause is None else _BY_NAME[cause]


def still_recordings(
    announcements: list[Announcement], root: bytes, rules: FolderRules
) -> list[tuple[bytes, Identity]]:
    """Return path and identity of those that are recordings, and still what was announced."""
    found: dict[bytes, Identity] = {}
    for one in announcements:
        if one.identity is not None and identity_at(one.path) != one.identity:
            continue
        try:
            found[one.path] = recording_at(one.path, root, rules)
        except NoRecordingError:
            continue  # gone again, or never one: a scan tells
    return list(found.items())
