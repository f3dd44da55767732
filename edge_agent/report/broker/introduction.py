"""What the agent is, told once and kept by the broker: ``info``, and the device for Home Assistant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from edge_agent.base.settings import HomeAssistantSettings
from edge_agent.report import payloads
from edge_agent.report.broker.heard import Received, Subscription
from edge_agent.report.broker.home_assistant import config_topic, discovery
from edge_agent.report.broker.outgoing import Outgoing
from edge_agent.report.payloads import Topics

_SPREAD_S: Final = 30.0
"""Home Assistant has started and hears a whole fleet: not all at once."""

log = structlog.get_logger(__name__)


class Introduction:
    """Of one reporter; used by its thread alone."""

    def __init__(
        self,
        outgoing: Outgoing,
        topics: Topics,
        settings: HomeAssistantSettings,
        *,
        device_id: str,
        info: Callable[[], Mapping[str, Any]],
        jitter: Callable[[], float],
    ) -> None:
        self._outgoing = outgoing
        self._topics = topics
        self._is_device = settings.enabled
        self._device_id = device_id
        self._info = info
        self._jitter = jitter
        self._config_topic = config_topic(settings.discovery_prefix, device_id)
        self._birth_topic = f"{settings.discovery_prefix}/status"
        self._has_told = False
        self._device_due_s: float | None = None

    @property
    def subscriptions(self) -> list[Subscription]:
        return [Subscription(self._birth_topic, wants_retained=False)] if self._is_device else []

    def begin_session(self, *, is_remembered: bool) -> None:
        """Tell it, unless the broker has had it from us and has not forgotten the session."""
        if not self._has_told or not is_remembered:
            self.tell()

    def tell(self) -> None:
        info = self._info()
        self._outgoing.publish(self._topics.info, payloads.encode(info), is_retained=True)
        self._tell_device(info)
        self._has_told = True

    def hear(self, message: Received, now_s: float) -> None:
        """Take Home Assistant's own birth message: it may have forgotten us."""
        if self._is_device and message.topic == self._birth_topic and message.payload == b"online":
            self._device_due_s = now_s + _SPREAD_S * self._jitter()

    def step(self, now_s: float) -> float:
        """Tell the device again where that is due; return the seconds until it is."""
        if self._device_due_s is None:
            return float("inf")
        if now_s < self._device_due_s:
            return self._device_due_s - now_s
        self._device_due_s = None
        self._tell_device(self._info())
        return float("inf")

    def is_refusal_harmless(self, topic: str, reason: str) -> bool:
        """Return whether nobody need act on the broker's refusal: it may have no Home Assistant."""
        if topic not in (self._config_topic, self._birth_topic):
            return False
        log.info("home_assistant.refused", topic=topic, reason=reason)
        return True

    def _tell_device(self, info: Mapping[str, Any]) -> None:
        if not self._is_device:
            return
        commands = info.get("commands") or ()
        document = discovery(self._device_id, self._topics, commands=commands, about=info)
        payload = payloads.encode(document)
        if (excess := self._outgoing.excess(self._config_topic, payload)) > 0:
            log.info("home_assistant.refused", reason=f"too large by {excess} bytes")
        else:
            self._outgoing.publish(self._config_topic, payload, is_retained=True)
