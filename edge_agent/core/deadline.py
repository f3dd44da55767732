"""Recordings that have to be at the server by a time of day: when they must go whatever the link costs; pure.

They wait for a link that costs nothing as long as they can. What would be missed at the rate measured now goes
at once, in the order of their deadlines, and no more than that.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import floor, inf

from edge_agent.core.schedule import PriorityRule, Ranked
from edge_agent.core.window import Moment

_SLOWER = 1.25
"""A link may get that much slower, and what was measured may have been its best minute."""
_OLDEST_S = 366 * 86_400.0
"""What is older is late all the same, and calendars have an end."""
_LEAD_S = 120.0
"""For a connection, and for the server to verify."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """What fits *which* has to be at the server by the first *by* after it was found."""

    which: PriorityRule
    by: Moment
    is_of_groups: bool = False
    """Whether a file that fits brings all the others of its group with it."""

    def fits(self, what: Ranked) -> bool:
        return self.which.fits(what)

    def due_in_s(self, local: datetime, age_s: float) -> float:
        """Return the seconds that are left for what was found *age_s* ago; below 0: it is late."""
        age_s = min(age_s, _OLDEST_S)
        return self.by.next_after(local, age_s) - age_s


class DueTimes:
    """What `Deadline.due_in_s` says of one rule at one moment, for many ages one after the other.

    What was found between two of the rule's times of day is due at the same one: of a hundred thousand the
    calendar is asked for a few.
    """

    def __init__(self, rule: Deadline, local: datetime) -> None:
        self._rule = rule
        self._local = local
        self._oldest_s = -inf
        self._due_in_s = 0.0
        """Of all that is at most so old, and was found before it is due."""

    def due_in_s(self, age_s: float) -> float:
        age_s = min(age_s, _OLDEST_S)
        if not -self._due_in_s <= age_s <= self._oldest_s:
            self._oldest_s, self._due_in_s = age_s, self._rule.due_in_s(self._local, age_s)
        return self._due_in_s


@dataclass(frozen=True, slots=True)
class Work:
    """A recording that has a deadline."""

    seq: int
    left: int
    """Bytes that the server does not have."""
    due_in_s: float
    group: int = 0
    """The number of the group that is due as one; 0: it is due by itself."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What follows for all that have a deadline."""

    must_go: Sequence[int] = ()
    """Numbers of those that would miss it if they waited for another link; the first to be due first."""
    begins_in_s: float | None = None
    """When the first of the others will have to go; None: none is left."""
    late: int = 0
    """Of those that must go by themselves, how many miss it even so."""
    late_groups: Sequence[int] = ()
    """Numbers of the groups that miss it even so, for some of their files do; the first to be due first."""


class Waiting:
    """All that has a deadline, by the second in which it is due: 24 bytes for each of a hundred thousand."""

    def __init__(self, works: Iterable[Work]) -> None:
        self._due: dict[int, tuple[array[int], array[int], array[int]]] = {}
        """Second -> numbers of what is due in it, how many bytes of each are left, and their groups."""
        for one in works:
            seqs, lefts, groups = self._due.setdefault(
                floor(one.due_in_s), (array("q"), array("q"), array("q"))
            )
            seqs.append(one.seq)
            lefts.append(one.left)
            groups.append(one.group)

    def outlook(self, bytes_per_s: float) -> Outlook:
        """Return what must go now over whatever link there is, at *bytes_per_s*, which is above 0.

        The first to be due is sent first (earliest deadline first, which misses none if any order misses
        none). Of what is due in the same second the last decides.
        """
        ahead, must_go = 0, array("q")
        late: dict[int, int] = {}
        after: list[tuple[float, array[int]]] = []
        for due_in_s, (seqs, lefts, groups) in sorted(self._due.items()):
            for left, group in zip(lefts, groups, strict=True):
                ahead += left
                if ahead / bytes_per_s > due_in_s:
                    late[group] = late.get(group, 0) + 1
            after.append((due_in_s - ahead / bytes_per_s * _SLOWER - _LEAD_S, seqs))
            if after[-1][0] <= 0:
                for _, more in after:
                    must_go.extend(more)
                after.clear()
        begins_in_s = min((latest for latest, _ in after), default=None)
        return Outlook(must_go, begins_in_s, late.pop(0, 0), tuple(late))
