"""Hours of certain days of the week, as people write them; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_WINDOW = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:[-,][a-z]{3})*)\s+)?(?P<start>\d{1,2}:\d\d)\s*-\s*(?P<stop>\d{1,2}:\d\d)"
)


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of certain days, ``[start, stop)``; over midnight where stop is not after start."""

    days: frozenset[int]
    """0 is Monday; of the day on which the window begins."""
    start: int
    stop: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read ``mon-fri 08:00-18:00``, ``sat,sun 00:00-24:00`` or ``22:00-06:00`` (each day).

        Raises:
            ValueError: none of these forms; the message is for the person who wrote it.
        """
        found = _WINDOW.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError(f'{text!r} is no time window: write "mon-fri 08:00-18:00"')
        return cls(
            frozenset(range(7)) if found["days"] is None else _days(found["days"]),
            _minute(found["start"]),
            _minute(found["stop"]),
        )

    def holds(self, local: datetime) -> bool:
        minute = 60 * local.hour + local.minute
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        if self.start < self.stop:
            return today in self.days and self.start <= minute < self.stop
        is_begun = today in self.days and minute >= self.start
        return is_begun or (yesterday in self.days and minute < self.stop)


_MOMENT = re.compile(r"(?:(?P<days>[a-z]{3}(?:[-,][a-z]{3})*)\s+)?(?P<at>\d{1,2}:\d\d)")


@dataclass(frozen=True, slots=True)
class Moment:
    """A minute of certain days."""

    days: frozenset[int]
    minute: int

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read ``06:00`` (each day) or ``mon-fri 06:00``.

        Raises:
            ValueError: neither; the message is for the person who wrote it.
        """
        found = _MOMENT.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError(f'{text[:40]!r} is no time of day: write "06:00" or "mon-fri 06:00"')
        days = frozenset(range(7)) if found["days"] is None else _days(found["days"])
        minute = _minute(found["at"])
        if minute == _DAY_MINUTES:
            raise ValueError(f'{text[:40]!r} is no time of day: write "00:00" for midnight')
        return cls(days, minute)

    def next_after(self, local: datetime, age_s: float) -> float:
        """Return the seconds from *age_s* before *local* to the first such moment, 0 at the least.

        By the clock on the wall of *local*'s zone. A time that comes twice, as summer time ends, is the
        first of both, or the second where that alone is left; one that is left out is as long after
        the change as it would have been after the hour before.
        """
        begin = local.astimezone(UTC) - timedelta(seconds=age_s)
        there = begin.astimezone(local.tzinfo)
        day = there.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        walls = (day + timedelta(days=later, minutes=self.minute) for later in range(9))
        moments = (
            wall.replace(fold=fold).astimezone(UTC)
            for wall in walls
            if wall.weekday() in self.days
            for fold in (0, 1)
        )
        return (next(one for one in moments if one >= begin) - begin).total_seconds()


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"{text!r}: days are mon, tue, wed, thu, fri, sat, sun")
        at, stop = _DAYS.index(first), _DAYS.index(last if dash else first)
        days.update((at + more) % 7 for more in range((stop - at) % 7 + 1))
    return frozenset(days)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    at = 60 * int(hour) + int(minute)
    if at > _DAY_MINUTES or int(minute) > 59:
        raise ValueError(f"{text!r} is no time of day: write one from 00:00 to 24:00")
    return at
