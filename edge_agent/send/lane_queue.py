"""Which recording a lane takes next, and what it does with it.

The most urgent comes first, of equals the oldest; one that waits lets the next one go. Several lanes take
disjoint ranges of one recording, or different recordings (`core/gather`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice

from edge_agent.core.gather import ahead_bytes, begins_another
from edge_agent.core.plan import (
    least_bytes,
    next_range,
    request_bytes,
    share_bytes,
    up_to_a_border,
)
from edge_agent.core.recording import Recording
from edge_agent.core.upload import State
from edge_agent.send.digest_first import SMALL_BYTES
from edge_agent.send.lane_services import LaneServices
from edge_agent.send.rules.link_policy import WORK
from edge_agent.send.upload_progress import Kind, Task, UploadProgress

_PAGE = 16
_SOON_OVER = (Kind.CREATE, Kind.ASK)


class LaneQueue:
    """What one lane may take; called with the lanes' lock held."""

    def __init__(self, lane: int, shared: LaneServices) -> None:
        self._lane = lane
        self._store = shared.store
        self._roster = shared.roster
        self._permission = shared.permission
        self._waits = shared.waits
        self._uploads = shared.uploads
        self._held = shared.held
        self._body = shared.body
        self._rates = shared.rates
        self._current_id: str | None = None
        self._hashed_bytes = 0
        """About how much was read only to ask for it since bytes were last sent."""

    def leave_current(self) -> None:
        """Take no recording before others because it was the last one."""
        self._current_id = None

    def pick(self, now_s: float) -> tuple[Recording, Task] | None:
        """Return what to do: with the current recording, else with the oldest that offers work."""
        ahead = self._ahead_bytes()
        is_enough_begun = not begins_another(self._uploads.begun_bytes, ahead)
        elsewhere = min(self._left_elsewhere(now_s), ahead)
        joined: tuple[Recording, Task] | None = None
        for looked_at, recording in enumerate(self._candidates()):
            if joined is not None and (looked_at >= _PAGE or recording.turn < joined[0].turn):
                break
            if self._waits.is_held(recording.id, now_s):
                continue
            progress = self._uploads.find(recording)
            task = self._task(recording, progress, elsewhere)
            if task is None:
                if is_enough_begun and progress is not None and progress.is_doing(*_SOON_OVER):
                    break  # a round trip, and there is something to help with
                continue
            is_others = task.kind is Kind.SEND and recording.id != self._current_id
            if progress is not None and progress.flights and is_others:
                joined = joined or (recording, task)
                if is_enough_begun:
                    break
                continue  # to help can wait: what nobody has begun costs round trips first
            if task.kind is Kind.HASH and progress is not None and progress.must_ask:
                instead = self._instead_of_hashing(recording, elsewhere, now_s)
                if instead is not None:
                    return self._take(*instead)
                self._hashed_bytes += min(recording.identity.length, SMALL_BYTES)
            return self._take(recording, task)
        return None if joined is None else self._take(*joined)

    def _instead_of_hashing(
        self, hashed: Recording, elsewhere: int, now_s: float
    ) -> tuple[Recording, Task] | None:
        """Return what goes on with the newest recording, before more of *hashed* is read to ask for it.

        A card full of what the server has takes half an hour to read, and sends nothing. What was just
        recorded waits for a second of that; longer only if it has to be asked for as well, and is
        large.
        """
        if self._hashed_bytes < SMALL_BYTES:
            return None
        for newest in self._store.latest(*WORK, limit=1):
            is_due = newest.id != hashed.id and newest.turn >= hashed.turn
            if (
                not is_due
                or not self._permission.lets_go(newest)
                or self._waits.is_held(newest.id, now_s)
            ):
                continue
            progress = self._uploads.find(newest)
            must_ask = progress is not None and progress.must_ask
            task = self._task(newest, progress, elsewhere)
            if task is not None and not (
                task.kind is Kind.HASH and must_ask and newest.identity.length > SMALL_BYTES
            ):
                return newest, task
        return None

    def _take(self, recording: Recording, task: Task) -> tuple[Recording, Task]:
        if task.kind is Kind.SEND:
            self._hashed_bytes = 0
        self._current_id = recording.id
        return recording, task

    def _candidates(self) -> Iterator[Recording]:
        current = None if self._current_id is None else self._store.get(self._current_id)
        if current is not None and current.state in WORK and self._may_go_on(current):
            yield current
        # Before what has a file: each keeps its room on the disk until it is through.
        for deleted in map(self._store.get, self._held.deleted):
            if deleted is not None and deleted.state in WORK and self._may_go_on(deleted):
                yield deleted
        yield from self._due()

    def _may_go_on(self, current: Recording) -> bool:
        """Return whether nothing more urgent than the current recording waits."""
        if not self._permission.lets_go(current):
            return False
        return not self._store.due(
            *WORK,
            ahead_of=current,
            originals_from=self._permission.originals_from,
            silent=self._waits.silent,
            limit=1,
        )

    def _due(self) -> Iterator[Recording]:
        """Yield the recordings that are due, in order; of equally urgent ones what is begun first.

        What has been sent of one is of no use before all of it is there.
        """
        begun, others = self._pages(State.SENT, State.SENDING), self._pages(State.STABLE)
        yield from heapq.merge(begun, others, key=lambda one: -one.turn)  # of equals the begun one

    def _pages(self, *states: State) -> Iterator[Recording]:
        """Yield recordings a few at a time: the queue may be long."""
        after = None
        while page := self._store.due(
            *states,
            after=after,
            at_least=self._permission.least_priority,
            originals_from=self._permission.originals_from,
            silent=self._waits.silent,
            limit=_PAGE,
        ):
            yield from page
            after = page[-1]

    def _ahead_bytes(self) -> int:
        """Return how much may be begun beside what lanes are at."""
        return ahead_bytes(self._rates.total(range(self._roster.count)), self._rates.rtt_s)

    def _left_elsewhere(self, now_s: float) -> int:
        """Return about how many bytes there are for the other lanes beside the next recording."""
        count = self._roster.count
        if count == 1:
            return 0
        taken = {*self._roster.busy.values(), self._current_id}
        waiting = sum(
            recording.identity.length
            for recording in islice(self._due(), 2 * count)
            if recording.id not in taken and not self._waits.is_held(recording.id, now_s)
        )
        return waiting + self._uploads.left_in_flight

    def _task(
        self, recording: Recording, progress: UploadProgress | None, elsewhere: int
    ) -> Task | None:
        """Return what this lane can do next with *recording*; None: others see to all of it.

        Args:
            elsewhere: bytes that other lanes have beside this recording's.
        """
        if recording.state is State.STABLE:
            return None if progress is not None and progress.flights else Task(Kind.CREATE)
        if recording.state is State.SENT:
            return None if progress is not None and progress.flights else Task(Kind.COMPLETE)
        if progress is None:
            return Task(Kind.ASK)
        if progress.is_doing(Kind.CREATE, Kind.CLAIM, Kind.COMPARE, Kind.HASH, Kind.COMPLETE):
            return None
        if progress.received is None or progress.uncertain:
            if not progress.is_doing(Kind.ASK):
                return Task(Kind.ASK)
            if progress.received is None:
                return None
        if progress.must_ask:
            if progress.flights:
                return None
            is_hashed = progress.digest.upto >= progress.identity.length
            return Task(Kind.CLAIM if is_hashed else Kind.HASH)
        if progress.next_block is not None:
            return None if progress.flights else Task(Kind.COMPARE)
        return self._sending_task(progress, elsewhere)

    def _sending_task(self, progress: UploadProgress, elsewhere: int) -> Task | None:
        if not progress.is_closed:
            wanted = progress.wanted()
            lanes = self._roster.count
            rate = self._rates.expected(self._lane)
            rtt_s = self._rates.rtt_s
            most = self._rates.way.limit(progress.max_request_bytes)
            limit = request_bytes(rate, self._rates.sizing, rtt_s=rtt_s, server_max=most)
            share = share_bytes(
                wanted.total,
                elsewhere,
                lanes=lanes if rate is not None else max(lanes, self._rates.most),
                weight=self._body.weight(self._lane),
                least=least_bytes(rate, self._rates.sizing, rtt_s=rtt_s),
                rtt_s=rtt_s,
            )
            border = progress.direct_part_bytes
            longest = min(one for one in (most, self._rates.sizing.max_bytes) if one is not None)
            where = next_range(wanted, min(longest, _fit(min(limit, share), border)))
            if where is not None and border is not None:
                where = up_to_a_border(where, border)
            if where is not None:
                return Task(Kind.SEND, where)
        return None if progress.flights else Task(Kind.HASH)


def _fit(limit: int, border: int | None) -> int:
    """Return *limit*, or one whole part where it is most of one: of those the store makes objects without reading."""
    return limit if border is None or limit < border // 2 else max(limit, border)
