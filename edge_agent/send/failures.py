"""What follows from a failure: which wait, which state, which word to whom.

One table of consequences for all lanes; what concerns all recordings alike is `reach`. Nothing here
sends or reads anything.
"""

from __future__ import annotations

from typing import Any

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import (
    AbortedError,
    ChannelError,
    ClockError,
    ConflictError,
    ForeignRefusalError,
    LinkBackError,
    LinkDownError,
    NotOurServerError,
    ReceiptRefusedError,
    RejectedError,
    ServerBusyError,
    SourceChangedError,
    SourceError,
    SourceSilentError,
    SourceUnreadableError,
    SourceVanishedError,
    TransportError,
    UnauthorizedError,
    UploadLostError,
)
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.left_out import Cause
from edge_agent.core.recording import (
    SOURCE_DELETED,
    FailureCode,
    Recording,
)
from edge_agent.core.upload import Event, State
from edge_agent.media.identity import identity_at
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.rings import Rings, count_overwritten
from edge_agent.media.same_file import is_another_file
from edge_agent.net.way import Way
from edge_agent.send.conflicts import Conflicts
from edge_agent.send.reach import Reach
from edge_agent.send.retries import Retries
from edge_agent.send.upload_progress import UploadProgress
from edge_agent.send.uploads_under_way import UploadsUnderWay
from edge_agent.send.waits import SHORTEST_WAIT_S, Waits
from edge_agent.store.failed import file_failed
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_MAX_REPAIRS = 3
_LOST_AGAIN_S, _LOST_LONGEST_S = 30.0, 3600.0
"""Before an upload that was lost twice is begun once more; doubles each time. Each beginning sends the
whole recording, and bytes that the server takes and loses are no progress that ends a backoff."""
_LOSSES_KEPT = 1000
_SILENT_S = 5.0
"""Before a file is asked for again whose file system does not answer: that costs nothing."""
_OPEN_ELSEWHERE = (
    "another file has its name now; its own, of which a part was sent while it was written, is still open, and"
    " is read to its end in its turn"
)
_OPEN_ELSEWHERE_S = 2.0
_SOUGHT_TRIES = 60
"""Waits for that: two minutes, in which a look at the folder has ended twice."""
_LOST_ITS_NAME = "another file has its name now: its own is looked for in the watched folder, and it goes on from there"
_YIELD_S = 1.0
"""Pause of the lane after a refusal that may concern one upload only, so that a queue of thousands
does not ask a full server thousands of times at once."""

_UNREADABLE_REASONS = {
    Cause.PERMISSION: Reason.PERMISSION,
    Cause.SOURCE_IO: Reason.SOURCE_IO,
}
_BUSY_REASONS = {
    "quota": Reason.QUOTA,
    "server_full": Reason.SERVER_FULL,
    "server_busy": Reason.SERVER_BUSY,
}


