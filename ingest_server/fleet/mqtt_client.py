"""The server at a broker: all that knows paho. Nothing of an upload, and no report, waits for it.

paho keeps the connection and comes back by itself; what happened meanwhile is in the documents that the
broker keeps and in the fleet's own memory, from which everything that is still wanted is said again with
each new session. Its thread only hears; what is said goes out from the fleet's worker, a step at a time.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest_server.fleet.members import Member
from ingest_server.fleet.mqtt_messages import Messages, Saying
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.settings import BrokerSettings
from ingest_server.storage.interface import CommandRecord

log = structlog.get_logger()

KEEP_ALIVE_S = 60
LONGEST_WAIT_S = 120
"""Between two attempts to reach the broker."""
MOST_SAYINGS = 1000
"""That wait for a broker, at most: what is wanted of devices is said again with each session."""
UNSUPPORTED_VERSION = 132


class FleetBroker:
    """One session after another; `step` is called by the fleet's worker."""

    def __init__(self, settings: BrokerSettings, fleet: FleetService, messages: Messages) -> None:
        self._settings = settings
        self._fleet = fleet
        self._messages = messages
        self._waiting: deque[Saying] = deque(maxlen=MOST_SAYINGS)
        self._notices: deque[Saying] = deque(maxlen=MOST_SAYINGS)
        self._is_new = False
        """A session has begun, and nothing was said in it yet."""
        self._is_old_broker = False
        self._summary = b""
        self._client: paho.Client | None = None

    def start(self) -> None:
        """Begin; returns at once, whether a broker is there or not."""
        self._fleet.on_command = self._command
        self._fleet.on_desired = self._desired
        self._connect()

    def stop(self) -> None:
        client = self._client
        if client is None:
            return
        self._publish(self._messages.status("offline"))
        self._client = None
        client.disconnect()
        client.loop_stop()

    def note(self, kind: str, device: str, data: Mapping[str, Any]) -> None:
        """Say what people are told of a device."""
        self._notices.append(self._messages.notice(kind, device, data))

    def step(self) -> None:
        """Say what is to be said, if a broker is there."""
        client = self._client
        if client is None:
            return
        if self._is_old_broker and client.protocol == MQTTProtocolVersion.MQTTv5:
            client.loop_stop()
            self._connect()
            return
        if not client.is_connected():
            return
        if self._is_new:
            self._is_new = False
            self._introduce()
        for sayings in (self._waiting, self._notices):
            while sayings:
                self._publish(sayings.popleft())
        tiles, stuck = self._fleet.board.counts(self._fleet.clock.now_s())
        summary = self._messages.summary(tiles, stuck)
        if summary.payload != self._summary:
            self._summary = summary.payload
            self._publish(summary)

    def _introduce(self) -> None:
        """Say all that is wanted of devices, and who speaks: a device runs each command once."""
        self._summary = b""
        self._publish(self._messages.status("online"))
        if self._settings.discovery_prefix is not None:
            self._publish(self._messages.discovery(self._settings.discovery_prefix))
        with self._fleet.lock:
            self._waiting.clear()
            for member in self._fleet.members.values():
                for command in member.waiting:
                    self._command(member, command)
                if self._fleet.desired_for(member) is not None:
                    self._desired(member)

    def _command(self, member: Member, command: CommandRecord) -> None:
        if "mqtt" in member.via:  # another hears of it with its next report
            self._waiting.append(self._messages.command(command))

    def _desired(self, member: Member) -> None:
        self._waiting.append(self._messages.desired(member))

    def _publish(self, saying: Saying) -> None:
        client = self._client
        if client is None:
            return
        properties = None
        if client.protocol == MQTTProtocolVersion.MQTTv5 and saying.expires_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho left it bare
            properties.MessageExpiryInterval = saying.expires_s
        client.publish(saying.topic, saying.payload, 1, saying.is_retained, properties)

    def _connect(self) -> None:
        version = (
            MQTTProtocolVersion.MQTTv311 if self._is_old_broker else MQTTProtocolVersion.MQTTv5
        )
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="edgeup-ingest-server", protocol=version
        )
        client.suppress_exceptions = True  # one that flies ends its thread, and nobody hears
        client.max_queued_messages_set(MOST_SAYINGS)
        client.reconnect_delay_set(1, LONGEST_WAIT_S)
        if self._settings.username is not None:
            client.username_pw_set(self._settings.username, self._password())
        url = urlsplit(self._settings.url)
        if url.scheme == "mqtts":
            context = ssl.create_default_context(cafile=self._settings.ca_file)
            client.tls_set_context(context)
        will = self._messages.status("offline")
        client.will_set(will.topic, will.payload, 1, retain=True)
        client.on_connect = self._connected
        client.on_disconnect = self._ended
        client.on_message = self._heard
        client.connect_async(
            url.hostname or "localhost",
            url.port or (8883 if url.scheme == "mqtts" else 1883),
            KEEP_ALIVE_S,
        )
        client.loop_start()
        self._client = client

    def _password(self) -> str | None:
        file = self._settings.password_file
        if file is None:
            return None
        try:
            return file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            log.error("broker.password_unread", path=str(file), error=str(error))  # noqa: TRY400
            return None

    # in paho's thread

    def _connected(
        self, client: paho.Client, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        if reason.is_failure:
            self._is_old_broker |= reason.value == UNSUPPORTED_VERSION
            log.warning("broker.refused", error=str(reason))
            return
        client.subscribe([(topic, 1) for topic in self._messages.topics()])
        self._is_new = True
        log.info("broker.connected", url=_shown(self._settings.url))

    def _ended(
        self, _client: object, _data: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        log.info("broker.lost", error=str(reason))

    def _heard(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._messages.take(message.topic, bytes(message.payload), is_retained=message.retain)


def _shown(url: str) -> str:
    split = urlsplit(url)
    return f"{split.scheme}://{split.hostname}:{split.port or ''}".rstrip(":")
