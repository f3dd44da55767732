"""Has what would miss its deadline sent over whatever link there is, and says beforehand from when on.

A worker beside the lanes. It gives such recordings a priority (`DUE`) with which they go over a link that
costs, and at times at which nothing else goes; nothing else depends on it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import inf

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.base.local_zone import LOCAL
from edge_agent.core.deadline import Deadline, DueTimes, Outlook, Waiting, Work
from edge_agent.core.recording import Brief, Recording, age_s
from edge_agent.core.schedule import DUE, Note
from edge_agent.send.rules.link_policy import WORK, Foretold, LinkInUse
from edge_agent.send.rules.wanted_by import WantedBy
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_LOOK_S, _SOONEST_S, _LATEST_S = 30.0, 5.0, 60.0
_ASLEEP_S = 3600.0
_PAGE = 500
_ASSUMED = 125_000.0
"""Bytes per second of a link that nothing was measured of: what a weak mobile network does."""
_SLOWEST = 1000.0
_SHOWN = 60
"""Characters of a group's name in a sentence."""
_PART_OF_TIME = 20
"""A queue that takes a second to look through is looked at every twenty."""
_CALMER = 4
"""What was to go waits again once it could at a rate so many times less: a dip is over, nothing flaps."""
_FIRST_YEAR, _LAST_YEAR = 2000, 9000
"""A clock beyond them is not set, whatever the kernel says."""


