"""What the server says in its answer to a report: which events it has, what it asks for, what somebody wants."""

from __future__ import annotations

from collections.abc import Iterable

from edge_agent.base.helper import only_helps
from edge_agent.core.report_pace import ReportPace
from edge_agent.report.command_port import CommandPort
from edge_agent.report.server.holds import HoldsStanding
from edge_agent.report.server.parts import VIA, Look, ReportParts
from edge_agent.report.server.port import ReportAnswer
from edge_agent.store.outbox import OutboxEvent

PARTS = frozenset({"info", "state", "files", "reported"})
"""What a report may consist of, and a server may ask for anew."""


class ReportAnswers:
    """Does what they say. For one thread."""

    def __init__(self, parts: ReportParts, pace: ReportPace) -> None:
        self._outbox = parts.outbox
        self._parts = parts
        self._pace = pace
        self._port = parts.port
        self._commands: frozenset[bytes] = frozenset()
        """Those of the last answer."""
        self._desired: bytes | None = None
        """The last one that was passed on."""

    def hear(self, look: Look, answer: ReportAnswer) -> None:
        """Do what the answer says; each of it may fail, and comes again with the next answer."""
        settled = 0
        with only_helps("events to the server", instead="they are told again"):
            settled = self._settle(look.events, answer.through)
        holds = self._parts.holds
        if look.asks_holds:
            holds.hear(None if answer.holds is None else HoldsStanding(*answer.holds))
        if look.is_news:
            holds.changed()
        self._parts.contested(answer.is_contested)
        if (
            "info" in answer.want
            and "info" not in look.parts
            and self._parts.trial.may_have("info")
        ):
            holds.is_asked = True  # it has forgotten this device
        if self._port is not None:
            with only_helps("commands from the server", instead="the server repeats them"):
                self._take(self._port, look, answer)
        trial = self._parts.trial
        wanted = {one for one in (answer.want & PARTS) - look.parts.keys() if trial.may_have(one)}
        self._parts.told.forget(wanted)
        if wanted or trial.is_seeking or (look.has_more and (settled or look.acks)):
            self._pace.hurry()

    def _settle(self, events: Iterable[OutboxEvent], through: int | None) -> int:
        """Forget the events that the server has; return how many these are."""
        has = {one.seq: None for one in events if through is not None and one.seq <= through}
        if has:
            self._outbox.settle(has)
        return len(has)

    def _take(self, port: CommandPort, look: Look, answer: ReportAnswer) -> None:
        if look.acks:
            port.told(VIA, look.acks)
        for command in answer.commands:
            port.take(command, VIA, now_s=answer.now.timestamp())
        if answer.desired is not None and answer.desired != self._desired:
            port.desire(answer.desired, VIA)
            self._desired = answer.desired
        if not self._commands.issuperset(
            answer.commands
        ):  # one that is repeated waits for its answer
            self._pace.hurry()
        self._commands = frozenset(answer.commands)
