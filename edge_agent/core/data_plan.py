"""A monthly data plan: which month it is, what was used of it, whether there is any left; pure.

What was counted is never counted back. A clock that jumps ahead over the reset day begins another month;
when it comes back, what was counted there counts as well, for it was really sent.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

_NO_DATE = ""
"""Of bytes that were sent before any clock was right."""
_MOST_MONTHS = 24
"""That are remembered: more of them come from a clock alone."""

Ledger = Mapping[str, int]
"""First day of a month, as ISO has it -> bytes."""
EMPTY: Ledger = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DataPlan:
    """So many bytes a month, over all links whose rules name it."""

    name: str
    length: int
    """Bytes."""
    reset_day: int = 1
    """On which it begins anew; in months without that day on their last."""
    warn_percent: int = 80
    beyond: str = "now"
    """What is sent though nothing is left: ``nothing``, ``now`` or ``deadline``, which means both."""


def month_of(day: date, reset_day: int) -> date:
    """Return the first day of the month of a plan that *day* is in."""
    begin = _reset_in(day.year, day.month, reset_day)
    if begin <= day:
        return begin
    before = day.replace(day=1) - timedelta(days=1)
    return _reset_in(before.year, before.month, reset_day)


def next_month(begin: date, reset_day: int) -> date:
    """Return on which day the month after the one of *begin* begins."""
    after = begin.replace(day=1) + timedelta(days=32)
    return _reset_in(after.year, after.month, reset_day)


def _reset_in(year: int, month: int, reset_day: int) -> date:
    return date(year, month, min(reset_day, monthrange(year, month)[1]))


def counted(ledger: Ledger, month: date | None, gained: int) -> Ledger:
    """Return *ledger* with *gained* bytes more.

    Args:
        month: of now; None: no clock can say, so it is the last that was known.
    """
    months = dict(ledger)
    key = max(months, default=_NO_DATE) if month is None else month.isoformat()
    if month is not None:
        gained += months.pop(_NO_DATE, 0)
    months[key] = months.get(key, 0) + gained
    while len(months) > _MOST_MONTHS:
        first, second, *_ = sorted(months)
        months[second] += months.pop(first)
    return MappingProxyType(months)


def used(ledger: Ledger, month: date | None) -> int:
    """Return the bytes that were sent in *month*, and in months after it; None: in the last known."""
    key = max(ledger, default=_NO_DATE) if month is None else month.isoformat()
    return sum(one for at, one in ledger.items() if at >= key or at == _NO_DATE)


def ledger_of(noted: object) -> Ledger:
    """Return what was written down as a ledger, without what is none of it."""
    if not isinstance(noted, dict):
        return EMPTY
    found = {at: one for at, one in noted.items() if _is_month(at) and isinstance(one, int)}
    return MappingProxyType({at: max(0, one) for at, one in found.items()})


def _is_month(at: object) -> bool:
    if not isinstance(at, str):
        return False
    try:
        return at == _NO_DATE or date.fromisoformat(at).isoformat() == at
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class PlanUse:
    """How much of a plan is used."""

    plan: DataPlan
    used: int
    ends: date | None = None
    """On which day it begins anew; None: no clock can say."""

    @property
    def is_exhausted(self) -> bool:
        return self.used >= self.plan.length

    @property
    def unchanged_for(self) -> float:
        """Bytes that may be sent before there is something else to say of it."""
        if self.is_exhausted:
            return math.inf
        warned_from = -(-self.plan.warn_percent * self.plan.length // 100)
        return (self.plan.length if self.is_low else warned_from) - self.used

    @property
    def is_low(self) -> bool:
        return 100 * self.used >= self.plan.warn_percent * self.plan.length

    @property
    def detail(self) -> str:
        """What is used of it and when it begins anew, in words."""
        share = 100 * self.used // self.plan.length
        anew = "when it begins anew cannot be said while the clock is not set"
        if self.ends is not None:
            anew = f"it begins anew on {self.ends.isoformat()}"
        # Whole percents alone: words that change with each look would be told anew each time.
        of = f"{share} % of its {self.plan.length / 1e6:.1f} MB"
        return f"the data plan {self.plan.name} is used to {of}; {anew}"


def use_of(plan: DataPlan, ledger: Ledger, day: date | None) -> PlanUse:
    """Return what is used of *plan* on *day*; None: no clock can say which it is."""
    if day is None:
        return PlanUse(plan, used(ledger, None))
    month = month_of(day, plan.reset_day)
    return PlanUse(plan, used(ledger, month), next_month(month, plan.reset_day))
