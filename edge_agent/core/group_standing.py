"""Whether more may still come to a group, whether all of it has arrived, and what of it never came.

A camera says of no video that it was the last chapter. So a group is whole when something says so: the
recorder's own list of its files, a later recording of the same camera, or that nothing has come for a
time. Who comes later all the same makes the group another one: it is told once more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from edge_agent.core.groups import Role
from edge_agent.core.upload import State
from upload_protocol.messages import Receipt

LONGEST_WAIT = 10
"""Times the quiet time: so long is waited for a list of files that is always written at the end."""
MOST_MISSING = 200
"""Names that a group says are missing: a hostile one has no end of them."""

_WRITTEN = (State.SEEN, State.GROWING)


@dataclass(frozen=True, slots=True)
class GroupFile:
    """One file of a group, as it is now or was when it went."""

    number: int
    name: str
    folder: str
    role: Role
    part: int | None
    pattern: str
    state: State | None
    """None: nothing is remembered of it any more, but what stands here."""
    length: int
    modified_at: str | None
    receipt: Receipt | None

    @property
    def has_arrived(self) -> bool:
        return self.receipt is not None


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """What there is to say of a group."""

    is_whole: bool
    """Nothing more is waited for."""
    missing: tuple[str, ...] = ()
    """Names of what must have been recorded, and never came."""

    def is_complete(self, members: Sequence[GroupFile]) -> bool:
        return self.is_whole and not self.missing and all(one.has_arrived for one in members)


def standing(
    members: Sequence[GroupFile],
    *,
    quiet_for_s: float,
    quiet_s: float,
    has_later: bool,
    listed: Collection[str] | None = None,
    waits_for_list: bool = False,
) -> GroupStanding:
    """Return whether the group of *members* is whole, and what it misses.

    Args:
        quiet_for_s: since the last of them was found.
        quiet_s: after so long without another none comes any more.
        has_later: the same recorder has begun a later recording.
        listed: names that the recorder's own list has; None: there is no list.
        waits_for_list: a list is written at the end of each recording of this kind.
    """
    if any(one.state in _WRITTEN for one in members):
        return GroupStanding(is_whole=False)
    is_quiet = quiet_for_s >= quiet_s
    if listed is not None:
        missing = _not_among(listed, members)
        return GroupStanding(is_quiet or not missing, missing)
    if waits_for_list:
        return GroupStanding(quiet_for_s >= LONGEST_WAIT * quiet_s)
    return GroupStanding(is_quiet or has_later, missing_parts(members))


def _not_among(listed: Collection[str], members: Sequence[GroupFile]) -> tuple[str, ...]:
    there = {one.name for one in members}
    return tuple(sorted(set(listed) - there)[:MOST_MISSING])


def missing_parts(members: Sequence[GroupFile]) -> tuple[str, ...]:
    """Return the names of the chapters that lie before the last one and were never found."""
    parts = {one.part for one in members if one.part is not None and one.pattern}
    patterns = [one.pattern for one in members if one.pattern]
    if not parts or not patterns:
        return ()
    gone = (part for part in range(1, max(parts)) if part not in parts)
    return tuple(patterns[0].format(part) for part in islice(gone, MOST_MISSING))
