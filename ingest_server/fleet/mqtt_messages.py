"""What the server hears from devices over a broker, and says there; nothing here knows paho.

Who writes to the topics of a device is the broker's business: its rules (``docs/fleet.md``) let only that
device do so, and this server believes the topic.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

import structlog

from ingest_server.core.errors import Refused
from ingest_server.core.events import Event
from ingest_server.fleet import home_assistant
from ingest_server.fleet.commands import document
from ingest_server.fleet.inflow import SAY_AGAIN_S, TokenBucket
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.members import Member
from ingest_server.fleet.presence import ONLINE
from ingest_server.fleet.report import MOST_EVENT, MOST_NEXT_S, MOST_OF, read_ack, read_event
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.values import encoded, inner, number, text, version
from ingest_server.storage.interface import CommandRecord
from upload_protocol.headers import is_device_id
from upload_protocol.members import MessageError

log = structlog.get_logger()

HEARD = ("status", "info", "state", "event", "cmd/ack", "reported")
"""What is subscribed to, of every device."""
USUAL_HEARTBEAT_S = 300.0
SELDOM = 3
"""Heartbeats that pass between two states of a device that is idle on a metered link."""
STORED = frozenset({"event", "cmd/ack"})
"""What is told once: its broker must not forget it before it is in the database."""


class Taken(Enum):
    """What became of a message."""

    DONE = auto()
    LEFT_OUT = auto()
    """Its device sends too many, or nonsense."""
    NOT_STORED = auto()
    """The database failed: to be tried again."""


@dataclass(frozen=True, slots=True)
class Saying:
    """One message that is to go out."""

    topic: str
    payload: bytes
    is_retained: bool = False
    expires_s: int | None = None


class Messages:
    """Takes messages in, in the broker's thread; never raises."""

    def __init__(self, fleet: FleetService, intake: Intake, prefix: str) -> None:
        self._fleet = fleet
        self._intake = intake
        self._root = f"{prefix.strip('/')}/v1"
        self._prefix = prefix
        self._sessions: dict[str, tuple[object, object]] = {}
        """Run and session of each device's last ``online``: an ``offline`` of another is old."""
        self._heartbeats_s: dict[str, float] = {}
        self._late: dict[tuple[str, str], tuple[bytes, bool]] = {}
        """The newest of what a device said too often: taken when it has a turn again."""
        self._complained_s = float("-inf")
        self._lines = TokenBucket(20, 0.1)
        """Of the log, of all devices: a name in a topic is as cheap as a message."""
        self._unsaid = 0

    def topics(self) -> list[str]:
        return [f"{self._root}/+/{one}" for one in HEARD]

    def own(self, name: str) -> str:
        """Return a topic of the server's own; who hears all devices does not take it for one."""
        return own_topic(self._prefix, name)

    def is_stored(self, topic: str) -> bool:
        """Whether what comes there is told once, and goes into the database."""
        return self._place(topic)[1] in STORED

    def take(
        self, topic: str, payload: bytes, *, is_retained: bool, is_again: bool = False
    ) -> Taken:
        """Take one message; what is none of a device is left out of account.

        Args:
            is_again: it was not stored the last time.
        """
        device, channel = self._place(topic)
        if not is_device_id(device) or channel not in HEARD:
            return Taken.LEFT_OUT
        with self._fleet.alone(device):
            with self._fleet.lock:
                try:
                    member = self._fleet.joined(device)
                except Refused as refused:
                    self._complain_of_all(str(refused))
                    return Taken.LEFT_OUT
                now_s, flow = self._fleet.clock.now_s(), member.inflow
                turns = flow.happenings if channel in STORED else flow.sayings
                if not is_again and not turns.take(now_s):
                    if channel not in STORED:
                        self._late[device, channel] = payload[: MOST_EVENT + 1], is_retained
                    self._complain(member, channel, "it sends more than any agent does")
                    return Taken.LEFT_OUT
                self._late.pop((device, channel), None)
            return self._taken(member, channel, payload, is_news=not (is_retained or is_again))

    def step(self) -> None:
        """Take what devices said last while they said too much."""
        for key in list(self._late):
            with self._fleet.alone(key[0]):
                with self._fleet.lock:
                    late, member = self._late.pop(key, None), self._fleet.members.get(key[0])
                    if late is None or member is None:
                        continue  # a newer one was taken meanwhile, or the device is forgotten
                    if not member.inflow.sayings.take(self._fleet.clock.now_s()):
                        self._late[key] = late
                        continue
                payload, is_retained = late
                self._taken(member, key[1], payload, is_news=not is_retained)

    def _place(self, topic: str) -> tuple[str, str]:
        device, _, channel = topic.removeprefix(f"{self._root}/").partition("/")
        return device, channel

    def _taken(self, member: Member, channel: str, payload: bytes, *, is_news: bool) -> Taken:
        try:
            found = json.loads(payload[: MOST_EVENT + 1])
            if not isinstance(found, dict):
                return Taken.LEFT_OUT
            is_kept = self._take(member, channel, found, is_news=is_news)
        except (ValueError, RecursionError, MessageError) as error:
            self._complain(member, channel, f"it cannot be read: {str(error)[:300]}")
            return Taken.LEFT_OUT
        return Taken.DONE if is_kept else Taken.NOT_STORED

    def _complain(self, member: Member, channel: str, why: str) -> None:
        told = member.inflow.complain(self._fleet.clock.now_s())
        if told:
            self._warn(
                "fleet.message_left_out",
                device_id=member.device,
                topic=channel,
                count=told,
                error=f"{why}; of what it says of itself the newest is taken, of what happened there nothing "
                "more for now. Its uploads are not concerned",
                action="look what runs on that device, and whether another one uses its login",
            )

    def _complain_of_all(self, error: str) -> None:
        now_s = self._fleet.clock.now_s()
        if now_s - self._complained_s >= SAY_AGAIN_S:
            self._complained_s = now_s
            self._warn("fleet.message_refused", error=error)

    def _warn(self, event: str, **facts: object) -> None:
        if not self._lines.take(self._fleet.clock.now_s()):
            self._unsaid += 1
            return
        log.warning(event, **facts, lines_left_out=self._unsaid)
        self._unsaid = 0

    def _take(
        self, member: Member, channel: str, found: Mapping[str, Any], *, is_news: bool
    ) -> bool:
        """Take one document; False: it is to be stored, and the database failed."""
        is_kept = True
        if channel == "event":
            is_kept = self._intake.happened(member, [read_event(found)])
        elif channel == "cmd/ack":
            is_kept = self._fleet.commands.acknowledge(member, read_ack(found))
        with self._fleet.lock:
            self._take_said(member, channel, found, is_news=is_news)
        return is_kept

    def _take_said(
        self, member: Member, channel: str, found: Mapping[str, Any], *, is_news: bool
    ) -> None:
        """Take what is in memory alone of a document."""
        if channel == "status":
            self._status(member, found)
            return
        if channel not in STORED:
            body = {channel: encoded(found, channel, MOST_OF[channel])}
            if channel == "reported":
                member.reported_version = version(found.get("version")) or member.reported_version
            elif channel == "info":
                told = number(inner(found.get("telemetry")).get("heartbeat_s"))
                self._heartbeats_s[member.device] = float(told or USUAL_HEARTBEAT_S)
            parts = {channel: found} if channel != "reported" else {}
            self._intake.say(member, body, **parts)
        if is_news:  # what was kept for whoever comes says nothing of now
            self._heard(member)

    def _status(self, member: Member, found: Mapping[str, Any]) -> None:
        session = (found.get("run_id"), found.get("session"))
        if found.get("status") == "online":
            self._sessions[member.device] = session
            return self._heard(member)
        if self._sessions.get(member.device, session) != session:
            return None
        has_ended = found.get("reason") == "shutdown" and found.get("run_id") == member.run_id
        if has_ended or not self._reports_here(member):
            return self._fleet.part(member, "mqtt")
        member.via = [one for one in member.via if one != "mqtt"]
        return self._fleet.show(member)

    def _heard(self, member: Member) -> None:
        next_s = min(MOST_NEXT_S, SELDOM * self._heartbeats_s.get(member.device, USUAL_HEARTBEAT_S))
        if self._reports_here(member):
            next_s = member.next_s  # what it announced to the server itself is the shorter one
        self._fleet.hear(member, next_s, "mqtt")
        self._fleet.show(member)

    def _reports_here(self, member: Member) -> bool:
        is_there = member.presence_at(self._fleet.clock.now_s()) == ONLINE
        return is_there and "server" in member.via

    def command(self, command: CommandRecord) -> Saying:
        """Return a command on its way to its device; the broker drops it when it would be too late."""
        now = self._fleet.clock.now_utc()
        left_s = int((datetime.fromisoformat(command.expires_at) - now).total_seconds())
        topic = f"{self._root}/{command.device}/cmd"
        return Saying(topic, _json(document(command)), expires_s=max(1, left_s))

    def desired(self, member: Member) -> Saying:
        topic = f"{self._root}/{member.device}/desired"
        return Saying(topic, _json(member.desired or {}), is_retained=True)

    def status(self, status: str) -> Saying:
        return Saying(self.own("status"), _json({"v": 1, "status": status}), is_retained=True)

    def notice(self, event: Event) -> Saying:
        """Return what people are told of a device; it may come twice, with the same id."""
        said = {
            "v": 1,
            "id": event.id,
            "type": event.type,
            "time": event.time,
            "device": event.device,
            "detail": text(event.data.get("detail"), 1000),
        }
        return Saying(self.own("notice"), _json(said))

    def summary(self, tiles: Mapping[str, Any], stuck: int) -> Saying:
        """Return how all devices are, for whoever shows one line of them."""
        offline, devices = tiles["offline"], tiles["devices"]
        keys = ("devices", "online", "late", "offline", "pending_files", "pending_bytes", "failed")
        said = {"v": 1, "summary": f"{offline} of {devices} offline", "stuck": stuck}
        return Saying(
            self.own("state"),
            _json({**said, **{key: tiles[key] for key in keys}}),
            is_retained=True,
        )

    def discovery(self, prefix: str) -> Saying:
        """Return the fleet as a device of Home Assistant."""
        return Saying(
            discovery_topic(prefix),
            _json(home_assistant.discovery(self.own("state"), self.own("status"))),
            is_retained=True,
        )


def own_topic(prefix: str, name: str) -> str:
    """Return a topic of the server's own."""
    return f"{prefix.strip('/')}/fleet/v1/{name}"


def discovery_topic(prefix: str) -> str:
    """Return where the fleet is described for Home Assistant, which looks below *prefix*."""
    return f"{prefix.strip('/')}/device/edgeup_fleet/config"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")
