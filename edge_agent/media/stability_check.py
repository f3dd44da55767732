"""Files that are not known to be finished, watched until they are.

Beside the watcher, `edge-agent upload` uses this alone: it looks at single files and at no folder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity, Recording
from edge_agent.core.stability import (
    Content,
    Marker,
    SettlePolicy,
    Watched,
    Writer,
    announced,
    judge,
    needs_probe,
    observe,
)
from edge_agent.core.upload import Event, State
from edge_agent.media.folder import Folder
from edge_agent.media.holders import Holders
from edge_agent.media.identity import identity_at
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.pauses import Pauses
from edge_agent.media.replaced import ReplacedFiles
from edge_agent.media.settle_wait import marked, too_early, unknown_writer
from edge_agent.store.moves import Move
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_MAX_LINES = 50
MAX_WATCHED = 4000
"""Watched at a time, some 3 MiB; the others wait in the store until these settle."""
AT_ONCE = 500
"""Looks and moves per transaction: bounds what one step takes of memory and time."""


UNSETTLED = frozenset({State.SEEN, State.GROWING})


@dataclass(slots=True)
class _Unfinished:
    recording_id: str
    watched: Watched
    inode: int
    look_at_s: float
    is_named: bool
    """Whether a person has named it: then it is a recording, if it is empty too."""


@dataclass(slots=True)
class _Added:
    """Recordings that a scan found and that are not watched yet: numbers, and when that was."""

    first: int
    last: int
    seen_s: float


class StabilityCheck:
    """Moves recordings from SEEN, over GROWING, to STABLE. For one thread."""

    def __init__(
        self,
        folder: Folder,
        store: Store,
        activity: Activity,
        probe: LeaseProbe,
        *,
        wake_sender: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._store = store
        self._activity = activity
        self._probe = probe
        self.wake_sender = wake_sender
        """Called when there may be something to send."""
        self._holders = Holders()
        self.pauses = Pauses(store.notes, folder.name)
        self.begun = ReplacedFiles(store, activity)
        self._unfinished: dict[bytes, _Unfinished] = {}
        self._moves: list[Move] = []
        self._has_backlog = False
        """Whether there is something in the store that is not watched for want of room."""
        self._added: deque[_Added] = deque()

    @property
    def _policy(self) -> SettlePolicy:
        return self._folder.rules.settle

    def __contains__(self, path: bytes) -> bool:
        return path in self._unfinished

    def __len__(self) -> int:
        return len(self._unfinished)

    def paths(self) -> Iterable[bytes]:
        return self._unfinished.keys()

    @property
    def is_full(self) -> bool:
        return len(self._unfinished) >= MAX_WATCHED

    @property
    def has_much_to_commit(self) -> bool:
        return len(self._moves) >= AT_ONCE

    def next_look_s(self) -> float | None:
        """Return the monotonic time of the next look that is due; None: nothing is watched."""
        return min((one.look_at_s for one in self._unfinished.values()), default=None)

    def watch(
        self,
        path: bytes,
        recording_id: str,
        identity: Identity,
        now_s: float,
        *,
        is_named: bool = False,
    ) -> bool:
        """Begin to watch the file at *path*, a recording in the store that is SEEN or GROWING.

        Returns:
            Whether there was room; if not, it is taken up later.
        """
        if self.is_full and path not in self._unfinished:
            self._has_backlog = True
            return False
        watched = observe(None, _content(identity), now_s)
        self._unfinished[path] = _Unfinished(
            recording_id, watched, identity.inode, now_s + self._policy.settle_s, is_named
        )
        return True

    def watch_later(self, first: int, last: int, seen_s: float) -> None:
        """Take up the recordings *first* to *last* when there is room: the scan of now added them.

        What a file is then is compared with what the scan saw, so its quiet time counts from here.
        """
        self._has_backlog = True
        self._added.append(_Added(first, last, seen_s))

    def forget(self, path: bytes) -> None:
        self._unfinished.pop(path, None)

    def clear(self) -> None:
        self._unfinished.clear()
        self._added.clear()

    def take_up(self, now_s: float) -> None:
        """Watch what others put to SEEN: the sender (it changed), a person, an earlier run."""
        ids = {one.recording_id for one in self._unfinished.values()}
        after, missing = 0, 0
        while not self.is_full and missing < MAX_WATCHED:
            page = self._store.in_states(
                State.SEEN,
                State.GROWING,
                after_seq=after,
                limit=AT_ONCE,
                share=self._folder.share,
            )
            for recording in page:
                if recording.id not in ids and recording.path not in self._unfinished:
                    missing += not self._take(recording, now_s)
            if len(page) < AT_ONCE:
                self._has_backlog = False
                self._added.clear()
                return
            after = page[-1].seq
        self._has_backlog = True

    def _take(self, recording: Recording, now_s: float) -> bool:
        """Watch *recording* if there is room; return whether its file is there."""
        seen_s = self._seen_s(recording.seq)
        identity = identity_at(recording.path)
        if identity is None:
            return False
        if self.begun.is_left_alone(recording, identity) or self.begun.has_lost(
            recording, identity
        ):
            return True
        if recording.idempotency_key is not None:  # it was finished once
            self.pauses.learn(recording.path, recording.identity, identity, now_s)
        is_named = recording.origin == "command"
        if not self.watch(recording.path, recording.id, identity, now_s, is_named=is_named):
            return True
        if seen_s is not None and identity == recording.identity:
            one = self._unfinished[recording.path]
            one.watched = observe(None, _content(identity), seen_s)
            one.look_at_s = max(now_s, seen_s + self._policy.settle_s)
        return True

    def is_replaced(self, path: bytes, identity: Identity) -> bool:
        """Return whether the file at *path* is another than the one that is watched, of which a part was sent.

        It is watched no more then: the look at the folder tells what becomes of both.
        """
        one = self._unfinished[path]
        if identity.inode == one.inode or _content(identity) == one.watched.content:
            return False
        recording = self._store.get(one.recording_id)
        if recording is None or recording.upload_id is None:
            return False
        self.forget(path)
        return True

    def _seen_s(self, seq: int) -> float | None:
        """Return when a scan added that recording; once only, later somebody may have changed it."""
        while self._added and self._added[0].last < seq:
            self._added.popleft()
        if not self._added or seq < self._added[0].first:
            return None
        self._added[0].first = seq + 1
        return self._added[0].seen_s

    def look_at_due(self, now_s: float) -> bool:
        """Look at files whose time has come, some at a time; return whether one was not there, or another."""
        if self._has_backlog and len(self) <= MAX_WATCHED // 2:
            self.take_up(now_s)
        is_one_missing = False
        due = [path for path, one in self._unfinished.items() if one.look_at_s <= now_s]
        for path in due[:AT_ONCE]:
            identity = identity_at(path)
            if identity is None:
                self._unfinished[path].look_at_s = now_s + self._policy.settle_s
                is_one_missing = True
            elif self.is_replaced(path, identity):
                is_one_missing = True
            else:
                self.look(path, identity, now_s)
        return is_one_missing

    def look(self, path: bytes, identity: Identity, now_s: float) -> None:
        """Take in what the file at *path* is now. `commit` makes what follows durable."""
        one = self._unfinished[path]
        one.inode = identity.inode
        before, one.watched = one.watched, observe(one.watched, _content(identity), now_s)
        if one.watched != before:
            self.pauses.grew(path, now_s - before.quiet_since_s)
        marker, why = self._folder.rules.markers.beside(path, identity)
        writer = None
        if needs_probe(one.watched, now_s, self._policy, marker):
            writer = self._probe.writer(path)
        pause_s = self.pauses.of(path)
        verdict = judge(
            one.watched,
            writer,
            now_s,
            self._policy,
            is_named=one.is_named,
            pause_s=pause_s,
            marker=marker,
        )
        one.look_at_s = now_s + verdict.look_again_s
        if verdict.is_finished:
            del self._unfinished[path]
            self._settle(one.recording_id, identity)
            self.pauses.finished(path, one.watched.quiet_since_s)
        elif one.watched != before or writer is Writer.SOMEBODY:
            detail = "it was written to a moment ago"
            if writer is Writer.SOMEBODY:
                quiet_s = now_s - one.watched.quiet_since_s
                detail = self._holders.detail(path, identity.inode, quiet_s=quiet_s, now_s=now_s)
            self._note_growing(one.recording_id, identity, detail)
        elif verdict.needed_s and len(self._unfinished) <= _MAX_LINES:
            # Each reason told copies all of them: not for a card full of another user's files.
            if marker is Marker.AWAITED:
                wait = marked(why, verdict.needed_s)
            elif writer is Writer.UNKNOWN:
                wait = unknown_writer(path, verdict.needed_s)
            else:
                wait = too_early(pause_s, verdict.needed_s)
            self._activity.wait(one.recording_id, wait)

    def take_as_finished(self, path: bytes, identity: Identity, now_s: float) -> None:
        """Go by what its recorder says of the watched file at *path*: that *identity* is all of it."""
        one = self._unfinished[path]
        if one.watched.content == _content(identity):
            one.watched = announced(one.watched)
            self.look(path, identity, now_s)

    def _settle(self, recording_id: str, identity: Identity) -> None:
        recording = self._store.get(recording_id)
        if recording is not None and recording.state in UNSETTLED:
            self._moves.append(settling(recording, identity))

    def _note_growing(self, recording_id: str, identity: Identity, detail: str) -> None:
        recording = self._store.get(recording_id)
        if recording is None or recording.state not in UNSETTLED:
            return  # on its way already: a person has decided
        self._activity.wait(recording_id, Wait(Reason.STILL_RECORDING, detail))
        if recording.state is State.SEEN or recording.identity.inode != identity.inode:
            self._moves.append(Move(recording, Event.GREW, {"identity": identity}))

    def commit(self) -> list[Recording]:
        """Write what the looks have found, in one transaction; return what settled.

        Raises:
            StoreError: nothing was written; the same is found again at the next look.
        """
        if not self._moves:
            return []
        moves, self._moves = self._moves, []
        settled = [one for one in self._store.advance_all(moves) if one.state is State.STABLE]
        say = log.info if len(settled) <= _MAX_LINES else log.debug
        for recording in settled:
            self._activity.wait(recording.id, None)
            say(
                "upload.settled",
                recording_id=recording.id,
                path=printable(recording.path),
                length_bytes=recording.identity.length,
            )
        if len(settled) > _MAX_LINES:
            log.info("folder.settled", files=len(settled))
        if settled and self._store.priority_of is not None:
            self._store.prioritise(settled)  # their length is known now
        self._activity.touch()
        if settled:
            self.wake_sender()
        return settled


def settling(recording: Recording, identity: Identity) -> Move:
    """Return the move of an unsettled *recording* that is finished as *identity* says."""
    told = {
        "file_id": recording.id,
        "name": recording.name,
        "folder": recording.folder,
        "length": identity.length,
        "supersedes": recording.supersedes,
    }
    event = NewEvent("file.discovered", told, subject=recording.id, is_low=True)
    return Move(recording, Event.SETTLED, {"identity": identity}, [event])


def _content(identity: Identity) -> Content:
    return Content(identity.length, identity.mtime_ns, identity.ctime_ns)
