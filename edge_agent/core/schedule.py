"""What the owner of a device allows: when, over which link, how fast, how much a day.

Wall time is believed only while it is synchronised. A device whose clock stands in 1970 sends
whatever a timetable says (law L6): recordings that are late harm more than a rule that is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase

URGENT = 1001
"""Above all that an owner can set: sent at times at which nothing else is."""
URGENT_METERED = 1002
"""Over a link that costs money, too."""

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
        raise ValueError(f"{text!r} is no time of day")
    return at


@dataclass(frozen=True, slots=True)
class Slot:
    """A line of the timetable: how fast, and when."""

    window: Window
    max_rate: int | None
    """Bytes per second; None: unlimited; 0: nothing is sent."""


@dataclass(frozen=True, slots=True)
class LinkRule:
    """What holds while the way to the server leads over an interface named like *match*."""

    match: str
    """Shell patterns, ``wwan*|usb*``."""
    metered: bool = False
    max_rate: int | None = None
    windows: tuple[Window, ...] = ()
    """When it may be used; empty: always."""
    daily_bytes: int | None = None
    """What it may carry a day. None: a metered link nothing, another without end."""
    min_priority: int = 0
    """Recordings below it wait for another link."""
    while_recording: bool = False
    """Whether it carries, though it is metered, what is still written to."""

    def fits(self, interface: str | None) -> bool:
        return interface is not None and any(
            fnmatchcase(interface, one) for one in self.match.split("|")
        )


@dataclass(frozen=True, slots=True)
class PriorityRule:
    """How urgent recordings are that all of this is true of."""

    match: str
    """Shell patterns for their place below the watched folder, ``event/*|*.mcap``; ``*`` stands for
    ``/`` as well."""
    value: int
    watch: str = ""
    """The name of their watched folder; empty: any."""
    min_bytes: int = 0
    max_bytes: int | None = None
    older_than_s: float | None = None
    younger_than_s: float | None = None

    @property
    def is_of_age(self) -> bool:
        """Whether it fits at some times and not at others."""
        return self.older_than_s is not None or self.younger_than_s is not None

    def fits(self, what: Ranked) -> bool:
        place = what.place.casefold()
        return (
            self.watch in {"", what.watch}
            and self.min_bytes <= what.length
            and (self.max_bytes is None or what.length <= self.max_bytes)
            and (not self.is_of_age or self._is_of_that_age(what.age_s))
            and any(fnmatchcase(place, one.casefold()) for one in self.match.split("|"))
        )

    def _is_of_that_age(self, age_s: float | None) -> bool:
        if age_s is None:
            return False
        is_old = self.older_than_s is None or age_s > self.older_than_s
        return is_old and (self.younger_than_s is None or age_s < self.younger_than_s)


@dataclass(frozen=True, slots=True)
class Ranked:
    """What of a recording decides how urgent it is."""

    place: str
    """Below the watched folder, with its name."""
    watch: str = ""
    length: int = 0
    age_s: float | None = None
    """Since it was written last; None: no clock can say."""


def priority_of(rules: Sequence[PriorityRule], what: Ranked) -> int:
    """Return what the first rule that fits says; 0: none does."""
    return next((rule.value for rule in rules if rule.fits(what)), 0)


@dataclass(frozen=True, slots=True)
class SendingRules:
    """What is allowed now."""

    blocked_by: str | None = None
    """``paused``, ``metered`` or ``schedule``; None: it may send."""
    detail: str = ""
    max_rate: int | None = None
    rule: LinkRule | None = None
    holds_every_link: bool = False
    """Whether nothing may be sent over any other link either."""
    urgent_from: int | None = None
    """The priority from which recordings are sent though it is blocked; None: none is."""
    held_by: str | None = None
    """As `blocked_by`, of all but urgent recordings, while there are such."""
    originals_held_by: str | None = None
    """As `blocked_by`, of originals: ``metered`` or ``on_demand``; None: they go like the others."""

    @property
    def min_priority(self) -> int:
        if self.held_by is not None and self.urgent_from is not None:
            return self.urgent_from
        return 0 if self.rule is None else self.rule.min_priority

    @property
    def originals_from(self) -> int:
        """The priority from which originals are sent; 0: all of them are."""
        if self.originals_held_by is None:
            return 0
        return URGENT_METERED if self.originals_held_by == "metered" else URGENT

    def for_urgent(self) -> SendingRules:
        """Return what is allowed instead while an urgent recording waits."""
        return replace(self, blocked_by=None, held_by=self.blocked_by, holds_every_link=False)

    @property
    def is_metered(self) -> bool:
        return self.rule is not None and self.rule.metered

    @property
    def takes_unfinished(self) -> bool:
        """Whether what is still written to may be sent: some of it may have to go twice."""
        return self.rule is None or not self.rule.metered or self.rule.while_recording


def decide(
    *,
    rules: Sequence[LinkRule],
    timetable: Sequence[Slot],
    max_rate: int | None,
    interface: str | None,
    local: datetime | None,
    used_today: int,
    is_paused: bool,
    ordered_rate: int | None = None,
    original: str = "always",
) -> SendingRules:
    """Return what is allowed; the first rule and the first slot that fit count, the least rate wins.

    Args:
        interface: over which the way to the server leads; None: not known, so that no rule fits.
        local: local wall time; None: not to be believed, so that no window counts.
        used_today: bytes that `interface` has carried since midnight.
        ordered_rate: what a person has ordered beside the configuration; None: nothing.
        original: when originals are sent: ``always``, ``unmetered`` or ``on-demand``.
    """
    rule = next((one for one in rules if one.fits(interface)), None)
    slot = None
    if local is not None:
        slot = next((one for one in timetable if one.window.holds(local)), None)
    rates = [rate for rate in (rule.max_rate if rule else None, ordered_rate) if rate is not None]
    if slot is None and max_rate is not None:
        rates.append(max_rate)
    elif slot is not None and slot.max_rate:
        rates.append(slot.max_rate)
    blocked_by, detail = _blocked(rule, slot, interface, local, used_today, is_paused=is_paused)
    holds_every_link = is_paused or (slot is not None and slot.max_rate == 0)
    urgent_from = None
    if blocked_by is not None and not is_paused:
        urgent_from = URGENT_METERED if _costs(rule, used_today) else URGENT
    return SendingRules(
        blocked_by,
        detail,
        min(rates, default=None),
        rule,
        holds_every_link,
        urgent_from,
        originals_held_by=_holding_originals(original, rule),
    )


def _holding_originals(original: str, rule: LinkRule | None) -> str | None:
    if original == "on-demand":
        return "on_demand"
    is_metered = rule is not None and rule.metered
    return "metered" if original == "unmetered" and is_metered else None


def _costs(rule: LinkRule | None, used_today: int) -> bool:
    """Return whether more over the link is what its rule does not want to be paid."""
    if rule is None:
        return False
    return rule.metered if rule.daily_bytes is None else used_today >= rule.daily_bytes


def _blocked(
    rule: LinkRule | None,
    slot: Slot | None,
    interface: str | None,
    local: datetime | None,
    used_today: int,
    *,
    is_paused: bool,
) -> tuple[str | None, str]:
    if is_paused:
        return "paused", "paused by a person"
    if slot is not None and slot.max_rate == 0:
        return "schedule", "the timetable allows nothing at this time"
    if rule is None:
        return None, ""
    if local is not None and rule.windows and not any(one.holds(local) for one in rule.windows):
        return "schedule", f"the link {interface} is not to be used at this time"
    if not _costs(rule, used_today):
        return None, ""
    if rule.daily_bytes is None:
        return "metered", f"the link {interface} is metered; another one is waited for"
    return "metered", f"the link {interface} has carried its {rule.daily_bytes} bytes of today"


def day_of(local: datetime | None) -> str:
    """Return what a day's budget is kept under; without a clock all days are one."""
    return "unknown" if local is None else str(local.date())
