"""Whether a file is still, byte for byte, the one which the server has verified."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.base.errors import SourceChangedError
from edge_agent.core.plan import MIB
from edge_agent.core.recording import Identity, Recording
from edge_agent.media import answers
from edge_agent.media.lease import keeps_identity
from edge_agent.media.pending_removals import PendingRemovals
from edge_agent.media.running_digest import RunningDigest
from edge_agent.media.source import Source
from edge_agent.store.recordings import Store

_READ_PER_CALL = 64 * MIB
"""A second on the slowest board, so that stopping and the watchdog stay prompt."""
_COMPARED = 1000
"""Files of which it is known that they were just read: as many as may wait to be deleted."""


class VerifiedContent:
    """Compares a file with its recording, some of it at a time. For the janitor's thread."""

    def __init__(
        self,
        store: Store,
        pending: PendingRemovals,
        *,
        read_bytes: int = _READ_PER_CALL,
        is_kept: Callable[[int], bool] = keeps_identity,
    ) -> None:
        """Join the parts.

        Args:
            is_kept: whether a file's identity stands for its bytes, by a descriptor of it.
        """
        self._store = store
        self._read_bytes = read_bytes
        self._pending = pending
        self._digests: dict[str, tuple[Identity, RunningDigest, int]] = {}
        """What was read so far, of which content, and how much a call reads: of another one nothing counts."""
        self._is_kept = is_kept
        self._compared: dict[str, Identity] = {}
        """What has just been read where an identity stands for nothing."""

    def is_still_there(self, recording: Recording, source: Source) -> bool:
        """Return whether *source* is the verified file; False: still reading, come again.

        A card that was plugged in again gives its files other inode numbers, and a change of mode
        another ctime. Then the bytes themselves are compared with the digest of the receipt; and always
        on file systems where another card's file may have the same numbers and times.

        Raises:
            SourceChangedError: it is not.
            SourceError: it cannot be read.
            StoreError: its new identity could not be written; it is read again.
        """
        try:
            source.check(recording.identity)
        except SourceChangedError:
            if source.identity.length != recording.identity.length:
                raise
        else:
            is_compared = self._compared.get(recording.id) == source.identity
            if is_compared or self._keeps(source):
                return True
        found = source.identity
        begun = (found, RunningDigest(), self._read_bytes)
        read_of, digest, most = self._digests.get(recording.id, begun)
        if read_of != found:
            digest = RunningDigest()
            if read_of.is_untouched(found):
                # Where memory is short FAT may number a file anew between two calls: in the end one reads all.
                most *= 2
        self._digests[recording.id] = found, digest, most
        digest.catch_up(source, min(found.length, digest.upto + most))
        source.check(found)
        if digest.upto < found.length:
            return False
        self._digests.pop(recording.id)
        if found != recording.identity:
            self._pending.disturb(recording.id)
        if digest.digest() != recording.digest:
            msg = "its bytes are not the verified ones any more"
            raise SourceChangedError(msg)
        if not self._keeps(source):
            self._compared.pop(recording.id, None)
            self._compared[recording.id] = found
            if len(self._compared) > _COMPARED:
                del self._compared[next(iter(self._compared))]
        if found != recording.identity:
            self._store.update(recording, identity=found)
        return False

    def _keeps(self, source: Source) -> bool:
        try:
            return answers.touch(source.path, lambda: self._is_kept(source.fileno()))
        except OSError:
            return False

    def forget(self, recording_id: str) -> None:
        """It is not looked at any more."""
        self._digests.pop(recording_id, None)
        self._compared.pop(recording_id, None)