class FailurePolicy:
    """Takes what went wrong with a recording and settles what becomes of it."""

    def __init__(
        self,
        store: Store,
        activity: Activity,
        *,
        waits: Waits,
        uploads: UploadsUnderWay,
        reach: Reach,
        retries: Retries,
        conflicts: Conflicts,
        way: Way,
    ) -> None:
        self._way = way
        self._store = store
        self._activity = activity
        self._waits = waits
        self._uploads = uploads
        self._reach = reach
        self._retries = retries
        self._conflicts = conflicts
        self._losses: dict[str, int] = {}
        """Recording -> how often the server lost its upload."""
        self._sought: dict[str, int] = {}
        """Recording whose name is another file's -> how often it was waited for."""
        self._unreadable: dict[str, str] = {}
        """Recording -> why it cannot be read, as the log was told."""

    def on_source_error(self, recording: Recording, error: SourceError) -> float:
        recording = self._store.get(recording.id) or recording
        if isinstance(error, SourceChangedError):
            if self._is_open_elsewhere(recording):
                return self._waits.hold(
                    recording.id, Reason.SOURCE_MISSING, _OPEN_ELSEWHERE, _OPEN_ELSEWHERE_S
                )
            if self._is_sought(recording):
                return self._waits.hold(
                    recording.id, Reason.SOURCE_MISSING, _LOST_ITS_NAME, _OPEN_ELSEWHERE_S
                )
            if self._was_overwritten(recording):
                return 0.0
            was_sent = recording.state is not State.STABLE or recording.upload_id is not None
            tell = [
                NewEvent("file.changed_during_upload", self._named(recording), subject=recording.id)
            ]
            # The upload stays: if the length is the same, the blocks that differ will mend it.
            self._store.advance(
                recording,
                Event.SOURCE_CHANGED,
                digest=None,
                problem=None,  # what was said of it was about the other bytes
                detail=None,
                tell=tell if was_sent else (),
            )
            log.info("upload.source_changed", recording_id=recording.id, detail=str(error))
            self._let_go(recording)
            return 0.0
        if isinstance(error, SourceSilentError):
            return self._waits.hold(recording.id, Reason.SOURCE_SILENT, str(error), _SILENT_S)
        if recording.origin == "command":
            # Nobody scans for it again: the person who named it gets the answer now.
            event = (
                Event.SOURCE_VANISHED if isinstance(error, SourceVanishedError) else Event.REJECTED
            )
            is_gone = event is Event.SOURCE_VANISHED
            code = FailureCode.SOURCE_MISSING if is_gone else FailureCode.SOURCE_UNREADABLE
            self._fail(recording, event, code, str(error), permanent=False)
            return 0.0
        failures = self._retries.count(recording)
        reason = Reason.SOURCE_MISSING
        if isinstance(error, SourceUnreadableError):
            reason = _UNREADABLE_REASONS.get(error.why, Reason.BACKOFF)
            self._tell_unreadable(recording, reason, str(error))
        return self._waits.hold(recording.id, reason, str(error), self._retries.delay_s(failures))

    def _was_overwritten(self, recording: Recording) -> bool:
        """Count *recording* as overwritten, if its recorder has used its name again; else return False."""
        now = identity_at(recording.path)
        is_finished = recording.state in (State.STABLE, State.SENDING)
        if now is None or not is_finished or recording.origin != "watch":
            return False
        is_gone = recording.problem == SOURCE_DELETED  # and what was open of it is so no more
        if not is_gone and not Rings().has_rewritten(recording, now, LeaseProbe()):
            return False
        count_overwritten(self._store, recording, is_rewritten=True)
        self._let_go(recording)
        return True

    def _is_sought(self, recording: Recording) -> bool:
        """Return whether another file has the name, and the watcher finds out where the recording's own is.

        It may look there no more, for its folder or its patterns are others now: then what is there is sent.
        """
        now = identity_at(recording.path)
        if now is None or recording.origin != "watch" or recording.problem == SOURCE_DELETED:
            return False  # what was open of it is so no more, and had no name
        if not is_another_file(recording.path, recording.identity, now):
            return False
        tries = self._sought.pop(recording.id, 0) + 1
        if tries > _SOUGHT_TRIES:
            return False
        self._sought[recording.id] = tries
        if len(self._sought) > _LOSSES_KEPT:
            del self._sought[next(iter(self._sought))]
        return True

    def _is_open_elsewhere(self, recording: Recording) -> bool:
        """Return whether the name of *recording* is another file's, while its own is kept open."""
        now = identity_at(recording.path)
        is_replaced = now is not None and now.inode != recording.identity.inode
        is_held = self._activity.held.get(recording.id)
        if recording.problem == SOURCE_DELETED and not is_held:
            return False  # what was held of it is so no more
        return is_replaced and is_held is not None

    def _tell_unreadable(self, recording: Recording, reason: Reason, detail: str) -> None:
        """Tell the log once: only a person can give the agent access, and others may go on for days."""
        if self._unreadable.get(recording.id) == detail:
            return
        self._unreadable[recording.id] = detail
        if len(self._unreadable) > _LOSSES_KEPT:
            del self._unreadable[next(iter(self._unreadable))]
        log.warning(
            "upload.waiting",
            recording_id=recording.id,
            reason=reason.value,
            detail=detail,
        )

    def on_transport_error(
        self,
        recording: Recording,
        error: TransportError,
        *,
        began_s: float,
        has_others: bool = False,
    ) -> float | None:
        """Settle what follows from *error*, of a request that began at *began_s*.

        Args:
            has_others: other lanes are busy, too.

        Returns:
            The seconds until the next look; None: only this lane's connection broke, others get
            through.
        """
        progress = self._note(recording, error)
        match error:
            case AbortedError():
                return self._waits.hold_lane(Reason.PAUSED, "stopped on request", _YIELD_S)
            case LinkBackError():
                return 0.0
            case ChannelError():
                return self._on_channel(recording, error, began_s)
            case LinkDownError() | NotOurServerError():
                return self._on_link(recording, error, began_s, has_others=has_others)
            case ServerBusyError():
                return self._on_busy(recording, error, began_s)
            case UnauthorizedError():
                return self._reach.on_unauthorized(error)
            case ClockError():
                return self._reach.on_clock(recording, error)
            case UploadLostError():
                return self._begin_anew(recording, str(error))
            case ConflictError():
                return self._on_conflict(recording, progress, error, began_s)
            case RejectedError():
                code = FailureCode(error.code)
                self._fail(recording, Event.REJECTED, code, str(error), permanent=True)
                return 0.0
            case ReceiptRefusedError():
                return self._on_receipt_refused(recording, error)
            case _:
                return self._retry_later(recording, str(error))

    def _note(self, recording: Recording, error: TransportError) -> UploadProgress | None:
        log.debug("request.failed", recording_id=recording.id, error=str(error))
        if not isinstance(error, LinkDownError | NotOurServerError | AbortedError):
            self._reach.link_wait = None  # somebody of ours answered, whatever it was
        progress = self._uploads.find(recording)
        if progress is not None:
            progress.attempts += 1
        return progress

    def lane_delay_s(self, failures: int) -> float:
        """Return the wait of a lane whose connection broke while others got through."""
        return self._retries.delay_s(failures) / 4

    def _on_channel(self, recording: Recording, error: ChannelError, began_s: float) -> float:
        """Wait by itself, and let all wait until the server has answered a question that is anybody's.

        If it does, only this recording's requests are refused, and the others go on.
        """
        was_asked_for_it = not self._reach.must_probe
        wait_s = self._reach.on_channel(error, began_s)
        if was_asked_for_it:
            longer_s = wait_s + self._retries.delay_s(self._retries.count(recording))
            self._waits.hold(recording.id, Reason.LINK, str(error), longer_s)
        return wait_s

    def _on_link(
        self, recording: Recording, error: TransportError, began_s: float, *, has_others: bool
    ) -> float | None:
        """Wait for the link; where a body was refused on the way, go on with what may pass instead."""
        if not isinstance(error, ForeignRefusalError):
            return self._reach.on_link_down(recording, error, began_s, has_others=has_others)
        if self._way.refused(error.status, error.length):
            self._reach.must_probe = True  # whoever answers now may be nobody of ours
            known = self._way.learned
            log.warning(
                "link.limited",
                status=error.status,
                refused_bytes=error.length,
                max_request=known.max_request,
                method="POST" if known.as_post else "PUT",
                action="none: requests are made so that they pass; larger ones are tried again in a day",
            )
            detail = f"{error}; another size or method is tried now"
            return self._waits.hold_lane(Reason.LINK, detail, SHORTEST_WAIT_S)
        least = self._way.least_request
        advice = (
            f"; nothing smaller is tried, for [upload] min_request is {least} bytes: lower it"
            " (64KiB at least), or let the proxy take longer bodies (client_max_body_size in nginx) and PUT"
        )
        if self._way.learned.no_post:
            advice += "; upgrade the server: this one takes no POST in place of PUT"
        refused = ForeignRefusalError(error.status, error.length, advice)
        return self._reach.on_link_down(recording, refused, began_s, has_others=has_others)

    def _on_busy(self, recording: Recording, error: ServerBusyError, began_s: float) -> float:
        reason = _BUSY_REASONS[error.blocked_by]
        if reason is Reason.QUOTA:
            self._activity.problem(ProblemCode.QUOTA, present=True)
        if error.is_foreign and (left_s := self._reach.on_foreign_busy(began_s)) is not None:
            return left_s
        failures = self._retries.count(recording)
        wait_s = (
            self._retries.delay_s(failures) if error.retry_after_s is None else error.retry_after_s
        )
        if error.concerns_all:
            return self._waits.hold_lane(reason, str(error), wait_s, is_foreign=error.is_foreign)
        self._waits.hold(recording.id, reason, str(error), wait_s)
        return self._waits.hold_lane(reason, str(error), min(wait_s, _YIELD_S))

    def _on_conflict(
        self,
        recording: Recording,
        progress: UploadProgress | None,
        error: ConflictError,
        began_s: float,
    ) -> float:
        """Look at what the server holds, once; an upload that is stuck all the same is begun anew."""
        is_sent = recording.state is State.SENT
        if is_sent and error.code == "digest-mismatch" and progress is not None:
            return self._begin_repair(recording, progress, error)
        if not error.is_passing:
            if self._conflicts.cannot_end(recording, progress, began_s):
                return self._begin_anew(recording, str(error))
            if is_sent:
                recording = self._store.advance(recording, Event.RANGES_MISSING, digest=None)
        if progress is not None:
            # Only the server's own status says whether an upload takes bytes at all.
            is_listed = error.is_passing or error.code == "ranges-missing"
            progress.learn_missing(error.missing if is_listed else None)
        return self._retry_later(recording, str(error))

    def _begin_repair(
        self, recording: Recording, progress: UploadProgress, error: ConflictError
    ) -> float:
        expected = None if recording.digest is None else str(recording.digest)
        told = {**self._named(recording), "expected": expected, "actual": None, "scope": "file"}
        tell = [NewEvent("checksum.failed", told, subject=recording.id)]
        if progress.repairs >= _MAX_REPAIRS:
            self._activity.problem(ProblemCode.CHECKSUM, present=True)
            detail = f"after {_MAX_REPAIRS} repairs the server still holds other bytes: {error}"
            self._fail(
                recording, Event.REJECTED, FailureCode.CHECKSUM, detail, permanent=True, also=tell
            )
            return 0.0
        self._store.advance(recording, Event.DIGEST_MISMATCHED, digest=None, tell=tell)
        progress.begin_repair()
        log.warning("upload.repairing", recording_id=recording.id, round=progress.repairs)
        return 0.0

    def _begin_anew(self, recording: Recording, detail: str) -> float:
        """Drop the upload and its key; the next create makes another."""
        anew: dict[str, Any] = {"upload_id": None, "idempotency_key": None, "digest": None}
        if recording.state is State.STABLE:
            recording = self._store.update(recording, **anew)
        else:
            recording = self._store.advance(recording, Event.UPLOAD_LOST, **anew)
        log.info("upload.lost", recording_id=recording.id, detail=detail)
        self._uploads.drop(recording.id)
        losses = self._losses.pop(recording.id, 0) + 1
        self._losses[recording.id] = losses
        if len(self._losses) > _LOSSES_KEPT:
            del self._losses[next(iter(self._losses))]
        if losses == 1:
            return self._retry_later(recording, detail)
        self._retries.count(recording)
        wait_s = min(_LOST_LONGEST_S, _LOST_AGAIN_S * 2.0 ** min(losses - 2, 16))
        return self._waits.hold(recording.id, Reason.BACKOFF, detail, wait_s)

    def _on_receipt_refused(self, recording: Recording, error: ReceiptRefusedError) -> float:
        self._activity.problem(ProblemCode.CHECKSUM, present=True)
        if recording.problem != error.code:
            tell = [
                NewEvent(
                    "checksum.failed",
                    {
                        **self._named(recording),
                        "expected": error.expected,
                        "actual": error.actual,
                        "scope": "receipt",
                    },
                    subject=recording.id,
                )
            ]
            recording = self._store.update(
                recording, problem=error.code, detail=str(error), tell=tell
            )
        return self._retry_later(recording, str(error))

    def _retry_later(self, recording: Recording, detail: str) -> float:
        failures = self._retries.count(recording)
        return self._waits.hold(
            recording.id, Reason.BACKOFF, detail, self._retries.delay_s(failures)
        )

    def _fail(
        self,
        recording: Recording,
        event: Event,
        code: FailureCode,
        detail: str,
        *,
        permanent: bool,
        also: list[NewEvent] | None = None,
    ) -> None:
        failed = file_failed(recording, code, detail, is_permanent=permanent)
        self._store.advance(
            recording,
            event,
            problem=code,
            detail=detail,
            upload_id=None,
            idempotency_key=None,
            tell=[*(also or []), failed],
        )
        log.error("upload.failed", recording_id=recording.id, code=code, detail=detail)
        self._let_go(recording)

    def _let_go(self, recording: Recording) -> None:
        self._waits.release(recording.id)
        self._uploads.drop(recording.id)

    @staticmethod
    def _named(recording: Recording) -> dict[str, object]:
        return {"file_id": recording.id, "name": recording.name}
