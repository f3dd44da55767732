"""The broker that is told."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.base.errors import ConfigError
from edge_agent.base.settings import AgentSettings
from edge_agent.operate.checks.finding import Finding
from edge_agent.report.broker.check import check_broker
from edge_agent.report.broker.login import BrokerError

_BROKER_S = 10.0


def check_reporting(settings: AgentSettings) -> Iterator[Finding]:
    """Log in, and try what the agent publishes."""
    if settings.mqtt.url is None:
        yield Finding("OK", "broker", "none is set: nobody is told over MQTT")
        return
    try:
        text = check_broker(settings.mqtt, settings.device_id, _BROKER_S)
    except (BrokerError, ConfigError) as error:
        yield Finding("FAIL", "broker", str(error))
    else:
        yield Finding("OK", "broker", text)
