"""What was sent on each data plan, counted so that neither a restart nor a power cut counts it back.

What is written down runs ahead of what is sent by a step, so that a power cut loses a little of the plan
and never forgets bytes that have to be paid. Once nothing is sent for a minute, and at the end, it is exact.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from edge_agent.base.errors import StoreError
from edge_agent.core.data_plan import (
    DataPlan,
    Ledger,
    PlanUse,
    counted,
    ledger_of,
    month_of,
    use_of,
)
from edge_agent.store.notes import Notes

_PLANS = "plans"
_LEAST_STEP, _MOST_STEP = 256 * 1024, 4 * 1024 * 1024
_OF_PLAN = 200
"""A step is at most such a part of the plan."""
_QUIET_S = 60.0


class PlanMeter:
    """Called with the lanes' lock held."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._ledgers: dict[str, Ledger] | None = None
        self._ahead: dict[str, int] = {}
        """Plan -> bytes that are written down and not sent yet."""
        self._counted_s = 0.0

    def use(self, plan: DataPlan, day: date | None) -> PlanUse:
        """Return what is used of *plan* on *day*; None: no clock can say which it is.

        Raises:
            StoreError: what was written down cannot be read.
        """
        return use_of(plan, self._known().get(plan.name, {}), day)

    def count(self, plan: DataPlan, day: date | None, gained: int, now_s: float) -> None:
        """Count *gained* bytes on *plan*.

        Raises:
            StoreError: what was written down cannot be read.
        """
        ledgers = self._known()
        month = None if day is None else month_of(day, plan.reset_day)
        ledgers[plan.name] = counted(ledgers.get(plan.name, {}), month, gained)
        self._counted_s = now_s
        left = self._ahead.get(plan.name, 0) - gained
        self._ahead[plan.name] = left
        if left < 0:
            step = max(_LEAST_STEP, min(_MOST_STEP, plan.length // _OF_PLAN))
            self._write({**self._ahead, plan.name: step})

    def settle(self, now_s: float) -> None:
        """Write down what was really sent, if nothing was for a minute."""
        if self._ahead and now_s - self._counted_s >= _QUIET_S:
            self.flush()

    def ahead(self, plan: DataPlan) -> int:
        """Return the bytes that may be sent before `count` has something to write down."""
        return max(0, self._ahead.get(plan.name, 0))

    def flush(self) -> None:
        """Write down what was really sent."""
        if self._ledgers is not None and self._ahead and self._put(self._ledgers):
            self._ahead.clear()

    def _known(self) -> dict[str, Ledger]:
        if self._ledgers is None:
            noted = self._notes.get(_PLANS)
            noted = noted if isinstance(noted, dict) else {}
            self._ledgers = {name: ledger_of(one) for name, one in noted.items()}
        return self._ledgers

    def _write(self, ahead: dict[str, int]) -> None:
        ledgers = dict(self._known())
        for name, step in ahead.items():
            ledgers[name] = counted(ledgers.get(name, {}), None, max(0, step))
        if self._put(ledgers):
            self._ahead = ahead

    def _put(self, ledgers: dict[str, Ledger]) -> bool:
        """Return whether it is written down: a full disk must not stop what needs none."""
        with suppress(StoreError):
            self._notes.put(_PLANS, {name: dict(one) for name, one in ledgers.items()} or None)
            return True
        return False
