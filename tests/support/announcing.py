"""A recorder that announces its recordings to a watched folder, and a kernel that cannot tell who writes."""

from __future__ import annotations

import os

from edge_agent.base.reasons import Reason
from edge_agent.core.stability import Writer
from edge_agent.media.lease import LeaseProbe
from edge_agent.operate.announce import announce
from tests.support.rim import WatchedFolder


class KnowsNothing(LeaseProbe):
    """A kernel that does not tell who writes."""

    def writer_of(self, fd):
        return Writer.UNKNOWN

    def writer(self, path):
        return Writer.UNKNOWN


def finished(folder: WatchedFolder, *paths: os.PathLike[str] | bytes) -> list[tuple[bool, str]]:
    """Announce *paths*, let the watcher look once, and return what was answered."""
    names = [os.fsencode(path) for path in paths]
    answers = list(announce(names, folder.folders, folder.store, folder.watcher.announce))
    folder.watcher.step(folder.clock.now)
    return [(one["taken"], one["message"]) for one in answers]


def why(folder: WatchedFolder, name: str) -> tuple[Reason, str]:
    wait = folder.activity.waits[folder.named(name).id]
    return wait.reason, wait.detail
