"""The agent as a device of Home Assistant: what its MQTT discovery is told; pure.

One retained message describes the device and all its entities (device discovery, Home Assistant 2024.11
and newer). Entities that give orders are there only where the configuration allows the command. Names of
keys are Home Assistant's abbreviations, the ids are fixed: Home Assistant keeps what people made of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from edge_agent.report.payloads import Topics
from edge_agent.report.state_document import STATES

EVENTS: Final = (
    "file.discovered",
    "file.started",
    "file.completed",
    "file.failed",
    "file.overwritten",
    "file.changed_during_upload",
    "file.deleted_locally",
    "group.completed",
    "checksum.failed",
    "disk.low",
    "disk.ok",
    "auth.failed",
    "auth.ok",
    "config.applied",
    "config.rejected",
    "agent.started",
    "agent.stopped",
    "agent.state_lost",
    "agent.checked",
    "spool.dropped",
)
"""All that the agent tells: Home Assistant takes a type that was not announced for an error."""

_COMMAND_LASTS_S: Final = 120
_LONGEST_NAME: Final = 24
"""Of the device in the ids of its entities: the description has to fit into one message."""


def config_topic(discovery_prefix: str, device_id: str) -> str:
    """Return where the description of the device is kept."""
    return f"{discovery_prefix}/device/edgeup-{device_id}/config"


def discovery(
    device_id: str, topics: Topics, *, commands: Collection[str], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the description of the device.

    Args:
        device_id: its name.
        topics: where it says what, and takes commands.
        commands: those that the agent carries out.
        about: the ``info`` document, for model and version.
    """
    version = str(about.get("version") or "unknown")
    host = about.get("host") or {}
    return {
        "dev": {
            "ids": [f"edgeup_{device_id}"],
            "name": device_id,
            "mf": "edge-uploader",
            "mdl": str(host.get("model") or "edge-agent"),
            "sw": version,
        },
        "o": {"name": "edge-agent", "sw": version},
        "stat_t": topics.state,
        "cmd_t": topics.command,
        "avty": [{"t": topics.status, "val_tpl": "{{ value_json.status }}"}],
        "qos": 1,
        "cmps": _entities(device_id, topics, commands),
    }


def _entities(device_id: str, topics: Topics, commands: Collection[str]) -> dict[str, Any]:
    entities = {**_sensors(), "problem": _problem(topics), "events": _events(topics)}
    for key, (needed, entity) in _controls().items():
        if needed <= set(commands):
            entities[key] = entity
    word = re.sub(r"[^a-z0-9]+", "_", device_id.lower())[:_LONGEST_NAME].strip("_") or "device"
    for key, entity in entities.items():
        entity["uniq_id"] = f"edgeup_{device_id}_{key}"
        # Since 2026.4 this, with the domain, stands for `object_id`, which is ignored.
        entity["default_entity_id"] = f"{entity['p']}.{word}_{key}"
    return entities


def _sensors() -> dict[str, dict[str, Any]]:
    measured, counted = {"stat_cla": "measurement"}, {"stat_cla": "total_increasing"}
    size = {"dev_cla": "data_size", "unit_of_meas": "B"}
    time = {"dev_cla": "duration", "unit_of_meas": "s", **measured}
    aside = {"ent_cat": "diagnostic"}
    return {
        "state": _sensor("State", "state", dev_cla="enum", ops=list(STATES)),
        "waits_for": _sensor("Waits for", "blocked_by", default="nothing", **aside),
        "pending": _sensor("Files pending", "queue.files", **measured),
        "pending_size": _sensor("Data pending", "queue.bytes", **size, **measured),
        "oldest": _sensor("Oldest pending", "queue.oldest_age_s", **time, **aside),
        "rate": _sensor(
            "Upload rate", "rate_bytes_per_s", dev_cla="data_rate", unit_of_meas="B/s", **measured
        ),
        "time_left": _sensor("Time left of the file", "eta_s", **time),
        "progress": _sensor(
            "Progress of the file", "current.percent", unit_of_meas="%", **measured
        ),
        "sent": _sensor("Data sent", "totals.bytes_sent", **size, **counted),
        "completed": _sensor("Files completed", "totals.files_done", **counted),
        "failed": _sensor("Files failed", "queue.failed", **measured, **aside),
        "disk_free": _sensor("Media disk free", "disk.free", **size, **measured, **aside),
        "last_completed": _sensor("Last completed", "last_completed_at", dev_cla="timestamp"),
    }


def _sensor(name: str, path: str, *, default: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a sensor of what stands at *path* in the ``state``; null there is unknown here."""
    owner, _, key = path.rpartition(".")
    value = f"value_json.{path}"
    if default is not None:
        value = f"{value} or '{default}'"
    elif owner == "current":
        value = f"(value_json.current or {{}}).get('{key}')"
    return {"p": "sensor", "name": name, "val_tpl": f"{{{{ {value} }}}}", **more}


def _problem(topics: Topics) -> dict[str, Any]:
    return {
        "p": "binary_sensor",
        "name": "Problem",
        "dev_cla": "problem",
        "ent_cat": "diagnostic",
        "val_tpl": "{{ 'ON' if value_json.problems else 'OFF' }}",
        "json_attr_t": topics.state,
        "json_attr_tpl": "{{ {'problems': value_json.problems,"
        " 'detail': value_json.blocked_detail} | tojson }}",
    }


def _events(topics: Topics) -> dict[str, Any]:
    return {
        "p": "event",
        "name": "Events",
        "stat_t": topics.event,
        "evt_typ": list(EVENTS),
        "val_tpl": "{{ {'event_type': value_json.type | replace('edgeup.', ''),"
        " 'file': (value_json.data or {}).get('name'), 'event_id': value_json.id} | tojson }}",
    }


def _controls() -> dict[str, tuple[set[str], dict[str, Any]]]:
    """Return the entities that give orders, with the commands that they need."""
    limit = ',"args":{"limit_bytes_per_s":{{ (value | float * 1000) | int }}}'
    return {
        "uploading": (
            {"pause", "resume"},
            {
                "p": "switch",
                "name": "Uploading",
                "cmd_tpl": _command("{{ 'resume' if value == 'ON' else 'pause' }}"),
                "val_tpl": "{{ 'OFF' if value_json.paused else 'ON' }}",
            },
        ),
        "limit": (
            {"set_bandwidth"},
            {
                "p": "number",
                "name": "Bandwidth limit",
                "dev_cla": "data_rate",
                "unit_of_meas": "kB/s",
                "min": 0,
                "max": 1_000_000,
                "step": 1,
                "mode": "box",
                "ent_cat": "config",
                "cmd_tpl": _command("set_bandwidth", limit),
                "val_tpl": "{{ (value_json.limit_bytes_per_s or 0) / 1000 }}",
            },
        ),
        "retry_failed": ({"retry_failed"}, _button("Retry failed files", "retry_failed")),
        "rescan": ({"rescan"}, _button("Look for recordings", "rescan", ent_cat="config")),
        "report": ({"report"}, _button("Report now", "report", ent_cat="diagnostic")),
    }


def _button(name: str, command: str, **more: Any) -> dict[str, Any]:
    return {"p": "button", "name": name, "cmd_tpl": _command(command), **more}


def _command(name: str, args: str = ',"args":{}') -> str:
    """Return a template that makes a command with an id and an expiry, as every other has them."""
    when = "now().timestamp()"
    expires_at = f"{{{{ ({when} + {_COMMAND_LASTS_S}) | int }}}}"
    return f'{{"v":1,"id":"ha-{{{{ {when} }}}}","cmd":"{name}"{args},"expires_at":{expires_at}}}'
