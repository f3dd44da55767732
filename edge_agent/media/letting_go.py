"""How one verified recording goes: permission, moved aside, looked at again, unlinked.

Nothing is unlinked but a file that is, at that moment, the one which the server has verified, that
nobody has open for writing, and only with the receipt and the permission to delete on disk here (law
L2). A doubt keeps the file. Which recording goes, and when, the janitor decides.
"""

from __future__ import annotations

import stat
from collections.abc import Callable

import structlog

from edge_agent.base.errors import (
    SourceChangedError,
    SourceError,
    SourceSilentError,
    SourceVanishedError,
)
from edge_agent.base.patience import SilentError
from edge_agent.core.recording import SOURCE_CHANGED, Recording
from edge_agent.core.retention import ASIDE_S
from edge_agent.core.stability import Writer
from edge_agent.core.upload import Event, State
from edge_agent.media import answers, beneath, removal
from edge_agent.media.folder import Folder
from edge_agent.media.folders import Folders
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.leaving import LeavingFiles, words
from edge_agent.media.old_receipts import OldReceipts
from edge_agent.media.pending_removals import PendingRemovals
from edge_agent.media.source import Source
from edge_agent.media.verified_content import VerifiedContent
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_QUIET_LOOK_S = 30.0
"""Between two looks at whether a file is quiet whose writer the kernel cannot name."""
_RETRY_S = 60.0


