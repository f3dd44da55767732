"""Sends recordings while they are still written to, so that little is left when they are finished.

A worker beside the lanes, with a connection of its own. It makes an upload without a length and puts
whole blocks into it, behind the writer (`core/growing`); the recording stays GROWING. All that is sent
here is provisional: when the file is finished a lane takes up the upload, compares each of its blocks
with the file (`opening`, `steps`), sends those that differ and the rest, and completes it as any other.
So nothing here can make a wrong copy, and whatever goes wrong here leaves a recording to its end.

Finished recordings go first: while one is due, nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import structlog

from edge_agent.base.errors import (
    AbortedError,
    ConfigError,
    ConflictError,
    ForeignRefusalError,
    RejectedError,
    ServerBusyError,
    SourceError,
    StoreError,
    TransportError,
    UploadLostError,
)
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.growing import BLOCK_BYTES
from edge_agent.core.plan import MIB, RequestSizing, request_bytes
from edge_agent.core.progress import Rate
from edge_agent.core.recording import Recording
from edge_agent.core.upload import State
from edge_agent.media.folders import Folders
from edge_agent.media.source import Source
from edge_agent.net.way import Way
from edge_agent.send.begun_sources import BegunSources
from edge_agent.send.clients.interface import LaneClient, Pending
from edge_agent.send.lane_services import LaneServices
from edge_agent.send.opening import create_by
from edge_agent.send.rules.link_policy import WORK
from edge_agent.send.sent_so_far import SentSoFar
from edge_agent.send.sent_unfinished import SentUnfinished
from upload_protocol.ranges import ByteRange

log = structlog.get_logger()

_ASLEEP_S = 3600.0
"""While nobody wants it; a reload wakes it."""
_UNUSABLE_S = 60.0
_LOOK_S = 1.0
_LONGEST_LOOK_S = 2.5
"""Between two looks at a file of which the next block is not whole before: each look wakes the processor."""
_NOTHING_S = 3.0
_STORE_WAIT_S = 10.0
_SIZING = RequestSizing(min_bytes=BLOCK_BYTES, max_bytes=16 * MIB, seconds=3.0)
"""Shorter than a lane's requests: a recording that is finished meanwhile waits for the running one."""
_DUE = 32
"""Finished recordings that are asked for at a time: one that is not held back is enough."""
_CUT = (
    "its recorder cut the file short, or began it anew in place: the bytes from before are not on the device any"
    " more and cannot be delivered; the server keeps what it has of them as an unfinished upload until that"
    " expires, and what the file is at its end is sent as a whole"
)
_LEAVE = (UploadLostError, RejectedError, ConflictError, ForeignRefusalError)
"""What asking again does not change soon: what follows from it is decided about the finished file."""


