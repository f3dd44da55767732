"""`edge-agent upload --finished FILE...`: a recorder's hook says that it has finished a recording.

It returns at once. Nothing is taken that the watched folder would not bring: a hook that anybody can
reach has no more say than the camera has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import Any

from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.core.stability import Marker, Writer
from edge_agent.core.upload import State
from edge_agent.media.announced import Announcement, NoRecordingError, recording_at
from edge_agent.media.folder import Folder
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
    paths: Sequence[bytes], folder: Folder, store: Store, tell: Callable[[Announcement], None]
) -> Iterator[dict[str, Any]]:
    """Have the recordings at *paths*, which are absolute, taken for finished as they are now.

    Yields:
        For each whether it is taken up, and in a sentence what becomes of it.

    Raises:
        StoreError: what is remembered of one could not be read.
    """
    probe = LeaseProbe()
    for path, identity, why in examined(paths, folder):
        if identity is None:
            yield answer_of(path, why, is_taken=False)
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


def examined(
    paths: Sequence[bytes], folder: Folder
) -> Iterator[tuple[bytes, Identity | None, str]]:
    """Yield each real path once, what is there, and why it is no recording if it is none."""
    try:
        root, away = os.fsencode(folder.real_path()), ""
    except OSError as error:
        root, away = b"", f"the watched folder, {folder.path}, is not there: {error.strerror}"
    for path in dict.fromkeys(os.path.realpath(path) for path in paths):
        try:
            yield path, None if away else recording_at(path, root, folder.rules), away
        except NoRecordingError as error:
            yield path, None, str(error)


def answer_of(path: bytes, message: str, *, is_taken: bool) -> dict[str, Any]:
    """Return what is answered of one path."""
    return {"path": printable(path), "taken": is_taken, "message": message}