class LettingGo:
    """For the janitor's thread.

    Args:
        probe: says who writes; this one's own, for it is for one thread.
        unlink: removes a name in an open folder.
        deletes_in: whether the owner lets verified recordings of a folder go, asked anew each time.
        on_replaced: called when other bytes lie where the verified ones were.
    """

    def __init__(
        self,
        store: Store,
        folders: Folders,
        *,
        pending: PendingRemovals,
        leaving: LeavingFiles,
        receipts: OldReceipts,
        probe: LeaseProbe,
        unlink: Callable[[bytes, int], None],
        deletes_in: Callable[[Folder], bool],
        on_replaced: Callable[[], None],
    ) -> None:
        self._store = store
        self._folders = folders
        self._pending = pending
        self._leaving = leaving
        self._receipts = receipts
        self._probe = probe
        self._unlink = unlink
        self._deletes_in = deletes_in
        self._on_replaced = on_replaced
        self.content = VerifiedContent(store, pending)

    def forget(self, recording_id: str) -> None:
        """Forget what was found out about one that goes no more."""
        self.content.forget(recording_id)
        self._pending.forget(recording_id)

    def begin(self, recording: Recording, now_s: float) -> float:
        """Move its file aside, if all that must hold does; return the seconds until the next one's turn.

        Where it does not, the recording waits, with the reason on the board.
        """
        receipt = recording.receipt
        if receipt is None or receipt.digest != recording.digest:
            self._pending.trouble(recording, "its receipt is not for its digest", now_s)
            return 0.0
        if self._pending.awaits_repair(recording.id, now_s):
            return 0.0
        if not self._receipts.may_go(recording, receipt, now_s):
            return 0.0
        try:
            with Source.open(recording.path) as source:
                if self.content.is_still_there(recording, source):
                    return self._move_aside(recording, source, now_s)
        except SourceVanishedError:
            self._on_vanished(recording, now_s)
        except SourceChangedError as error:
            self.close_changed(recording, error)
        except (SourceSilentError, SilentError):
            self._pending.wait(recording.id, now_s)  # its folder says so
        except (SourceError, OSError) as error:
            self._pending.trouble(recording, words(error), now_s)
        return 0.0

    def _move_aside(self, recording: Recording, source: Source, now_s: float) -> float:
        """Move it aside, if nobody writes to it; it is unlinked by a later step."""
        settle = self._folders.of(recording.watch).rules.settle
        path, identity = recording.path, recording.identity
        writer = answers.touch(path, lambda: self._probe.writer_of(source.fileno()))
        if writer is Writer.SOMEBODY:
            self._pending.written(recording.id, now_s)
            return 0.0
        if writer is Writer.UNKNOWN:
            is_quiet = self._pending.is_quiet(
                recording.id, now_s, fallback_s=settle.fallback_settle_s
            )
            if not is_quiet:
                return _QUIET_LOOK_S if is_quiet is None else 0.0
        if not recording.delete_allowed:
            recording = self._store.update(recording, delete_allowed=True)
        aside = answers.touch(path, lambda: removal.move_aside(path, source, identity))
        wait_s = ASIDE_S if writer is Writer.NOBODY else settle.fallback_settle_s
        self._leaving.add(recording.id, aside, now_s + wait_s)
        return 0.0

    def finish(self, recording: Recording | None, aside: removal.Aside, now_s: float) -> None:
        """Unlink what was moved aside, or put it back.

        Args:
            recording: None, or another state than VERIFIED: its name is another recording's by now.
        """
        if recording is not None and recording.state is not State.VERIFIED:
            recording = None  # a new file has its name, and the watcher has closed the old one
        folder = self._folders.holding(aside.path)
        if folder is None or not self._deletes_in(folder):  # since a moment ago
            self._leaving.put_back(recording, aside)
            return
        try:
            answers.touch(
                aside.hidden, lambda: removal.remove(aside, self._probe, unlink=self._unlink)
            )
        except SourceVanishedError:
            if recording is not None:
                self._on_vanished(recording, now_s)
            return
        except SilentError:  # unlinked, or not, or later: the next look tells
            if recording is not None:
                self._leaving.add(recording.id, aside, now_s + _RETRY_S)
            return
        except (removal.StillWrittenError, SourceError, OSError) as error:
            recording = self._leaving.put_back(recording, aside)
            if recording is None:
                self._on_replaced()
            elif isinstance(error, removal.StillWrittenError):
                self._pending.written(recording.id, now_s)
            elif isinstance(error, SourceChangedError):
                self.close_changed(recording, error)
            else:
                self._pending.trouble(recording, words(error), now_s)
            return
        if recording is not None:
            self._released(recording)

    def close_changed(self, recording: Recording, error: SourceChangedError) -> None:
        """Say that what is there now is not the verified file.

        Never deleted: it is another recording, and the next scan finds it.
        """
        self.forget(recording.id)
        self._store.advance(
            recording, Event.SOURCE_CHANGED, problem=SOURCE_CHANGED, detail=str(error)
        )
        log.info("upload.changed_after_verified", recording_id=recording.id, detail=str(error))
        self._on_replaced()

    def _released(self, recording: Recording) -> None:
        self.forget(recording.id)
        self._store.advance(
            recording,
            Event.DELETED,
            tell=[
                NewEvent(
                    "file.deleted_locally",
                    {
                        "file_id": recording.id,
                        "name": recording.name,
                        "length": recording.identity.length,
                        "digest": str(recording.digest),
                    },
                    subject=recording.id,
                )
            ],
        )
        log.info(
            "upload.released", recording_id=recording.id, length_bytes=recording.identity.length
        )
        if beneath.is_there(recording.path):
            # A new one. As long as the old one, a scan took it for that, touched: it must ask anew.
            self._on_replaced()

    def _on_vanished(self, recording: Recording, now_s: float) -> None:
        """Tell our own unlink before a power cut from one that it came before, or from a pulled card."""
        hidden = removal.hidden_path(recording.path)
        if recording.delete_allowed and beneath.is_there(hidden):
            aside = removal.Aside(recording.path, hidden, recording.identity)
            now = self._leaving.put_back(recording, aside)
            is_back = now is not None and not now.delete_allowed
            if not is_back:
                self._pending.wait(recording.id, now_s)
            return
        if recording.delete_allowed and self._is_mounted(recording):
            self._released(recording)
            return
        if recording.delete_allowed:
            self._store.update(recording, delete_allowed=False)  # the watcher judges what is gone
        self._pending.wait(recording.id, now_s)

    @staticmethod
    def _is_mounted(recording: Recording) -> bool:
        try:
            folder = beneath.status(recording.path.rpartition(b"/")[0])
        except OSError:
            return False
        return stat.S_ISDIR(folder.st_mode) and folder.st_dev == recording.identity.device
