"""The owner's rules, asked with what the machine says now: link, local time, bytes of today.

Which interface leads to the server is looked up by whoever made this; bytes of a day are remembered in
the store, a little late, so that a card is not written for each request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.core.data_plan import DataPlan, PlanUse
from edge_agent.core.deadline import Deadline
from edge_agent.core.link_rule import NOTHING_KNOWN, LinkFacts, LinkRule, rule_for
from edge_agent.core.packets import CongestionControl
from edge_agent.core.power import PowerRule
from edge_agent.core.schedule import DUE, Note, SendingRules, Slot, Stop, day_of, decide
from edge_agent.core.upload import State
from edge_agent.send.rules.plan_meter import PlanMeter
from edge_agent.send.rules.stops import Stops
from edge_agent.send.rules.surroundings import Surroundings
from edge_agent.store.recordings import Store

_LOOK_S = 2.0
"""Between two looks at the route and the clock."""
_REMEMBER_BYTES = 8 * 1024 * 1024
"""What a power cut may make a day's budget forget."""

WORK = (State.STABLE, State.SENDING, State.SENT)
"""What lanes have to do with."""

_BEING_ASKED = (
    "NetworkManager is just being asked about it: nothing is sent before it answers, for 2 s"
)
_CARRIED = "carried"
_OF_LINKS = frozenset({"metered", "plan", "schedule"})
"""What holds a link back that a deadline uses."""


@dataclass(frozen=True, slots=True)
class OwnerRules:
    """As the configuration has them."""

    links: Sequence[LinkRule] = ()
    timetable: Sequence[Slot] = ()
    max_rate: int | None = None
    original: str = "always"
    """When what is no thumbnail, sidecar or proxy is sent."""
    power: PowerRule = field(default_factory=PowerRule)
    plans: Mapping[str, DataPlan] = field(default_factory=dict)
    """By the names that rules for links have."""
    deadlines: Sequence[Deadline] = ()
    hold_file: bytes | None = None
    """While it is there nothing is sent."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What people are told of deadlines."""

    beforehand: str = ""
    """From when on a link that costs is used, said with why it is not now; empty: nothing is due."""
    is_near: bool = False
    """Whether something goes now that would miss its deadline."""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkInUse:
    """The way to the server, and what holds on it."""

    interface: str | None = None
    verdict: SendingRules = field(default_factory=SendingRules)
    rule: LinkRule | None = None
    """The owner's, where there is one for it."""


def why_not_used(
    name: str,
    links: Sequence[LinkRule],
    tunnel: str | None,
    facts: LinkFacts = NOTHING_KNOWN,
    *,
    is_due: bool = False,
) -> str | None:
    """Return why the interface *name* is not used in place of the usual one; None: it may be.

    It may where a rule names it and does not forbid it, and where it is not metered and the usual way is no
    tunnel: whoever sends through a VPN does not want to be seen beside it.

    Args:
        tunnel: the usual way, if it is one.
        facts: what is known of the interface beside its name.
        is_due: whether something would miss its deadline without it: then it may be metered.
    """
    rule = rule_for(links, name, facts)
    if facts.is_coming:
        return _BEING_ASKED
    if rule is not None:
        if rule.metered and rule.daily_bytes is None and not rule.plan and not is_due:
            who = "NetworkManager" if rule.metered_if_told else f'[[link]] match = "{rule.match}"'
            return f"{who} says that it is metered, without daily_bytes or plan"
        if any(one.strip("*?") for one in rule.match.split("|")):
            return None
    if tunnel is not None:
        return f"the way leads through {tunnel}, a tunnel, and would lead past it"
    return None


def _day(local: datetime | None) -> date | None:
    """Return the day of *local*; None: no clock can say, or it says nonsense."""
    return local.date() if local is not None and 2000 < local.year < 9000 else None