class WhileRecording:
    """A worker. `step` from one thread.

    Args:
        shared: of the lanes of the link.
        more: makes the client; asked once something is to be sent.
        folders: say which names are wanted.
        way: that of the clients.
        jitter: draws from ``[0, 1)``.
    """

    def __init__(
        self,
        shared: LaneServices,
        more: Callable[[], LaneClient],
        folders: Folders,
        *,
        way: Way,
        jitter: Callable[[], float],
    ) -> None:
        self._shared = shared
        self._way = way
        self._more = more
        self._folders = folders
        self._descriptions = shared.descriptions
        self._jitter = jitter
        self._client: LaneClient | None = None
        self._rate = Rate()
        self._backoff = BackoffPolicy()
        self._failures = 0
        self._until_s = 0.0
        self._turns = 0
        self._uncounted = SentUnfinished(shared.store)
        self._sent: dict[str, SentSoFar] = {}
        self._begun = BegunSources(shared.store, shared.held, shared.roster.wake)

    def step(self, now_s: float) -> float:
        """Send at most one request's bytes; return the seconds until the next look."""
        if not self._folders.send_meanwhile and not self._sent and not self._begun:
            return _ASLEEP_S
        with self._shared.lock:
            try:
                return self._step(now_s)
            except StoreError as error:
                log.debug("growing.waits", error=str(error))
                return _STORE_WAIT_S

    def close(self) -> None:
        """Let the connection and the files go; `step` is not called any more."""
        with self._shared.lock:
            self._begun.close()
        if self._client is not None:
            self._client.close()

    def _step(self, now_s: float) -> float:
        growing = self._growing()
        self._begun.look({one.id: one for one in growing}, now_s)
        self._forget_all_but({one.id for one in growing})
        self._shared.activity.travel(
            {key: one.travel(now_s) for key, one in self._sent.items() if one.acknowledged}
        )
        if not growing:
            return _LOOK_S if self._begun else _NOTHING_S
        allowed = [one for one in growing if self._is_allowed(one, now_s)]
        if now_s < self._until_s or not self._is_idle(now_s):
            return _LOOK_S
        for recording in allowed:
            known = self._known(recording)
            if not known.is_left and self._send_some(recording, known):
                self._turns += 1
                known.served = self._turns
                return 0.0
            if now_s < self._until_s:
                break  # what went wrong with one holds for all of them
        due_s = min((self._known(one).due_in_s(now_s) for one in allowed), default=_LOOK_S)
        return max(_LOOK_S, min(_LONGEST_LOOK_S, due_s))

    def _growing(self) -> list[Recording]:
        """Return what is written to and wanted, whoever waits longest first."""
        if not self._folders.send_meanwhile:
            return []
        growing = self._shared.store.in_states(State.GROWING)
        found = [one for one in growing if self._folders.sends_meanwhile(one)]
        return sorted(found, key=lambda one: self._known(one).served)

    def _is_allowed(self, recording: Recording, now_s: float) -> bool:
        """Return whether the owner lets *recording* be sent, unfinished as it is, on the link in use."""
        permission = self._shared.permission
        return (
            permission.may_send(now_s) is None
            and permission.link_in_use.verdict.takes_unfinished
            and permission.lets_go(recording)
        )

    def _is_idle(self, now_s: float) -> bool:
        """Return whether the link is there, and nothing finished is due on it."""
        shared = self._shared
        if shared.reach.held_s(now_s) > 0:
            return False
        due = shared.store.due(
            *WORK,
            at_least=shared.permission.least_priority,
            originals_from=shared.permission.originals_from,
            silent=shared.waits.silent,
            limit=_DUE,
        )
        return all(shared.waits.is_held(one.id, now_s) for one in due)

    def _known(self, recording: Recording) -> SentSoFar:
        inode = recording.identity.inode
        known = self._sent.get(recording.id)
        if known is None or known.inode != inode:
            known = self._sent[recording.id] = SentSoFar(inode)
        return known

    def _forget_all_but(self, growing: set[str]) -> None:
        for gone in self._sent.keys() - growing:
            del self._sent[gone]
        self._uncounted.write_down(is_last=not self._sent)

    def _send_some(self, recording: Recording, known: SentSoFar) -> bool:
        """Do what is next with *recording*; return whether it was anything."""
        try:
            with self._shared.open_source(recording.path) as source:
                if source.identity.inode != known.inode:
                    return False  # another file has its name: the next look at the folder tells
                return self._advance(recording, known, source)
        except SourceError:
            known.received = None  # a request may have broken off
            return False
        except TransportError as error:
            self._on_error(recording, known, error)
            return False
        except ConfigError:
            self._until_s = self._shared.clock.now_s() + _UNUSABLE_S  # the lanes say so
            return False

    def _advance(self, recording: Recording, known: SentSoFar, source: Source) -> bool:
        if source.identity.length < known.reach:
            self._leave_cut(recording, known, source.identity.length)
            return False
        with self._shared.lock.opened():
            known.look(source, self._shared.clock.now_s())
        if not known.has_bytes(self._shared.clock.now_s()):
            return False
        client = self._connected()
        if recording.upload_id is None:
            self._create(recording, known, client)
            return True
        if known.received is None:
            with self._shared.lock.opened():
                status = client.status(recording.upload_id)
            known.learn(status)
            return True
        most = self._way.limit(known.max_request_bytes)
        wanted = request_bytes(self._rate.bytes_per_s, _SIZING, server_max=most)
        with self._shared.lock.opened():
            where = known.next(source, wanted, self._shared.clock.now_s())
        if where is None:
            return False
        if most is not None and most < where.length:
            known.is_left = True  # what passes the way is less than a block
            return False
        self._send(recording, recording.upload_id, known, source, where)
        return True

    def _leave_cut(self, recording: Recording, known: SentSoFar, length: int) -> None:
        """Leave what was cut short, or begun anew in place, to its end: what it will be then nobody knows.

        What the server has of it the device has no more: it is not thrown away where it is.
        """
        known.is_left = True
        if recording.upload_id is None or length >= known.acknowledged:
            return
        self._shared.store.leave_upload(recording)
        log.warning(
            "upload.left_at_server",
            recording_id=recording.id,
            upload_id=recording.upload_id,
            received_bytes=known.acknowledged,
            length_bytes=length,
            detail=_CUT,
        )

    def _connected(self) -> LaneClient:
        if self._client is None:
            self._client = self._more()
            self._shared.roster.add_beside(self._client)
        return self._client

    def _create(self, recording: Recording, known: SentSoFar, client: LaneClient) -> None:
        store = self._shared.store
        key = recording.idempotency_key or store.give_key(recording)
        request = replace(self._descriptions.of(recording), length=None)
        with self._shared.lock.opened():
            status = create_by(client, request, key)
        if isinstance(status, Pending):
            self._until_s = self._shared.clock.now_s() + (status.retry_after_s or _LOOK_S)
            return
        now = store.get(recording.id)
        if now is None or now.state is not State.GROWING or now.upload_id is not None:
            return  # finished meanwhile: the lanes, which need our lock, have begun or will
        store.update(now, upload_id=status.id)
        log.info("upload.planned_while_recording", recording_id=now.id, upload_id=status.id)
        known.learn(status)

    def _send(
        self,
        recording: Recording,
        upload_id: str,
        known: SentSoFar,
        source: Source,
        where: ByteRange,
    ) -> None:
        began_s = self._shared.clock.now_s()
        self._begun.keep(recording, source)
        with self._shared.lock.opened():
            pieces = self._pieces(recording, source, where)
            status = self._connected().send(upload_id, where, None, pieces)
        self._failures = 0
        if known.received is not None:
            self._uncounted.again += known.received.within(where).total
        known.learn(status)
        if not status.received.covers(where):
            known.is_left = True  # 200 without the bytes: asking again will not change that
        self._rate.add(where.length, self._shared.clock.now_s() - began_s)
        source.release_cache(where)

    def _pieces(self, recording: Recording, source: Source, where: ByteRange) -> Iterator[bytes]:
        """Yield the bytes of *where* as they are now, at the allowed rate; without the lanes' lock."""
        shared = self._shared
        looked_s = shared.clock.now_s()
        for piece in source.pieces(where):
            shared.throttle.wait_for(len(piece))
            now_s = shared.clock.now_s()
            if now_s - looked_s >= _LOOK_S or shared.permission.is_spent:
                looked_s = now_s
                with shared.lock, suppress(StoreError):
                    if not self._is_allowed(recording, now_s):
                        raise AbortedError("the link in use does not carry it")
            if shared.roster.is_refusing:
                raise AbortedError("stopped while sending")
            shared.throttle.count(len(piece))
            self._uncounted.sent += len(piece)
            yield piece

    def _on_error(self, recording: Recording, known: SentSoFar, error: TransportError) -> None:
        known.received = None
        log.debug("growing.failed", recording_id=recording.id, error=str(error))
        is_passing = isinstance(error, ConflictError) and error.is_passing
        if isinstance(error, _LEAVE) and not is_passing:
            known.is_left = True
            detail = f"nothing more of it is sent before it is finished: {error}"
            log.info("upload.left_to_its_end", recording_id=recording.id, detail=detail)
            return
        self._failures += 1
        asked_s = error.retry_after_s if isinstance(error, ServerBusyError) else None
        own_s = self._backoff.delay_s(self._failures, jitter=self._jitter())
        now_s = self._shared.clock.now_s()  # the request may have taken longer than the wait
        self._until_s = now_s + max(_LOOK_S, own_s if asked_s is None else asked_s)
