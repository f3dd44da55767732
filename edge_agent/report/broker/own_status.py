"""Our own ``status``: how it is told, and how others see it.

The agent reads it back. On MQTT 3.1.1, where a broker acknowledges what its rules then throw away, that
is the only proof that it takes anything. And it shows what is wrong about us: the will of an old session
that came late, or another agent with our id.
"""

from __future__ import annotations

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.reasons import ProblemCode
from edge_agent.report import payloads
from edge_agent.report.broker.outgoing import Outgoing
from edge_agent.report.broker.refusals import Refusals
from edge_agent.report.broker.session import BrokerSession
from edge_agent.report.own_run import OwnRun
from edge_agent.report.timing import Timing
from edge_host.clock import rfc3339

log = structlog.get_logger(__name__)


class OwnStatus:
    """Of one reporter; used by its thread alone."""

    def __init__(
        self,
        connection: BrokerSession,
        outgoing: Outgoing,
        refusals: Refusals,
        *,
        topic: str,
        clock: Clock,
        run: OwnRun,
        timing: Timing,
    ) -> None:
        self._connection = connection
        self._outgoing = outgoing
        self._refusals = refusals
        self._topic = topic
        self._clock = clock
        self._run = run
        self._timing = timing
        self._is_returning = False
        self._presented_s = 0.0
        self._is_echoed = False
        self._is_known = False
        """Whether this process was ever seen online."""

    @property
    def is_trusted(self) -> bool:
        """Whether an acknowledgement of the broker means that it took the message.

        MQTT 3.1.1 acknowledges a message that the broker's rules then throw away. There, only what
        comes back has been taken, so what must not be lost waits until our own ``status`` did.
        """
        return self._connection.is_v5 or self._is_echoed

    def begin_session(self, now_s: float) -> None:
        """Say that we are there, in a session that has just begun."""
        self._is_echoed = False
        self.online("reconnect" if self._is_returning else "start", now_s)
        self._is_returning = True

    def online(self, reason: str, now_s: float) -> None:
        self._present("online", reason, now_s)

    def offline(self, reason: str, now_s: float) -> None:
        self._present("offline", reason, now_s)

    def _present(self, status: str, reason: str, now_s: float) -> None:
        say = payloads.online if status == "online" else payloads.offline
        document = say(
            boot_id=self._run.boot_id,
            run_id=self._run.run_id,
            session=self._connection.number,
            reason=reason,
            ts=rfc3339(self._clock.now_utc()),
        )
        self._presented_s = now_s
        self._outgoing.publish(self._topic, payloads.encode(document), is_retained=True)

    def overhear(self, payload: bytes, now_s: float) -> None:
        """Read our own ``status`` as others see it.

        What comes before our own has come back is history. An ``offline`` after that is the will of
        an old session that the broker delivered late; an ``online`` is another agent with our id.
        """
        said = payloads.read_presence(payload)
        if said is None:
            return
        number = self._connection.number
        if said == payloads.Presence(True, self._run.boot_id, self._run.run_id, number):
            self._is_echoed = self._is_known = True
            self._refusals.taken(self._topic)
        elif said.is_online:
            if self._is_known and said.run_id != self._run.run_id:
                self._connection.contest(now_s)
        elif self._is_echoed and now_s - self._presented_s >= self._timing.min_gap_s:
            log.info("status.contradicted", session=number)
            self.online("reconnect", now_s)

    def look_after(self, now_s: float) -> None:
        """Say it again, and that something is wrong, where it does not come back in time."""
        patience_s = self._timing.echo_s
        if self._topic in self._refusals:
            patience_s = max(patience_s, self._timing.retry_refused_s / 12)
        if not self.is_trusted and now_s - self._presented_s >= patience_s:
            self._refusals.add(self._topic, ProblemCode.MQTT_ACL, "it did not come back")
            self.online("reconnect", now_s)
