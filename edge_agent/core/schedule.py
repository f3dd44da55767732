"""What the owner of a device allows: when, over which link, how fast, how much a day.

Wall time is believed only while it is synchronised. A device whose clock stands in 1970 sends
whatever a timetable says (law L6): recordings that are late harm more than a rule that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase

from edge_agent.core.data_plan import PlanUse
from edge_agent.core.link_rule import NOTHING_KNOWN, LinkFacts, LinkRule, rule_for, unknown_on
from edge_agent.core.window import Window

URGENT = 1001
"""Above all that an owner can set: sent at times at which nothing else is."""
DUE = 1002
"""What would miss its deadline otherwise: over a link that costs money, too, which `URGENT` does not go over."""
URGENT_METERED = 1003
"""A person wants it now, over a link that costs money, too."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A line of the timetable: how fast, and when."""

    window: Window
    max_rate: int | None
    """Bytes per second; None: unlimited; 0: nothing is sent."""


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
class Note:
    """What people are told of a rule beside what waits for it."""

    code: str
    """Of a problem."""
    text: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Why nothing is sent over any link: a pause, a hold, the power that there is."""

    blocked_by: str
    detail: str
    urgent_from: int | None = None
    """The priority from which recordings are sent all the same; None: none is. Over a link that costs
    it takes what that takes as well."""


@dataclass(frozen=True, slots=True)
class SendingRules:
    """What is allowed now."""

    blocked_by: str | None = None
    """``paused``, ``hold``, ``power``, ``metered``, ``plan`` or ``schedule``; None: it may send."""
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
    notes: tuple[Note, ...] = ()

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
        return DUE if self.originals_held_by == "metered" else URGENT

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
    plan: PlanUse | None = None,
    stop: Stop | None = None,
    ordered_rate: int | None = None,
    original: str = "always",
    facts: LinkFacts = NOTHING_KNOWN,
) -> SendingRules:
    """Return what is allowed; the first rule and the first slot that fit count, the least rate wins.

    Args:
        interface: over which the way to the server leads; None: not known, so that no rule fits.
        local: local wall time; None: not to be believed, so that no window counts.
        used_today: bytes that `interface` has carried since midnight.
        plan: how much is used of the data plan that the link's bytes count on.
        stop: what forbids every link; None: nothing does.
        ordered_rate: what a person has ordered beside the configuration; None: nothing.
        original: when originals are sent: ``always``, ``unmetered`` or ``on-demand``.
        facts: what is known of the interface beside its name.
    """
    rule = rule_for(rules, interface, facts)
    slot = None
    if local is not None:
        slot = next((one for one in timetable if one.window.holds(local)), None)
    rates = [rate for rate in (rule.max_rate if rule else None, ordered_rate) if rate is not None]
    if slot is None and max_rate is not None:
        rates.append(max_rate)
    elif slot is not None and slot.max_rate:
        rates.append(slot.max_rate)
    if stop is None:
        blocked_by, detail = _blocked(rule, slot, interface, local, used_today, plan=plan)
    else:
        blocked_by, detail = stop.blocked_by, stop.detail
    holds_every_link = stop is not None or (slot is not None and slot.max_rate == 0)
    urgent_from = None
    if blocked_by is not None and (stop is None or stop.urgent_from is not None):
        urgent_from = _urgent_from(rule, used_today, plan)
    return SendingRules(
        blocked_by,
        detail,
        min(rates, default=None),
        rule,
        holds_every_link,
        urgent_from,
        originals_held_by=_holding_originals(original, rule),
        notes=tuple(Note("rule_unknown", one) for one in unknown_on(rules, interface, facts)),
    )


def _holding_originals(original: str, rule: LinkRule | None) -> str | None:
    if original == "on-demand":
        return "on_demand"
    is_metered = rule is not None and rule.metered
    return "metered" if original == "unmetered" and is_metered else None


def _costs(rule: LinkRule | None, used_today: int, plan: PlanUse | None) -> bool:
    """Return whether more over the link is what its rule does not want to be paid."""
    if rule is None:
        return False
    if plan is not None and plan.is_exhausted:
        return True
    if rule.daily_bytes is not None:
        return used_today >= rule.daily_bytes
    return rule.metered and plan is None


def _urgent_from(rule: LinkRule | None, used_today: int, plan: PlanUse | None) -> int | None:
    """Return the priority from which recordings are sent over a link that is blocked."""
    if plan is not None and plan.is_exhausted:
        return _BEYOND_PLAN[plan.plan.beyond]
    return DUE if _costs(rule, used_today, plan) else URGENT


_BEYOND_PLAN = {"nothing": None, "now": URGENT_METERED, "deadline": DUE}


def _blocked(
    rule: LinkRule | None,
    slot: Slot | None,
    interface: str | None,
    local: datetime | None,
    used_today: int,
    *,
    plan: PlanUse | None,
) -> tuple[str | None, str]:
    if slot is not None and slot.max_rate == 0:
        return "schedule", "the timetable allows nothing at this time"
    if rule is None:
        return None, ""
    link = rule.link_in_words(interface)
    if local is not None and rule.windows and not any(one.holds(local) for one in rule.windows):
        return "schedule", f"{link} is not to be used at this time"
    if not _costs(rule, used_today, plan):
        return None, ""
    if plan is not None and plan.is_exhausted:
        return "plan", f"{link} is not used: {plan.detail}"
    if rule.daily_bytes is None:
        says = ", NetworkManager says" if rule.metered_if_told else ""
        return "metered", f"{link} is metered{says}; another one is waited for"
    ends = "from midnight on" if local is not None else "when the clock is set"
    allowed = f"{rule.daily_bytes / 1e6:.1f} MB"
    return (
        "metered",
        f"{link} has carried the {allowed} of its daily_bytes; it is used again {ends}",
    )


def day_of(local: datetime | None) -> str:
    """Return what a day's budget is kept under; without a clock all days are one."""
    return "unknown" if local is None else str(local.date())
