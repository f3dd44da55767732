"""`edge-agent upload --finished FILE...`: a recorder's hook says that it has finished a recording.

It returns at once. Nothing is taken that the watched folder would not bring: a hook that anybody can
reach has no more say than the camera has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.core.stability import Marker, Writer
from edge_agent.core.upload import State
from edge_agent.media import beneath
from edge_agent.media.announced import Announcement, NoRecordingError, recording_at
from edge_agent.media.folder import Folder
from edge_agent.media.folders import Folders
from edge_agent.media.lease import LeaseProbe
from edge_agent.store.recordings import Store

_HELD, _UNDER_WAY = "the server holds it already", "it is on its way already"
_STANDING = MappingProxyType(
    {
        State.VERIFIED: _HELD,
        State.KEPT: _HELD,
        State.STABLE: _UNDER_WAY,
        State.SENDING: _UNDER_WAY,
        State.SENT: _UNDER_WAY,
    }
)
_WRITTEN = (
    "a program still has it open for writing: it is sent once that has closed it, at once if it"
    " writes no more, else after its quiet time"
)


def announce(
    paths: Sequence[bytes], folders: Folders, store: Store, tell: Callable[[Announcement], None]
) -> Iterator[dict[str, Any]]:
    """Have the recordings at *paths*, which are absolute, taken for finished as they are now.

    Yields:
        For each whether it is taken up, and in a sentence what becomes of it.

    Raises:
        StoreError: what is remembered of one could not be read.
    """
    probe = LeaseProbe()
    for one in examined(paths, folders):
        path, identity, folder = one.path, one.identity, one.folder
        if identity is None or folder is None:
            yield answer_of(path, one.why, is_taken=False)
            continue
        before = store.newest_at(path)
        if before is None or not before.identity.is_same_content(identity):
            before = None  # what is remembered is another content
        if before is not None and before.state is State.FAILED:
            said = f"it has failed before: `edge-agent retry {before.id}` tries it again"
            yield answer_of(path, said, is_taken=False)
        elif before is not None and before.state in _STANDING:
            yield answer_of(path, _STANDING[before.state], is_taken=True)
        else:
            tell(Announcement(path, identity))
            marker, awaited = folder.rules.markers.beside(path, identity)
            said = "it counts as finished"
            if probe.writer(path) is Writer.SOMEBODY:
                said = _WRITTEN
            elif marker is Marker.AWAITED:
                said = f"{awaited}: it waits for that"
            yield answer_of(path, said, is_taken=True)


@dataclass(frozen=True, slots=True)
class Examined:
    """What a path names."""

    path: bytes
    """Resolved."""
    folder: Folder | None
    """The watched folder that it is in, or the only one there is."""
    identity: Identity | None
    """What is there; None: no recording."""
    why: str
    """Why it is none."""


def examined(paths: Sequence[bytes], folders: Folders) -> Iterator[Examined]:
    """Yield each real path once, with what is there."""
    for path in _real(paths):
        folder = folders.holding(path) or (folders.first if len(folders) == 1 else None)
        if folder is None:
            among = ", ".join(str(one.path) for one in folders)
            yield Examined(path, None, None, f"it is in none of the watched folders, {among}")
            continue
        try:
            root = os.fsencode(folder.real_path())
        except OSError as error:
            away = f"the watched folder, {folder.path}, is not there: {error.strerror}"
            yield Examined(path, folder, None, away)
            continue
        try:
            yield Examined(path, folder, recording_at(path, root, folder.rules), "")
        except NoRecordingError as error:
            yield Examined(path, folder, None, str(error))


def _real(paths: Sequence[bytes]) -> dict[bytes, None]:
    """Return where *paths* lead, each once; one that does not answer as it is: it is told of that later."""
    real: dict[bytes, None] = {}
    for path in paths:
        try:
            real[beneath.real_path(path)] = None
        except OSError:
            real[path] = None
    return real


def answer_of(path: bytes, message: str, *, is_taken: bool) -> dict[str, Any]:
    """Return what is answered of one path."""
    return {"path": printable(path), "taken": is_taken, "message": message}
