"""Recordings whose file is gone before it was sent, or was let go by its owner.

Used by the watcher, in its thread, when a scan has not seen a file that was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.printable import printable
from edge_agent.core.recording import FailureCode, Recording
from edge_agent.core.upload import PENDING, Event, State
from edge_agent.media import beneath
from edge_agent.media.folder import Folder
from edge_agent.media.identity import identity_at
from edge_agent.media.reconcile import Reconciler
from edge_agent.media.rings import Rings, count_overwritten
from edge_agent.media.same_file import is_another_file, keeps_numbers
from edge_agent.media.scan import number_at
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.store.failed import file_failed
from edge_agent.store.recordings import Store

log = structlog.get_logger()

SEARCHED_AT_ONCE = 1000
_GONE = "the file was deleted or moved away before it was sent"
_LEFT = (
    "its folder is watched no more, and the file is not there: watch the folder again, with its card in,"
    " and it goes on"
)
_UNSENT_OR_KNOWN = (*PENDING, State.VERIFIED)


class MissingFiles:
    """Moves recordings whose file is no more.

    Args:
        reconciler: knows the device numbers of cards that were plugged in again, and what was renamed over.
    """

    def __init__(
        self,
        folder: Folder,
        store: Store,
        activity: Activity,
        settler: StabilityCheck,
        reconciler: Reconciler,
    ) -> None:
        self._folder = folder
        self._store = store
        self._activity = activity
        self._settler = settler
        self._renumbered: Mapping[int, int] = reconciler.renumbered
        self._lost = reconciler.lost
        self._rings = Rings()
        self._keeping: dict[bytes, bool] = {}
        """Folder -> whether files keep their numbers in it."""
        self._begun: dict[Folder, int] = {}
        """Each folder that is there -> the look that it had begun when the search of now began."""
        self.is_to_look_again = False
        """Whether the last search missed something first that another look may find."""
        self._missed: dict[int, dict[Folder, int]] = {}
        """Number of a recording -> the looks that each folder had begun when it was not found any more."""

    def find(self) -> Iterator[bool]:
        """Find recordings whose file is gone, some at a time; yield whether these could be judged."""
        after, self._rings, self._keeping = 0, Rings(), {}
        missed, self._missed = self._missed, {}
        self.is_to_look_again = False
        view = self._activity.view()
        others = (one for one in self._folder.others if view.away(one.name) is None)
        self._begun = {one: one.looks.begun for one in (self._folder, *others)}
        while page := self._store.places(
            *_UNSENT_OR_KNOWN,
            after_seq=after,
            limit=SEARCHED_AT_ONCE,
            share=self._folder.share,
        ):
            after, are_judged = page[-1][0], True
            for seq, path, device, inode, watch in page:
                is_left = watch not in {"", self._folder.name}
                there = number_at(path, self._renumbered.get(device, device))
                # A number may be that of the file which was renamed over it, once its own is gone.
                is_replaced = self._lost.is_replaced(seq) and there
                if there and there != inode and not self._keeps_numbers(path):
                    continue
                if (
                    there in (inode, 0)
                    and not is_replaced
                    and not (is_left and not beneath.is_there(path))
                ):
                    are_judged &= not self._lost.may_be_replaced(seq)
                    continue
                recording = self._store.numbered(seq)
                if recording is None or recording.path != path:
                    continue
                if there and not self._has_passed_its_name_on(recording):
                    continue
                if is_left and recording.state is State.VERIFIED:
                    continue  # its card may come back with its folder: it is no new recording then
                if seq in missed:
                    self._missed[seq] = missed[seq]
                try:
                    self._vanish(recording, _LEFT if is_left else _GONE)
                except StaleRecordingError:
                    are_judged = False  # another worker moved it this instant
            yield are_judged

    def _keeps_numbers(self, path: bytes) -> bool:
        """Return whether a number that differs says anything where *path* lies: on FAT all may, of 100,000 files."""
        folder = path.rpartition(b"/")[0]
        if folder not in self._keeping:
            self._keeping[folder] = keeps_numbers(path)
        return self._keeping[folder]

    def _has_passed_its_name_on(self, recording: Recording) -> bool:
        """Return whether the name of *recording* is that of another recording's file by now.

        Its own was found nowhere: what is renamed is followed before anything is missed.
        """
        now = identity_at(recording.path)
        if now is None:
            return False
        if not self._lost.is_replaced(recording.seq) and not is_another_file(
            recording.path, recording.identity, now
        ):
            return False
        owner = self._store.owner_of(recording.path, now)
        return owner is not None and owner.id != recording.id

    def _may_lie_elsewhere(self, recording: Recording) -> bool:
        """Return whether it may have been moved, behind this look or to another folder: look through that first.

        Else whoever finds it there takes it for a new one, and this one is said to be gone.
        """
        since = self._missed.get(recording.seq)
        if since is None:
            self._missed[recording.seq] = (
                self._begun
            )  # one for all: a card may lose 100,000 at once
            self.is_to_look_again = True
            return True
        now = self._begun
        if any(one.looks.ended <= since.get(one, 0) for one in now if one is not self._folder):
            return True
        if now[self._folder] <= since[self._folder]:
            return True
        del self._missed[recording.seq]
        return False

    def _vanish(self, recording: Recording, detail: str) -> None:
        if recording.state is State.VERIFIED and recording.delete_allowed:
            return  # the janitor is at it
        if recording.state is State.SENT or recording.id in self._activity.held:
            # The server has all of it, or a lane has it open and reads it to its end: look again.
            raise StaleRecordingError(recording.id)
        if not self._lost.is_replaced(recording.seq) and self._may_lie_elsewhere(recording):
            raise StaleRecordingError(recording.id)
        self._settler.forget(recording.path)
        self._activity.wait(recording.id, None)
        if recording.state is State.VERIFIED:
            self._store.advance(recording, Event.SOURCE_VANISHED)
            return
        if recording.origin == "watch" and self._rings.has_overwritten(recording):
            count_overwritten(self._store, recording)
            return
        self._store.advance(
            recording,
            Event.SOURCE_VANISHED,
            tell=[file_failed(recording, FailureCode.SOURCE_MISSING, detail, is_permanent=False)],
            problem=FailureCode.SOURCE_MISSING,
            detail=detail,
        )
        self._activity.touch()
        path = printable(recording.path)
        log.warning("upload.failed", recording_id=recording.id, path=path, error=detail)
