"""Taking in files that a person names: `edge-agent upload`, alone or beside a running agent."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.printable import printable
from edge_agent.core.recording import Found, Recording
from edge_agent.core.upload import Event, State
from edge_agent.media import answers, beneath
from edge_agent.media.folder import found_below
from edge_agent.media.folders import Folders
from edge_agent.media.identity import identity_of
from edge_agent.media.retry import ANEW
from edge_agent.media.stability_check import UNSETTLED, settling
from edge_agent.media.versions import end_version
from edge_agent.store.recordings import Store


@dataclass(frozen=True, slots=True)
class RefusedPath:
    """A path that cannot be sent, and why in words."""

    path: str
    why: str


def hand_over(
    store: Store, paths: Sequence[bytes], folders: Folders, *, now: bool = False
) -> tuple[list[Recording], list[RefusedPath]]:
    """Remember the files at *paths*, so that they are sent; never deleted for it afterwards.

    What is on its way already is followed as it is, what has failed is tried again, and what the
    server holds in this very content is not sent twice.

    Args:
        paths: absolute.
        folders: the watched ones: files in one of them keep their place below it.
        now: as they are, whoever may still write to them. What is written later makes them wait, then.
    """
    taken: list[Recording] = []
    refused: list[RefusedPath] = []
    for named in dict.fromkeys(paths):
        try:
            found = _look_at(beneath.real_path(named), folders)
        except OSError as error:
            refused.append(RefusedPath(printable(named), error.strerror or str(error)))
            continue
        if isinstance(found, RefusedPath):
            refused.append(found)
            continue
        recording = _take(store, found)
        if now and recording.state in UNSETTLED:
            store.advance_all([settling(recording, found.identity)])
        if recording.id not in {one.id for one in taken}:
            taken.append(recording)
    return taken, refused


def _look_at(path: bytes, folders: Folders) -> Found | RefusedPath:
    status = answers.touch(path, lambda: _status_if_readable(path))
    if stat.S_ISDIR(status.st_mode):
        return RefusedPath(printable(path), "it is a folder: name the files in it")
    if not stat.S_ISREG(status.st_mode):
        return RefusedPath(printable(path), "it is no regular file")
    folder = folders.holding(path)
    if folder is None:
        top, watch = path.rpartition(b"/")[0], ""  # elsewhere it has no place
    else:
        top, watch = os.fsencode(folder.real_path()), folder.name
    return found_below(top, path, identity_of(status), origin="command", watch=watch)


def _status_if_readable(path: bytes) -> os.stat_result:
    # Opened, not only looked at: whether this process may read it is known only then.
    fd = beneath.open_file(path)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _take(store: Store, found: Found) -> Recording:
    before = store.newest_at(found.path)
    if before is None or before.state is State.RELEASED:
        return store.add([found])[0]
    is_same = before.identity.is_same_content(found.identity)
    try:
        if before.state in (State.FAILED, State.OVERWRITTEN):
            return store.advance(before, Event.RETRIED, identity=found.identity, **ANEW)
        if before.state in (State.VERIFIED, State.KEPT) and not is_same:
            return store.add([replace(found, supersedes=end_version(store, before))])[0]
    except StaleRecordingError:
        return _take(store, found)  # another worker moved it this instant
    return before
