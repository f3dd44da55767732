"""Recorders that keep a ring of files: the oldest goes when a new one begins, sent or not."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from edge_agent.core.recording import Recording
from edge_agent.core.series import series_of
from edge_agent.media import answers, beneath

_NEVER_NS = 2**63


class Rings:
    """What lies beside missing files, looked at once for each folder. For one search."""

    def __init__(self) -> None:
        self._folders: dict[bytes, dict[bytes, int]] = {}
        """Folder -> series -> modification time of its oldest file, in ns."""

    def has_overwritten(self, recording: Recording) -> bool:
        """Return whether the missing file of *recording* was the oldest of a series that goes on.

        Names that differ in their digits alone are a series. Any doubt is False.
        """
        folder = recording.path.rpartition(b"/")[0]
        if folder not in self._folders:
            self._folders[folder] = _oldest_of_series(folder)
        oldest_ns = self._folders[folder].get(series_of(recording.path))
        return oldest_ns is not None and oldest_ns > recording.identity.mtime_ns


def _oldest_of_series(folder: bytes) -> dict[bytes, int]:
    try:
        return answers.touch(folder, lambda: _looked_at(folder))
    except OSError:
        return {}


def _looked_at(folder: bytes) -> dict[bytes, int]:
    oldest: dict[bytes, int] = {}
    with beneath.folder(folder) as fd, os.scandir(fd) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # gone between two calls, as they go here
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    series = series_of(folder + b"/" + os.fsencode(entry.name))
                    oldest[series] = min(status.st_mtime_ns, oldest.get(series, _NEVER_NS))
    return oldest
