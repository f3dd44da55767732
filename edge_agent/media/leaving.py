"""Recordings under a hidden name, for the moment between moving them aside and unlinking them.

How that is done is in `removal`; this remembers which there are, and puts back what does not go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from edge_agent.base.errors import StoreError
from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity, Recording
from edge_agent.media import answers, removal
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_MOST = 100
"""Aside at a time: bounds what a power cut leaves under hidden names until the next start."""


@dataclass(frozen=True, slots=True)
class _Leaving:
    aside: removal.Aside
    due_s: float
    """When it is asked again, and unlinked."""


class LeavingFiles:
    """What is aside, and why it comes back. For the janitor's thread, but `found`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._leaving: dict[str, _Leaving] = {}
        self._found: deque[bytes] = deque()

    def __contains__(self, recording_id: str) -> bool:
        return recording_id in self._leaving

    def has_file_of(self, identity: Identity) -> bool:
        """Return whether the file that is *identity* is aside under another of its names.

        Each move sets the time of all its names, so one goes after the other.
        """
        return any(one.aside.identity.is_same_file(identity) for one in self._leaving.values())

    @property
    def is_full(self) -> bool:
        return len(self._leaving) >= _MOST

    def add(self, recording_id: str, aside: removal.Aside, due_s: float) -> None:
        self._leaving[recording_id] = _Leaving(aside, due_s)

    def next_due_s(self) -> float | None:
        """Return the monotonic time at which the next one is due; None: there is none."""
        return min((one.due_s for one in self._leaving.values()), default=None)

    def take_due(self, now_s: float) -> tuple[Recording | None, removal.Aside] | None:
        """Take one that is due out of here, with what is remembered of it.

        Raises:
            StoreError: it is still here.
        """
        for recording_id, leaving in self._leaving.items():
            if leaving.due_s <= now_s:
                recording = self._store.get(recording_id)
                del self._leaving[recording_id]
                return recording, leaving.aside
        return None

    def bytes_on(self, device: int) -> int:
        """Return how much is about to be free on that file system."""
        identities = (one.aside.identity for one in self._leaving.values())
        return sum(one.length for one in identities if one.device == device)

    def found(self, paths: Iterable[bytes]) -> None:
        """Say that a scan has found hidden names; from any thread. `restore_found` looks at them."""
        self._found.extend(paths)

    def restore_found(self) -> None:
        """Put back what a power cut, or an earlier run, has left aside."""
        ours = {one.aside.hidden for one in self._leaving.values()}
        while self._found:
            hidden = self._found.popleft()
            if hidden in ours:
                continue
            try:
                path = answers.touch(hidden, partial(removal.put_back, hidden))
            except FileNotFoundError:
                continue  # unlinked since the scan
            except OSError as error:
                log.warning("upload.left_aside", path=printable(hidden), error=words(error))
            else:
                log.info("upload.put_back", path=printable(path))

    def put_all_back(self) -> None:
        """Give everything its name again, as far as that is possible."""
        for recording_id in tuple(self._leaving):
            leaving = self._leaving.pop(recording_id)
            with suppress(StoreError):
                self.put_back(self._store.get(recording_id), leaving.aside)

    def put_back(self, recording: Recording | None, aside: removal.Aside) -> Recording | None:
        """Give a file its name again; return its recording as it is now, None: it had none.

        Raises:
            StoreError: it has its name, and its recording still the permission to delete it.
        """
        try:
            name = aside.path.rpartition(b"/")[2]
            path = answers.touch(aside.hidden, lambda: removal.put_back(aside.hidden, name))
        except FileNotFoundError:
            return recording  # unlinked, and only that this is durable is in doubt
        except OSError as error:  # the next scan finds it
            log.warning("upload.left_aside", path=printable(aside.hidden), error=words(error))
            return recording
        log.info("upload.put_back", path=printable(path))
        if recording is None:
            return None
        # What is gone from there now was not unlinked by us.
        return self._store.update(recording, delete_allowed=False)


def words(error: Exception) -> str:
    """Return what went wrong, without the kernel's number and the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
