"""What a file in the folder means for what is remembered: new, renamed, changed, come back.

Used by the watcher, in its thread. The sender works on the same recordings: each move is refused by the
store if the other was faster, and what is being sent at this moment is left to the sender, which finds
a change by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.printable import printable
from edge_agent.core.recording import SOURCE_CHANGED, FailureCode, Found, Identity, Recording
from edge_agent.core.upload import Event, State
from edge_agent.media import beneath
from edge_agent.media.folder import Folder
from edge_agent.media.identity import identity_at
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.lost_names import LostNames
from edge_agent.media.rings import Rings, count_overwritten
from edge_agent.media.same_file import is_another_file, is_surely_same_file, keeps_numbers
from edge_agent.media.scan import is_gone
from edge_agent.media.stability_check import UNSETTLED, StabilityCheck
from edge_agent.media.versions import end_version
from edge_agent.store.recordings import Store

log = structlog.get_logger()


class Reconciler:
    """Moves recordings by what a scan found."""

    def __init__(
        self,
        folder: Folder,
        store: Store,
        activity: Activity,
        settler: StabilityCheck,
        on_doubt: Callable[[], None],
    ) -> None:
        """Join the parts; *on_doubt* is called when a verified recording has to be read to know what it is."""
        self._store = store
        self._on_doubt = on_doubt
        self._activity = activity
        self._settler = settler
        self.renumbered: dict[int, int] = {}
        """Device number of a card before -> after it was plugged in again."""
        self._rings = Rings()
        self.lost = LostNames(folder, activity)
        self.superseded: str | None = None
        """What the server calls the earlier content of the file that was compared last."""

    def begin(self) -> None:
        """Say that another look at the folder begins: what was seen in it is older than that."""
        self._rings = Rings()

    def is_known(self, found: Found, now_s: float, look: int) -> bool:
        """Compare a file with what is remembered of its path, and move that.

        Args:
            found: the file.
            now_s: the time.
            look: number of the look at the whole folder that has found it; 0: it was found by itself.

        Returns:
            True: nothing more is to be done for it, or nothing before there is room to watch it.
            False: it is watched now, or it is new.

        Raises:
            StaleRecordingError: another worker is at it, or was this instant: look again.
            StoreError: what is remembered of it could not be read or written.
        """
        self.superseded = None
        before = self._known_at(found, look)
        is_held = before is not None and self._activity.held.get(before.id, False)
        if before is None or is_held or _is_over(before, found):
            if before is not None and before.problem == SOURCE_CHANGED:
                self.superseded = before.published_as
            # Held: deleted, and still sent; what has its name now is another one.
            moved = self._moved_here(found)
            return moved is not None and self._follow(moved, found, now_s)
        if before.watch != found.watch:  # the folder got another name while its card was out
            before = self._store.update(before, watch=found.watch)
            self._store.prioritise([before])
        identity = found.identity
        is_same = before.identity.is_same_content(identity)
        if is_same and before.identity.device != identity.device:
            # The card was plugged in again and got another number.
            self.renumbered[before.identity.device] = identity.device
        if before.state in UNSETTLED:
            return self._is_unsettled_known(before, found, now_s)
        if _was_missed(before):
            return not self._start_over(before, Event.RETRIED, found, now_s)
        if before.state in (State.VERIFIED, State.KEPT) and (
            is_same or before.identity.is_doubtful(identity)
        ):
            if before.identity.is_doubtful(identity):
                self._on_doubt()
            return True
        if before.state in (State.SENDING, State.SENT):
            is_same = before.identity.is_untouched(identity)
        if not is_same:
            if self._is_in_hand(before, identity):
                raise StaleRecordingError(before.id)  # the sender is about to notice
            return self._is_changed_known(before, found, now_s)
        if before.state is State.STABLE and before.identity != identity:
            self._store.update(before, identity=identity)
        return True

    def _is_unsettled_known(self, before: Recording, found: Found, now_s: float) -> bool:
        """Watch a file that is not finished, if it is the one that was begun; returns and raises as `is_known`."""
        if self._is_in_hand(before, found.identity):
            raise StaleRecordingError(before.id)  # whoever has it open is about to notice
        if self._settler.begun.has_lost(before, found.identity):
            return False
        self.lost.found(before.seq)
        return not self._settler.watch(found.path, before.id, found.identity, now_s)

    def _is_changed_known(self, before: Recording, found: Found, now_s: float) -> bool:
        """Move a recording whose file has other content now; returns and raises as `is_known`."""
        self._settler.pauses.learn(found.path, before.identity, found.identity, now_s)
        if before.state not in (State.VERIFIED, State.KEPT):
            if self._is_overwritten(before, found.identity):
                self._settler.forget(before.path)
                self._activity.wait(before.id, None)
                count_overwritten(self._store, before, is_rewritten=True)
                return False
            return not self._start_over(before, Event.SOURCE_CHANGED, found, now_s)
        # The receipt is for other bytes: these are a new recording.
        self.superseded = end_version(self._store, before)
        return False

    def _is_in_hand(self, before: Recording, now: Identity) -> bool:
        """Return whether a lane has the file of *before* open, which changed or, as *now*, gave its name away."""
        current = self._activity.current
        is_sent = before.state in (State.SENDING, State.SENT)
        if is_sent and current is not None and current.recording_id == before.id:
            return True
        return before.id in self._activity.held and before.identity.inode != now.inode

    def _is_overwritten(self, before: Recording, now: Identity) -> bool:
        """Return whether the recorder has used its name again, before it was sent."""
        is_finished = before.state in (State.STABLE, State.SENDING) and before.origin == "watch"
        if not is_finished or not self.lost.is_gone(before.seq):
            return False
        return self._rings.has_rewritten(before, now, LeaseProbe())

    def _has_lost_its_name(self, before: Recording, found: Found) -> bool:
        """Return whether another file took the name of *before*'s, which was moved on, perhaps, or is no more."""
        is_of_it = before.identity.inode == found.identity.inode
        if is_of_it or before.identity.is_same_content(found.identity) or _is_over(before, found):
            return False
        is_held = self._activity.held.get(before.id, False)
        return not is_held and keeps_numbers(found.path)

    def _known_at(self, found: Found, look: int) -> Recording | None:
        """Return the recording that has the path of *found*; None: there is none, or it came from elsewhere.

        Raises:
            StaleRecordingError: look again.
        """
        before = self._store.newest_at(found.path)
        if before is None or not self._has_lost_its_name(before, found):
            if before is not None and before.identity.is_same_content(found.identity):
                self.lost.found(before.seq)
            return before
        owner = self._store.owner_of(found.path, found.identity)
        if owner is not None:
            return owner
        if self._moved_here(found) is not None:
            return None
        if self.lost.is_still_sought(before.seq, look):
            raise StaleRecordingError(before.id)
        return before

    def take_rename(self, path: bytes, found: Found, now_s: float) -> bool:
        """Follow the recording of a file that was *found* right after the kernel said that it left *path*.

        Returns True if nothing more is to be done for it.

        Raises:
            StaleRecordingError: another worker moved it this instant.
            StoreError: nothing was written; a look finds the same.
        """
        there = self._store.newest_at(found.path)
        if there is not None and there.identity.inode != found.identity.inode:
            self.lost.replaced(there.seq)
        its = self._store.with_inode(found.identity.inode)
        if any(one.path == found.path and self._has_content(one, found) for one in its):
            return False  # a look was faster
        for one in sorted(its, key=lambda one: one.path != path):
            if (one.path == path and self._has_content(one, found)) or self._is_same(one, found):
                return self._follow(one, found, now_s)
        return False

    def _moved_here(self, found: Found) -> Recording | None:
        """Return the recording whose file had another path, where it is no more."""
        its = self._store.with_inode(found.identity.inode)
        return next((one for one in its if self._is_same(one, found)), None)

    def _follow(self, before: Recording, found: Found, now_s: float) -> bool:
        """Give *before* the path at which its file was *found*; returns and raises as `is_known`."""
        if before.state is State.SENT and before.id in self._activity.held:
            self.lost.found(before.seq)
            # Its receipt is on the way, and would come to nothing.
            raise StaleRecordingError(before.id)
        changes: dict[str, Any] = {
            "path": found.path,
            "folder": found.folder,
            "name": found.name,
            "watch": found.watch,
        }
        if before.upload_id is None:  # a key is for one name
            changes["idempotency_key"] = None
        is_verified = before.state in (State.VERIFIED, State.KEPT)
        # A new file may have the number of one that went; that a rename moves ctime FAT does not know.
        changes["identity"] = before.identity.to_be_read() if is_verified else found.identity
        after = self._store.update(before, **changes)
        self.lost.found(before.seq)
        if is_verified:
            self._on_doubt()  # not before it can be looked for under this path
        self._store.prioritise([after])  # moved to the urgent ones, perhaps
        self._settler.forget(before.path)
        log.info("upload.renamed", recording_id=before.id, path=printable(found.path))
        if _was_missed(after):
            return not self._start_over(after, Event.RETRIED, found, now_s)
        if after.state is State.SENT:  # its digest is of what was read under the old name
            return not self._start_over(after, Event.SOURCE_CHANGED, found, now_s)
        if after.state in UNSETTLED:
            return not self._settler.watch(found.path, before.id, found.identity, now_s)
        return True

    def _is_same(self, before: Recording, found: Found) -> bool:
        """Return whether the file of *before*, which has the same number, is the one that was *found* elsewhere."""
        if before.state in UNSETTLED and before.id in self._activity.held:
            # No other file has its number as long as it is open: it may have grown meanwhile.
            is_there_too = before.identity.device == found.identity.device
            named = identity_at(before.path)
            has_left = named is None or named.inode != found.identity.inode
            return is_there_too and has_left and before.watch == found.watch
        return self._has_content(before, found) and _has_left(before, found)

    @staticmethod
    def _has_content(before: Recording, found: Found) -> bool:
        """Return whether the file that was *found* is that of *before*, which has the same number, by what it is."""
        if before.state is State.RELEASED:
            return False
        return before.identity.is_same_content(found.identity) or (
            # It may have grown since it was looked at; what was finished, and grew, is another content.
            before.state in UNSETTLED
            and is_surely_same_file(found.path, before.identity, found.identity)
        )

    def _start_over(self, before: Recording, event: Event, found: Found, now_s: float) -> bool:
        """Put it to SEEN; return whether it is watched now."""
        changes: dict[str, Any] = {
            "identity": found.identity,
            "digest": None,
            "problem": None,
            "detail": None,
            "failures": 0,
        }
        if before.state is State.FAILED and not before.identity.is_same_content(found.identity):
            # What failed is not worth continuing; anything else may differ in its header only.
            changes |= {"idempotency_key": None, "upload_id": None}
        self._store.advance(before, event, **changes)
        self.lost.found(before.seq)
        log.info("upload.seen", recording_id=before.id, path=printable(found.path))
        return self._settler.watch(found.path, before.id, found.identity, now_s)


def _was_missed(recording: Recording) -> bool:
    """Return whether its file was gone, so that it goes on when that is back."""
    is_missing = recording.state is State.FAILED and recording.problem == FailureCode.SOURCE_MISSING
    return is_missing or recording.state is State.OVERWRITTEN


def _has_left(before: Recording, found: Found) -> bool:
    """Return whether the file of *before* is where it was no more, so that *found* may be the same.

    From one watched folder to another a file moves within its file system alone: two cameras with a card
    each may well give the same number, length and time to two files, and one of the cards may be out.
    """
    is_elsewhere = before.watch != found.watch
    if is_elsewhere and before.identity.device != found.identity.device:
        return False
    now = identity_at(before.path)
    if now is None:
        if is_elsewhere:
            return is_gone(before.path, before.identity.device)
        return not beneath.is_there(before.path)
    return now.inode != found.identity.inode and is_another_file(before.path, before.identity, now)


def _is_over(before: Recording, found: Found) -> bool:
    """Return whether nothing more comes of what had this name, so that *found* is another one."""
    if before.state is State.OVERWRITTEN:  # a ring of files uses names again
        return not before.identity.is_same_content(found.identity)
    return before.state is State.RELEASED
