"""The server at a broker: one session after another. Nothing of an upload, and no report, waits for it.

A thread of its own connects, hears, and connects again. What is said goes out from the fleet's worker, a
step at a time: with each new session all that is still wanted is said again. The broker has its
acknowledgement of what happened on a device once that is in the database: what cannot be stored waits here,
and with the broker, over restarts of both.

Of servers that share a store the leader is at the broker. The next one has its client id, and so what the broker
kept for it; one whose lead is over does not come back and throw that one out.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog

from ingest_server.base.lead import SOLE, Lead
from ingest_server.fleet.broker_login import read_login
from ingest_server.fleet.broker_words import MEANING, Ended, LoginError, words
from ingest_server.fleet.members import Member
from ingest_server.fleet.mqtt_client import Received, Session
from ingest_server.fleet.mqtt_messages import Messages, Saying, Taken
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.settings import BrokerSettings
from ingest_server.storage.interface import CommandRecord

log = structlog.get_logger()

LONGEST_WAIT_S = 120.0
"""Between two attempts to reach the broker."""
MOST_REFUSALS = 1000
"""That are said in one session."""
MOST_HELD = 1000
"""That wait for the database: a broker that sends more without an acknowledgement is left for a while."""
OLD_FOR_S = 86_400.0
"""How long it is remembered that a broker speaks MQTT 3.1.1 only."""
CALM_S = 60.0
"""A session that lasts for less is no reason to come back faster."""
FAREWELL_S = 2.0
LOOK_S = 1.0
"""Between two looks whether this server is the one at the broker now."""
PAUSE_S = 0.00025
"""After a message that is left out: so many take no core, whatever their number."""


class FleetBroker:
    """Begins with `start`, in a thread of its own; `step` is called by the fleet's worker."""

    def __init__(
        self, settings: BrokerSettings, fleet: FleetService, messages: Messages, lead: Lead = SOLE
    ) -> None:
        self._lead = lead
        self.on_open: Callable[[], None] = lambda: None
        """Called when the broker is there again; must not wait."""
        url = urlsplit(settings.url)
        self._settings = settings
        self._host = url.hostname or "localhost"
        self._port = url.port or (8883 if url.scheme == "mqtts" else 1883)
        self._fleet = fleet
        self._messages = messages
        self._waiting: deque[Saying] = deque()
        """What is wanted of devices, of all of them when a session begins; empty without one."""
        self._asked: dict[str, Member] = {}
        """Devices that are to be told of commands: at once, or once they take more."""
        self._told: dict[str, set[str]] = {}
        """Ids of the commands that this session has brought each of them."""
        self._held: deque[tuple[Session, Received]] = deque()
        """Waits for the database; in this order."""
        self._summary = b""
        self._session: Session | None = None
        self._introduced: Session | None = None
        self._is_v5 = True
        self._old_until_s = float("-inf")
        self._opened_s = float("-inf")
        self._failures = 0
        self._said = ""
        self._refused: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet-broker", daemon=True)

    def start(self) -> None:
        """Begin; returns at once, whether a broker is there or not."""
        self._fleet.on_command = self._command
        self._fleet.commands.on_again = self._again
        self._fleet.commands.is_queued_elsewhere = True
        self._fleet.on_desired = self._desired
        # Of servers that share a store the one that leads is there: that it is not, the others cannot know.
        self._fleet.reaches_at_once = lambda: self.is_connected or not self._lead.holds()
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye where a broker is there, and end."""
        self._stopped.set()
        session = self._session
        if session is not None and self.is_connected:
            session.publish(self._messages.status("offline"))
            session.close()
            self._thread.join(FAREWELL_S)
        if session is not None:
            session.abort()
        if self._thread.ident is not None:
            self._thread.join(FAREWELL_S)

    @property
    def is_connected(self) -> bool:
        return self.open_session is not None

    @property
    def open_session(self) -> Session | None:
        """Return the session, if the broker is there."""
        session = self._session
        return session if session is not None and session.is_open else None

    def step(self) -> None:
        """Take what had to wait, and say what is to be said, if a broker is there."""
        self._messages.step()
        self._take_held()
        session = self._session
        if session is not None and not self._lead.holds():
            session.abort()
            return
        if session is None or not session.is_open:
            return
        if session is not self._introduced:
            self._introduced = session
            self._introduce(session)
        self._say_commands()
        while self._waiting and session.has_room and session.publish(self._waiting[0]):
            self._waiting.popleft()
        tiles, stuck = self._fleet.board.counts(self._fleet.clock.now_s())
        summary = self._messages.summary(tiles, stuck)
        is_news = session.has_room and summary.payload != self._summary
        if is_news and session.publish(summary):
            self._summary = summary.payload

    def _introduce(self, session: Session) -> None:
        """Say all that is wanted of devices, and who speaks: a device runs each command once."""
        self._summary = b""
        session.publish(self._messages.status("online"))
        if self._settings.discovery_prefix is not None:
            session.publish(self._messages.discovery(self._settings.discovery_prefix))
        with self._fleet.lock:
            self._waiting.clear()
            self._asked.clear()
            self._told.clear()
            for member in self._fleet.members.values():
                for command in member.waiting:
                    self._command(member, command)
                if self._fleet.desired_for(member) is not None:
                    self._desired(member)

    def _command(self, member: Member, _command: CommandRecord) -> None:
        # Without a session nothing is kept: the next one begins with all of it.
        if self._introduced is not None and "mqtt" in member.via:  # another hears with its report
            self._asked[member.device] = member

    def _again(self, member: Member, command: CommandRecord) -> None:
        """Bring a command once more, which its device did not take; its caller is alone with that."""
        self._told.get(member.device, set()).discard(command.id)
        self._command(member, command)

    def _say_commands(self) -> None:
        """Bring each device what it takes by now, once in a session but for what it refused."""
        for device in list(self._asked):
            with self._fleet.alone(device):
                member = self._asked.pop(
                    device
                )  # before it is looked: what comes meanwhile puts it back
                if self._fleet.members.get(device) is not member:
                    continue  # forgotten
                due = self._fleet.commands.due(member)
                told = self._told.get(device, set())
                self._waiting.extend(
                    self._messages.command(one) for one in due if one.id not in told
                )
                told |= {one.id for one in due}
                self._told[device] = told & {one.id for one in member.waiting}
                if len(due) < len(member.waiting):
                    self._asked[device] = member

    def _desired(self, member: Member) -> None:
        if self._introduced is not None:
            self._waiting.append(self._messages.desired(member))

    def _take_held(self) -> None:
        held = self._held
        while held:
            session, message = held[0]
            if not self._is_taken(message, is_again=True):
                return
            session.acknowledge(message)
            held.popleft()

    def _is_taken(self, message: Received, *, is_again: bool = False) -> bool:
        try:
            taken = self._messages.take(
                message.topic, message.payload, is_retained=message.is_retained, is_again=is_again
            )
        except Exception as error:
            # Without its acknowledgement the broker would hold back what all others say.
            log.exception("fleet.message_failed", topic=message.topic, error=type(error).__name__)
            return True
        if taken is Taken.LEFT_OUT:
            self._stopped.wait(PAUSE_S)
        return taken is not Taken.NOT_STORED

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._lead.holds():
                self._stopped.wait(LOOK_S)
                continue
            self._is_v5 |= self._fleet.clock.now_s() >= self._old_until_s
            self._stopped.wait(self._after(self._once()))

    def _once(self) -> Ended:
        try:
            login = read_login(self._settings)
        except LoginError as error:
            return Ended(why=error)
        session = Session(
            login,
            self._messages.status("offline"),
            self._messages.topics(),
            self,
            is_v5=self._is_v5,
            now_s=self._fleet.clock.now_s,
        )
        self._session = session
        try:
            return Ended() if self._stopped.is_set() else session.run()
        finally:
            self._session = self._introduced = None
            self._held = deque()  # the broker sends it again in the next one

    def _after(self, end: Ended) -> float:
        """Say how a session ended, once; return the seconds until the next."""
        if self._stopped.is_set():
            return 0.0
        now_s = self._fleet.clock.now_s()
        is_first_no = end.knows_only_older and self._is_v5
        if end.was_taken and now_s - self._opened_s >= CALM_S:
            self._failures, self._said = 0, ""
        elif end.knows_only_older or (end.may_know_only_older and self._failures % 2):
            self._is_v5 = not self._is_v5  # twice without an answer: it may speak the other one
            self._old_until_s = now_s + OLD_FOR_S
        if is_first_no:
            return 0.0
        self._failures += 1
        error, action = words(end, f"{self._host}:{self._port}")
        wait_s = random.uniform(0.5, 1) * min(LONGEST_WAIT_S, 2.0 ** min(self._failures, 16))  # noqa: S311
        if error != self._said:
            self._said = error
            event = "broker.lost" if end.was_taken else "broker.unreachable"
            log.warning(event, error=f"{error}: {MEANING}", action=action, wait_s=round(wait_s, 1))
        return wait_s

    def opened(self) -> None:
        """Note that the broker took us."""
        self._opened_s = self._fleet.clock.now_s()
        log.info(
            "broker.connected",
            broker=f"{self._host}:{self._port}",
            protocol="5" if self._is_v5 else "3.1.1",
            failures=self._failures,
        )
        self._refused.clear()
        self.on_open()

    def heard(self, message: Received) -> None:
        """Take a message, and acknowledge it once nothing of it can be lost."""
        session = self._session
        if session is None:
            return
        waits = bool(self._held) and self._messages.is_stored(message.topic)
        if not waits and self._is_taken(message):
            session.acknowledge(message)
        elif message.qos == 0:
            pass  # its device did not ask for more
        elif len(self._held) < MOST_HELD:
            self._held.append((session, message))
        else:
            session.abort()

    def refused(self, topic: str, reason: str) -> None:
        """Say once in a session what the broker does not let us do."""
        if topic in self._refused or len(self._refused) >= MOST_REFUSALS:
            return
        self._refused.add(topic)
        log.error(
            "broker.refused",
            error=f"the broker does not let this server use {topic} ({reason}): {MEANING}",
            action="allow it to the user of [fleet] mqtt_username (deploy/mosquitto/acl has the rules), or "
            "raise the broker's max_packet_size",
        )