class Deadlines:
    """A worker. `step` from one thread.

    Args:
        link: returns the link in use and what holds on it.
        tell: called with what people are told.
        obey: called when recordings have another priority.
    """

    def __init__(
        self,
        store: Store,
        activity: Activity,
        clock: Clock,
        *,
        link: Callable[[], LinkInUse],
        tell: Callable[[Foretold], None],
        obey: Callable[[], None],
    ) -> None:
        self._store = store
        self._activity = activity
        self._clock = clock
        self._link = link
        self._tell = tell
        self._obey = obey
        self._rates: dict[str, float] = {}
        """Interface -> what was measured over it last."""
        self._raised: set[int] = set()
        """Numbers of recordings that have the priority already."""
        self._told = Foretold()
        self._is_clean = False
        """Whether no recording has a priority that a rule of before gave it, and `_raised` has all the others."""
        self.rules: Sequence[Deadline] = ()

    def go_by(self, rules: Sequence[Deadline]) -> None:
        """Let *rules* hold from the next step on."""
        self.rules, self._is_clean = rules, False

    def step(self, now_s: float) -> float:
        """Look once at all that has a deadline; return the seconds until the next look."""
        try:
            wait_s = self._look()
            return max(wait_s, _PART_OF_TIME * (self._clock.now_s() - now_s))
        except StoreError as error:
            self._is_clean = False
            log.warning("deadlines.waiting", error=str(error))
            return _LOOK_S

    def _look(self) -> float:
        is_clean = self._is_clean
        if not is_clean:
            self._is_clean = True
        rules = self.rules  # after that: rules that come meanwhile are another reason
        if not is_clean:
            self._take_back(WantedBy(rules, self._store.group_places))
        if not rules:
            self._say(Foretold())
            return _ASLEEP_S
        now = self._clock.now_utc()
        if not self._clock.is_synchronised() or not _FIRST_YEAR < now.year < _LAST_YEAR:
            text = "[[deadline]]: while the clock is not set nobody can say what would be missed; nothing goes for it"
            self._say(Foretold(notes=(Note("rule_unknown", text),)))
            return _LOOK_S
        now = now.astimezone(LOCAL)
        rate = self._rate()
        wanted = WantedBy(rules, self._store.group_places)
        waiting = Waiting(self._works(wanted, now))
        found = waiting.outlook(rate)
        self._let_go(found)
        if self._raised:
            calm = set(waiting.outlook(rate / _CALMER).must_go)
            if self._raised - calm:
                self._take_back(wanted, calm)
        self._say(
            Foretold(_beforehand(found, now, rate), bool(found.must_go), self._late(found, rate))
        )
        soon_s = _LATEST_S if found.begins_in_s is None else found.begins_in_s
        return min(_LATEST_S, max(_SOONEST_S, soon_s))

    def _rate(self) -> float:
        """Return what the link in use carries per second, as it was measured last."""
        link, measured = self._link(), self._activity.rate_bytes_per_s
        name = link.interface or ""
        if measured is not None and self._activity.current is not None:
            self._rates[name] = measured
        rate = self._rates.get(name, _ASSUMED)
        if link.verdict.max_rate is not None:
            rate = min(rate, link.verdict.max_rate)
        return max(_SLOWEST, rate)

    def _works(self, wanted: WantedBy, now: datetime) -> Iterator[Work]:
        """Yield what can be sent and has a deadline; of a folder that is silent nothing can.

        A group is due when the first of its files is that are left.
        """
        silent = self._activity.view().silent
        current, running_s = self._activity.current, self._store.running.now_s()
        times: dict[int, DueTimes] = {}
        groups: dict[int, _Together] = {}
        for one, rule, group in self._wanted(wanted):
            if one.origin == "watch" and one.watch in silent:
                continue
            left = one.length
            if current is not None and current.recording_id == one.id:
                left = max(0, left - current.acknowledged)
            if id(rule) not in times:  # by number: to hash a rule takes longer than all else here
                times[id(rule)] = DueTimes(rule, now)
            due_in_s = times[id(rule)].due_in_s(age_s(one, running_s=running_s, now=now))
            if group:
                groups.setdefault(group, _Together()).add(one.seq, left, due_in_s)
            else:
                yield Work(one.seq, left, due_in_s)
        for group, files in groups.items():
            for seq, left in zip(files.seqs, files.lefts, strict=True):
                yield Work(seq, left, files.due_in_s, group)

    def _wanted(self, wanted: WantedBy) -> Iterator[tuple[Brief, Deadline, int]]:
        after = 0
        while True:
            page = self._store.briefs.page(*WORK, after_seq=after, limit=_PAGE)
            yield from wanted.of(page)
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    def _let_go(self, found: Outlook) -> None:
        near = set(found.must_go)
        if new := near - self._raised:
            self._store.raise_priority(new, DUE)
            late_groups = len(found.late_groups)
            log.info("deadline.near", recordings=len(new), late=found.late, late_groups=late_groups)
            self._obey()
        self._raised |= near

    def _take_back(self, wanted: WantedBy, kept: Container[int] | None = None) -> None:
        """Give what has no deadline, or is not *kept*, the priority that it would have without one."""
        after: Recording | None = None
        self._raised = set()
        while True:
            page = self._store.due(*WORK, after=after, at_least=DUE, limit=_PAGE)
            due = [one for one in page if one.priority == DUE]
            still = {one.seq for one, _, _ in wanted.of(due) if kept is None or one.seq in kept}
            self._store.prioritise([one for one in due if one.seq not in still])
            self._raised |= still
            if len(page) < _PAGE:
                break
            after = page[-1]
        self._obey()

    def _late(self, found: Outlook, rate: float) -> tuple[Note, ...]:
        """Return the sentence about what misses its deadline."""
        files, groups = found.late, len(found.late_groups)
        if not files + groups:
            return ()
        what = []
        if groups == 1:
            what.append(f"the group {self._title(found)}")
        elif groups:
            what.append(f"{groups} groups (first {self._title(found)})")
        if files:
            what.append("1 recording" if files == 1 else f"{files} recordings")
        miss = "misses its" if files + groups == 1 else "miss their"
        text = (
            f"{' and '.join(what)} {miss} deadline at {rate / 1e6:.2f} MB/s, even if sent first and over"
            " links that cost"
        )
        return (Note("deadline_late", text),)

    def _title(self, found: Outlook) -> str:
        return self._store.group_places.title(found.late_groups[0])[:_SHOWN]

    def _say(self, foretold: Foretold) -> None:
        if foretold != self._told:
            self._told = foretold
            self._tell(foretold)


class _Together:
    """What is left of a group."""

    def __init__(self) -> None:
        self.seqs, self.lefts = array("q"), array("q")
        self.due_in_s = inf

    def add(self, seq: int, left: int, due_in_s: float) -> None:
        self.seqs.append(seq)
        self.lefts.append(left)
        self.due_in_s = min(self.due_in_s, due_in_s)


def _beforehand(found: Outlook, now: datetime, rate: float) -> str:
    """Return the sentence that says from when on a link that costs is used; empty: it never is."""
    if found.begins_in_s is None:
        return ""
    later = timedelta(seconds=min(found.begins_in_s, 8 * 86_400))
    at = (now.astimezone(UTC) + later).astimezone(now.tzinfo)
    return (
        f"for what has a deadline a link that costs is used from {at:%Y-%m-%d %H:%M} on, at"
        f" {rate / 1e6:.2f} MB/s"
    )
