"""What the device holds, told to the server run by run: what has changed since the last run, packed.

The server says how far it is; from there each run goes on. Who was told by another database, or so long ago
that it is not known any more what went since, is told everything anew, the oldest change first.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from edge_agent.core.upload import PENDING, State
from edge_agent.report.payloads import encode
from edge_agent.store.changes import KEPT, Change, Changes

MOST_PACKED: Final = 256 * 1024
MOST_UNPACKED: Final = 4 * 1024 * 1024
"""Of one run: the server takes no longer one."""
ROWS, METERED_ROWS = 2000, 150
"""In one run; over a metered link some kilobytes, so that the budget is not overdrawn by much."""

_GAP_S, _METERED_GAP_S = 60.0, 1800.0
"""Between the end of one list of changes and the next: each file makes three of them."""
_AGAIN_S = 1.5
"""Between two runs of one list: the server takes no more than one message a second."""
_REFUSED_S = 3600.0
_ALL_OF_THEM = 5
"""Recordings that are refused one after the other: whoever does so takes none."""


class AfterRefusal(Enum):
    """What follows from a run that the server refuses."""

    SHORTER = auto()
    """The next one has half of its rows: one of them is to blame, or there were too many."""
    ONE_LEFT_OUT = auto()
    """It had one row, which is passed over."""
    NO_MORE = auto()
    """Nothing of the list is told to this server any more."""


@dataclass(frozen=True, slots=True)
class HoldsStanding:
    """How far the server is."""

    epoch: str
    through: int


class HoldsTelling:
    """Used by one thread.

    Raises:
        StoreError: from `standing` and `next_run`, when the database cannot be read.
    """

    def __init__(self, changes: Changes, device_id: str) -> None:
        self._changes = changes
        self._device_id = device_id
        self.is_asked = True
        """Whether the next report asks the server how far it is."""
        self._known: HoldsStanding | None = None
        self._is_told = False
        self._due_s = 0.0
        self._sent = 0
        """Rows of the last run."""
        self._most: int | None = None
        """Rows that the next run may have, since a longer one was refused; 0: it passes one over."""
        self._left_out_in_a_row = 0
        self._is_refused = False
        self._server_run: str | None = None
        self._has_failed = False

    def standing(self) -> HoldsStanding:
        """Return how far this device is."""
        return HoldsStanding(self._changes.epoch(), self._changes.latest())

    def hear(self, standing: HoldsStanding | None) -> None:
        """Take what the server says in answer to a report that asked; None: it keeps no such list."""
        self.is_asked, self._known, self._is_told = False, standing, False
        self._most, self._left_out_in_a_row, self._is_refused = None, 0, False

    def met(self, server_run: str | None) -> bool:
        """Say which run of a server took a report; return whether to offer it what another one refused."""
        may_more = self._is_refused and server_run != self._server_run
        self.is_asked |= may_more
        self._server_run = server_run
        return may_more

    def changed(self) -> None:
        """Say that there may be something to tell."""
        self._is_told = False

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until a run may be due; without end where there is none."""
        if self._known is None or self._is_told:
            return float("inf")
        return max(0.0, self._due_s - now_s)

    def next_run(self, now_s: float, *, is_metered: bool) -> bytes | None:
        """Return what is to be told now; None: the server has all of it."""
        self._due_s = now_s + (_METERED_GAP_S if is_metered else _GAP_S)
        known, here = self._known, self.standing()
        if known is None or known == here:
            self._is_told = True
            return None
        if known.epoch == here.epoch and known.through > here.through:
            here = HoldsStanding(self._changes.begin_epoch(), here.through)
        since = known.through if known.epoch == here.epoch else 0
        if since < here.through - KEPT:
            since = 0
        if here.through == 0 and known.through == 0:
            self._is_told = True  # nothing was ever here, and nothing is known there
            return None
        return self._run(here, since, METERED_ROWS if is_metered else ROWS)

    def _run(self, here: HoldsStanding, since: int, limit: int) -> bytes:
        if self._most is not None:
            limit = max(1, min(limit, self._most))
        while True:
            found = self._changes.after(since, limit)
            is_all = len(found) < limit
            through = max(here.through, since) if is_all or not found else found[-1].number
            if self._most == 0:
                found, is_all = [], False
            self._sent = len(found)
            document = {
                "v": 1,
                "device": self._device_id,
                "epoch": here.epoch,
                "from": since,
                "through": through,
                "is_whole": since == 0 and is_all,
                "rows": _rows(found),
            }
            packed = packed_of(document)
            if packed is not None:
                return packed
            limit = max(1, len(found) // 2)

    def answered(self, standing: HoldsStanding | None, now_s: float) -> None:
        """Take what the server says to a run; None: it takes none."""
        if standing is None or standing == self._known:
            self._due_s = now_s + _REFUSED_S  # it would say the same again
        elif standing.through < self._changes.latest():
            self._due_s = now_s + _AGAIN_S
        self._known = standing or self._known
        self._has_failed = False
        if self._sent:
            self._left_out_in_a_row = 0
        if self._most is not None:
            more = max(1, 2 * self._most)
            self._most = more if more < ROWS else None

    def refused(self, now_s: float) -> AfterRefusal:
        """Take that the server refuses the last run, and would refuse the same again."""
        self._due_s = now_s + _AGAIN_S
        if self._sent == 1:
            self._left_out_in_a_row += 1
        if self._sent == 0 or self._left_out_in_a_row == _ALL_OF_THEM:
            self._known, self._is_refused = None, True
            return AfterRefusal.NO_MORE
        self._most = self._sent // 2
        return AfterRefusal.SHORTER if self._most else AfterRefusal.ONE_LEFT_OUT

    def failed(self, now_s: float, wait_s: float) -> bool:
        """Take that a run did not arrive; return whether it is the first since one did."""
        is_first, self._has_failed = not self._has_failed, True
        self._due_s = now_s + wait_s
        return is_first


def packed_of(document: dict[str, Any]) -> bytes | None:
    """Return *document* as gzip; None: it is longer than the server takes."""
    raw = encode(document)
    if len(raw) > MOST_UNPACKED:
        return None
    packer = zlib.compressobj(level=6, wbits=31)
    packed = packer.compress(raw) + packer.flush()
    return packed if len(packed) <= MOST_PACKED else None


def _rows(found: Sequence[Change]) -> list[list[Any]]:
    return [
        [one.id, None]
        if one.is_gone
        else [
            one.id,
            one.name,
            one.folder,
            one.length,
            one.mtime_ns // 10**9,
            _said(one.state),
            one.problem,
        ]
        for one in found
    ]


def _said(state: State) -> str:
    """Return the word for a state that is told: how far a recording is sent is not."""
    if state in (State.SEEN, State.GROWING):
        return "growing"
    if state in PENDING:
        return "pending"
    return "verified" if state is State.KEPT else str(state)
