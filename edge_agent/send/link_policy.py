"""The owner's rules, asked with what the machine says now: link, local time, bytes of today.

Which interface leads to the server is looked up by whoever made this; bytes of a day are remembered in
the store, a little late, so that a card is not written for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.core.hold import Hold
from edge_agent.core.link_rule import NOTHING_KNOWN, LinkFacts, LinkRule, rule_for
from edge_agent.core.power import PowerRule, PowerState, judge
from edge_agent.core.schedule import URGENT, Note, SendingRules, Slot, Stop, day_of, decide
from edge_agent.core.upload import State
from edge_agent.send.surroundings import Surroundings, hold_of_order
from edge_agent.store.recordings import Store

_LOOK_S = 2.0
"""Between two looks at the route and the clock."""
_REMEMBER_BYTES = 8 * 1024 * 1024
"""What a power cut may make a day's budget forget."""

WORK = (State.STABLE, State.SENDING, State.SENT)
"""What lanes have to do with."""

_CARRIED = "carried"


@dataclass(frozen=True, slots=True)
class OwnerRules:
    """As the configuration has them."""

    links: Sequence[LinkRule] = ()
    timetable: Sequence[Slot] = ()
    max_rate: int | None = None
    original: str = "always"
    """When what is no thumbnail, sidecar or proxy is sent."""
    power: PowerRule = field(default_factory=PowerRule)
    hold_file: bytes | None = None
    """While it is there nothing is sent."""


@dataclass(frozen=True, slots=True)
class LinkInUse:
    """The way to the server, and what holds on it."""

    interface: str | None = None
    verdict: SendingRules = field(default_factory=SendingRules)


def why_not_used(
    name: str, links: Sequence[LinkRule], tunnel: str | None, facts: LinkFacts = NOTHING_KNOWN
) -> str | None:
    """Return why the interface *name* is not used in place of the usual one; None: it may be.

    It may where a rule names it and does not forbid it, and where it is not metered and the usual way is no
    tunnel: whoever sends through a VPN does not want to be seen beside it.

    Args:
        tunnel: the usual way, if it is one.
        facts: what is known of the interface beside its name.
    """
    rule = rule_for(links, name, facts)
    if rule is not None:
        if rule.metered and rule.daily_bytes is None:
            who = "NetworkManager" if rule.metered_if_told else f'[[link]] match = "{rule.match}"'
            return f"{who} says that it is metered, without daily_bytes"
        if any(one.strip("*?") for one in rule.match.split("|")):
            return None
    if tunnel is not None:
        return f"the way leads through {tunnel}, a tunnel, and would lead past it"
    return None


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
        self._power = PowerRule(), PowerState()
        """By which rule, and what followed from it: what one held another does not go on holding."""
        self.rules = OwnerRules()
        self.last = LinkInUse()
        """What the last `look` found; may be read from any thread."""

    @property
    def is_paused(self) -> bool:
        return self._store.orders.paused() is not None

    def ask_anew(self) -> None:
        """Something changed: the next `look` does not answer from memory."""
        self._looked_s = None

    def close(self) -> None:
        """Look at nothing any more."""
        self._around.close()

    def facts(self, interface: str | None) -> LinkFacts:
        """Return what is known of *interface*; nobody is asked where no rule wants to know."""
        if interface is None or not any(one.asks for one in self.rules.links):
            return NOTHING_KNOWN
        return self._around.link(interface)

    def look(self, now_s: float, sent_bytes: int) -> SendingRules:
        """Return what is allowed now.

        Args:
            sent_bytes: by all lanes, since they were made.
        """
        looked_s = self._looked_s
        if looked_s is not None and 0 <= now_s - looked_s < _LOOK_S:
            return self._verdict
        self._looked_s = now_s
        local = self._clock.now_utc().astimezone() if self._clock.is_synchronised() else None
        interface = self._interface()
        orders = self._store.orders
        stop, notes = self._stop(now_s)
        verdict = decide(
            rules=self.rules.links,
            timetable=self.rules.timetable,
            max_rate=self.rules.max_rate,
            interface=interface,
            local=local,
            used_today=self._used_today(interface, local, sent_bytes),
            stop=stop,
            ordered_rate=orders.limit(),
            original=self.rules.original,
            facts=self.facts(interface),
        )
        self._verdict = replace(verdict, notes=(*notes, *verdict.notes))
        if self._has_urgent(self._verdict.urgent_from):
            self._verdict = self._verdict.for_urgent()
        self.last = LinkInUse(interface, self._verdict)
        return self._verdict

    def _stop(self, now_s: float) -> tuple[Stop | None, list[Note]]:
        """Return what forbids every link, and what people are told of that and of what is not known."""
        paused = self._store.orders.paused()
        holds, notes = self._holds()
        power = self._judge_power(now_s)
        notes += [Note("rule_unknown", one) for one in power.unknown]
        if paused is not None:
            return Stop("paused", paused.detail), notes
        if holds:
            return Stop("hold", holds[0].detail), notes
        if power.detail is not None:
            return Stop("power", power.detail, URGENT), notes
        return None, notes

    def _holds(self) -> tuple[list[Hold], list[Note]]:
        seen = self._around.hold_file(self.rules.hold_file)
        unknown = seen if isinstance(seen, str) else None
        ordered = self._store.orders.held()
        holds = [] if ordered is None else [hold_of_order(ordered)]
        if isinstance(seen, Hold):
            holds.append(seen)
        notes = [Note("hold_stale", one.stale) for one in holds if one.stale is not None]
        if unknown is not None:
            notes.append(Note("rule_unknown", unknown))
        return holds, notes

    def _judge_power(self, now_s: float) -> PowerState:
        rule, (rule_before, before) = self.rules.power, self._power
        supplies, why = self._around.power() if rule else (None, "")
        if rule != rule_before:
            before = PowerState()
        state = judge(rule, supplies, before, now_s=now_s, why_unknown=why)
        self._power = rule, state
        return state

    def _has_urgent(self, least: int | None) -> bool:
        """Return whether something is to be sent that a person wants now, whatever the rules say."""
        return least is not None and bool(self._store.due(*WORK, at_least=least, limit=1))

    def _used_today(self, interface: str | None, local: datetime | None, sent_bytes: int) -> int:
        gained, self._counted = sent_bytes - self._counted, sent_bytes
        if interface is None:
            return 0
        day = day_of(local)
        if self._carried is None or self._carried[:2] != (interface, day):
            self._write()
            known = self._store.notes.get(_CARRIED) or {}
            known = known.get(interface, {})
            self._carried = (interface, day, int(known.get(day, 0)))
        self._carried = (interface, day, self._carried[2] + gained)
        self._unwritten += gained
        if self._unwritten >= _REMEMBER_BYTES:
            self._write()
        return self._carried[2]

    def _write(self) -> None:
        if self._carried is not None and self._unwritten:
            interface, day, carried = self._carried
            # A full disk must not stop what needs none: it is counted on, and written when it can be.
            with suppress(StoreError):
                known = self._store.notes.get(_CARRIED) or {}
                self._store.notes.put(_CARRIED, {**known, interface: {day: carried}})
                self._unwritten = 0