class LinkPolicy:
    """Says what is allowed. Not for several threads at once, but `ask_anew`: the lanes ask with their lock."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        interface: Callable[[], str | None] = lambda: None,
        around: Surroundings | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._interface = interface
        self._around = Surroundings(clock) if around is None else around
        self._looked_s: float | None = None
        self._verdict = SendingRules()
        self._counted = 0
        self._carried: tuple[str, str, int] | None = None
        self._unwritten = 0
        self._stops = Stops(store.orders, self._around)
        self._plans = PlanMeter(store.notes)
        self._good_for = math.inf
        """Bytes that may be sent before it must be asked anew, for a data plan's sake."""
        self._plan: DataPlan | None = None
        """What was sent since the last look went over a link of this one."""
        self.foretold = Foretold()
        """What whoever looks at deadlines says."""
        self.rules = OwnerRules()
        self.last = LinkInUse()
        """What the last `look` found; may be read from any thread."""

    @property
    def is_paused(self) -> bool:
        return self._store.orders.paused() is not None

    def ask_anew(self) -> None:
        """Something changed: the next `look` does not answer from memory."""
        self._looked_s = None

    def close(self, sent_bytes: int) -> None:
        """Look at nothing any more, and write down what was sent: *sent_bytes* by all lanes."""
        with suppress(StoreError):
            self._looked_s = None
            self.look(self._clock.now_s(), sent_bytes)
            self._write()
            self._plans.flush()
        self._around.close()

    def facts(self, interface: str | None) -> LinkFacts:
        """Return what is known of *interface*; nobody is asked where no rule about it wants to know."""
        if interface is None:
            return NOTHING_KNOWN
        if not any(one.asks and one.names(interface) for one in self.rules.links):
            return NOTHING_KNOWN
        return self._around.link(interface)

    def congestion_control(self, interface: str | None) -> CongestionControl | None:
        """Return what the rule for *interface* wants of its connections; may be asked from any thread."""
        rule = rule_for(self.rules.links, interface, self.facts(interface))
        return None if rule is None else rule.congestion_control

    def is_spent(self, sent_bytes: int) -> bool:
        """Return whether the last `look` holds no more, for *sent_bytes* changed what a plan has left."""
        return sent_bytes - self._counted >= self._good_for

    def look(self, now_s: float, sent_bytes: int, *, silent: Collection[str] = ()) -> SendingRules:
        """Return what is allowed now.

        Args:
            sent_bytes: by all lanes, since they were made.
            silent: names of folders of which nothing can be sent, however urgent.
        """
        looked_s = self._looked_s
        is_fresh = looked_s is not None and 0 <= now_s - looked_s < _LOOK_S
        if is_fresh and not self.is_spent(sent_bytes):
            return self._verdict
        self._looked_s = None  # what fails below leaves nothing to be gone by
        local = self._clock.now_utc().astimezone() if self._clock.is_synchronised() else None
        interface = self._interface()
        facts = self.facts(interface)
        stop, notes = self._stops.look(self.rules.power, self.rules.hold_file, now_s)
        if stop is None and facts.is_coming:
            # A start, or after a rest: on a slow board a link that costs would be used until it has answered.
            stop = Stop("metered", f"the link {interface}: {_BEING_ASKED}")
        gained, self._counted = sent_bytes - self._counted, sent_bytes
        day = _day(local)
        rule = rule_for(self.rules.links, interface, facts)
        plan = self._count_on_plan(rule, day, gained, now_s)
        verdict = decide(
            rules=self.rules.links,
            timetable=self.rules.timetable,
            max_rate=self.rules.max_rate,
            interface=interface,
            local=local,
            used_today=self._used_today(interface, local, gained),
            plan=plan,
            stop=stop,
            ordered_rate=self._store.orders.limit(),
            original=self.rules.original,
            facts=facts,
        )
        notes += self._of_plans(day)
        self._good_for = math.inf
        if plan is not None:
            self._good_for = max(1, min(plan.unchanged_for, self._plans.ahead(plan.plan)))
        self._verdict = self._with_deadlines(
            replace(verdict, notes=(*notes, *verdict.notes, *self.foretold.notes))
        )
        if self._has_urgent(self._verdict.urgent_from, silent):
            self._verdict = self._verdict.for_urgent()
        self.last = LinkInUse(interface, self._verdict, rule)
        self._looked_s = now_s
        return self._verdict

    def _with_deadlines(self, verdict: SendingRules) -> SendingRules:
        """Return *verdict* with from when on a deadline matters more than what the link costs."""
        if not self.foretold.beforehand or verdict.blocked_by not in _OF_LINKS:
            return verdict
        if verdict.urgent_from is None or verdict.urgent_from > DUE:
            return verdict  # beyond that plan nothing goes for a deadline
        return replace(verdict, detail=f"{verdict.detail}; {self.foretold.beforehand}")

    def _has_urgent(self, least: int | None, silent: Collection[str]) -> bool:
        """Return whether something is to be sent that a person wants now, whatever the rules say."""
        return least is not None and bool(
            self._store.due(*WORK, at_least=least, silent=silent, limit=1)
        )

    def _count_on_plan(
        self, rule: LinkRule | None, day: date | None, gained: int, now_s: float
    ) -> PlanUse | None:
        """Count *gained* bytes on the plan of before, over whose link they went; return the use of that of *rule*."""
        before = self._plan
        self._plan = self.rules.plans.get(rule.plan) if rule is not None else None
        if before is not None and gained:
            self._plans.count(before, day, gained, now_s)
        self._plans.settle(now_s)
        return None if self._plan is None else self._plans.use(self._plan, day)

    def _of_plans(self, day: date | None) -> list[Note]:
        uses = [self._plans.use(one, day) for one in self.rules.plans.values()]
        return [Note("plan_low", one.detail) for one in uses if one.is_low]

    def _used_today(self, interface: str | None, local: datetime | None, gained: int) -> int:
        """Count *gained* bytes on the link and the day of before; return those of *interface* on this one."""
        if self._carried is not None:
            at, of_day, carried = self._carried
            self._carried = (at, of_day, carried + gained)
            self._unwritten += gained
            if self._unwritten >= _REMEMBER_BYTES:
                self._write()
        if interface is None:
            return 0
        day = day_of(local)
        if self._carried is None or self._carried[:2] != (interface, day):
            self._write()
            known = self._store.notes.get(_CARRIED) or {}
            known = known.get(interface, {})
            self._carried = (interface, day, int(known.get(day, 0)))
        return self._carried[2]

    def _write(self) -> None:
        if self._carried is not None and self._unwritten:
            interface, day, carried = self._carried
            # A full disk must not stop what needs none: it is counted on, and written when it can be.
            with suppress(StoreError):
                known = self._store.notes.get(_CARRIED) or {}
                self._store.notes.put(_CARRIED, {**known, interface: {day: carried}})
                self._unwritten = 0
