"""Recorders that keep a ring of files: the oldest goes when a new one begins, sent or not.

It is deleted, or its name is used again: written over in place, or by another file.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity, Recording
from edge_agent.core.series import series_of
from edge_agent.core.stability import Writer
from edge_agent.core.upload import Event
from edge_agent.media import answers, beneath
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.same_file import is_another_file
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_NEVER_NS = 2**63


class Rings:
    """What lies beside missing or changed files, looked at once for each folder. For one search."""

    def __init__(self) -> None:
        self._folders: dict[bytes, dict[bytes, _Series]] = {}
        """Folder -> series -> what is there of it."""

    def has_overwritten(self, recording: Recording) -> bool:
        """Return whether the missing file of *recording* was the oldest of a series that goes on.

        Names that differ in their digits alone are a series. Any doubt is False.
        """
        found = self._series(recording)
        return found is not None and found.oldest_ns > recording.identity.mtime_ns

    def has_rewritten(self, recording: Recording, now: Identity, probe: LeaseProbe) -> bool:
        """Return whether *recording* was the oldest of a series, and another one has its name by *now*.

        Not so what only grew, or was touched: of as many bytes as before somebody must be writing to it.
        Any doubt is False.
        """
        before = recording.identity
        if not is_another_file(recording.path, before, now) and (
            (now.inode == before.inode and now.length > before.length)
            # Before the folder is looked at: of a card whose clock was set, all files have another time.
            or (now.length == before.length and probe.writer(recording.path) is not Writer.SOMEBODY)
        ):
            return False
        found = self._series(recording)
        return found is not None and found.count > 1 and found.oldest_ns > before.mtime_ns

    def _series(self, recording: Recording) -> _Series | None:
        folder = recording.path.rpartition(b"/")[0]
        if folder not in self._folders:
            self._folders[folder] = _series_in(folder)
        return self._folders[folder].get(series_of(recording.path))


def count_overwritten(
    store: Store, recording: Recording, *, is_rewritten: bool = False, lost: str = ""
) -> None:
    """Count *recording*, whose bytes its recorder has taken away.

    Args:
        is_rewritten: for good; a file that is gone may come back with its card.
        lost: what that means, where somebody should look at it.

    Raises:
        StaleRecordingError: another worker has just moved it, and has seen to it.
        StoreError: not written.
    """
    told = {"file_id": recording.id, "name": recording.name, "length": recording.identity.length}
    event = NewEvent("file.overwritten", told, subject=recording.id, is_low=True)
    changes: dict[str, Any] = {"problem": None, "detail": None}
    if is_rewritten:
        changes["upload_id"] = None  # the server is told that nothing more comes
    store.advance(recording, Event.SOURCE_OVERWRITTEN, tell=[event], **changes)
    say, more = (log.warning, {"detail": lost}) if lost else (log.info, {})
    say("upload.overwritten", recording_id=recording.id, path=printable(recording.path), **more)


@dataclass(frozen=True, slots=True)
class _Series:
    oldest_ns: int
    """Modification time of its oldest file."""
    count: int


def _series_in(folder: bytes) -> dict[bytes, _Series]:
    try:
        return answers.touch(folder, lambda: _looked_at(folder))
    except OSError:
        return {}


def _looked_at(folder: bytes) -> dict[bytes, _Series]:
    found: dict[bytes, _Series] = {}
    with beneath.folder(folder) as fd, os.scandir(fd) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # gone between two calls, as they go here
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    series = series_of(folder + b"/" + os.fsencode(entry.name))
                    before = found.get(series, _Series(_NEVER_NS, 0))
                    oldest_ns = min(status.st_mtime_ns, before.oldest_ns)
                    found[series] = _Series(oldest_ns, before.count + 1)
    return found
