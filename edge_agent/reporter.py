"""Telling the broker: presence, state and events over MQTT.

One worker, `Reporter`: ``step`` drains what the network thread said, keeps a session alive, and
publishes what is due. Events come from the store's outbox and leave it only when the broker has
acknowledged them with success. Nothing in the lane waits for any of this (law L6).

What to publish and when is in `core.telemetry`; paho is in `broker`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.activity import Activity
from edge_agent.broker import BrokerError, MqttOptions, check_broker
from edge_agent.clock import Clock
from edge_agent.store import Store

__all__ = ["BrokerError", "Reporter", "check_broker"]


class Reporter:
    """Keeps a broker informed; a worker whose ``step`` never waits for the network."""

    def __init__(
        self,
        settings: MqttOptions,
        device_id: str,
        store: Store,
        snapshot: Callable[[], Mapping[str, Any]],
        activity: Activity,
        clock: Clock,
        boot_id: str,
        *,
        jitter: Callable[[], float],
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare; nothing touches the network before the first `step` after `start`.

        Args:
            settings: with ``url`` None every method does nothing.
            snapshot: makes the ``state`` document; called from `step` only.
            jitter: a draw from ``[0, 1)``; the caller owns the randomness.
            info: what the ``info`` message says beside the device and the boot: no secret, no path.
        """
        self.wake_runner: Callable[[], None] = _nobody
        """Called, from any thread, when `step` has something to do: the runner sets it."""

    def start(self) -> None:
        """Allow the reporter to connect."""

    def step(self, now_s: float) -> float:
        """Do what is due and return the seconds until the next call is needed."""
        raise NotImplementedError

    def wake(self) -> None:
        """Say that the state changed or an event was written; from any thread, returns at once."""
        self.wake_runner()

    def stop(self, timeout_s: float) -> None:
        """Say ``offline`` with reason ``shutdown`` and disconnect, within *timeout_s*.

        Called when `step` is not called any more.
        """


def _nobody() -> None:
    return None
