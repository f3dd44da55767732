"""Where the story comes from: the broker, as for any operator, and the programs' logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from demo.ports import LOOPBACK

_STEP_S = 0.1


class Message(NamedTuple):
    """One document from the agent."""

    channel: str
    """``status``, ``state`` or ``event``."""
    document: dict[str, Any]


class Operator:
    """An operator's view over MQTT: all that one device says, put on a queue."""

    def __init__(self, port: int, topic: str, messages: SimpleQueue[Message]) -> None:
        self._topic = topic
        self._messages = messages
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._receive
        self._client.connect_async(LOOPBACK, port)
        # Not paho's own thread: its loop_stop fails if that thread ends in the same moment.
        self._thread = Thread(
            target=self._client.loop_forever, kwargs={"retry_first_connection": True}, daemon=True
        )

    def start(self) -> None:
        """Listen, in a thread, also across restarts of the broker."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._client.disconnect()
        # Told again and again: a connection that is just about to be made forgets that it was not wanted.
        while self._thread.is_alive():
            self._thread.join(_STEP_S)
            self._client.disconnect()

    def _subscribe(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(f"{self._topic}/#", qos=1)

    def _receive(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            document = json.loads(message.payload)
        except ValueError:
            return  # an empty retained message, or not ours
        if isinstance(document, dict):
            self._messages.put(Message(message.topic.removeprefix(f"{self._topic}/"), document))


class LogTail:
    """The JSON lines that a program adds to its log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def new(self) -> Iterator[dict[str, Any]]:
        """Return what was added since the last call; lines that are no JSON are left out."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record
