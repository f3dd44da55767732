"""One connection to an MQTT broker; the only module that knows paho."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edge_agent.errors import AgentError


class BrokerError(AgentError):
    """The broker cannot be used; the message says what happened, what it means, what to do."""


class MqttOptions(Protocol):
    """What the reporter needs of the ``[mqtt]`` settings."""

    @property
    def url(self) -> str | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password_file(self) -> Path | None: ...
    @property
    def topic_prefix(self) -> str: ...
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def state_interval_seconds(self) -> float: ...
    @property
    def keepalive_seconds(self) -> int: ...


def check_broker(settings: MqttOptions, device_id: str, timeout_s: float) -> str:
    """Connect, publish nothing, and return one sentence about what the broker answered.

    Raises:
        BrokerError: cannot be reached, or refuses us.
    """
    raise NotImplementedError
