"""Which part of a report a server refuses: found by telling them one at a time; pure.

A server refuses a report as a whole, and an older one, another program or a proxy may not say for which part.
So the head is told alone, and then each part: what is refused alone, beside a head that is taken, is to blame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto


class Verdict(Enum):
    """What a refusal says."""

    WHOLE = auto()
    """It is not about a part: as if there had been no answer."""
    SOUGHT = auto()
    """Some part of it: the next reports find it."""
    PART = auto()
    """The only one that was in it."""


class PartTrial:
    """Of one server, and of one run of the agent."""

    def __init__(self) -> None:
        self._left_out: set[str] = set()
        self._to_try: deque[str] = deque()
        self._is_head_alone = False
        self._is_blamed = False
        self._run: str | None = None

    @property
    def is_seeking(self) -> bool:
        """Whether reports have one part at most, and of a list one entry."""
        return self._is_head_alone or bool(self._to_try)

    def may_have(self, part: str) -> bool:
        """Return whether the next report may have *part*."""
        if self._is_head_alone or part in self._left_out:
            return False
        return not self._to_try or self._to_try[0] == part

    def leave_out(self, part: str) -> None:
        """Tell *part* no more, until the server is another one."""
        self._left_out.add(part)
        self._to_try = deque(one for one in self._to_try if one != part)

    def refused(self, parts: Sequence[str]) -> Verdict:
        """Say that a report with *parts* was refused; of a list, one for each entry."""
        if not parts:
            self._to_try.clear()
            self._is_head_alone = False
            return Verdict.WHOLE
        if self._to_try:
            self._to_try.popleft()
            self._is_blamed = True
            return Verdict.PART
        self._to_try.extend(parts)
        self._is_head_alone = True
        return Verdict.SOUGHT

    def taken(self, run: str | None) -> bool:
        """Say that a report was taken by the *run* of a server; return whether to offer again what it refused."""
        if self._is_head_alone:
            self._is_head_alone = False
        elif self._to_try:
            self._to_try.popleft()
        is_other, self._run = self._is_blamed and run != self._run, run
        if is_other:
            self._left_out.clear()
            self._is_blamed = False
        return is_other
