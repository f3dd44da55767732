"""The fleet as one device of Home Assistant, by its MQTT discovery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SENSORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "summary": ("Devices", {}),
    "offline": ("Offline", {"state_class": "measurement"}),
    "failed": ("Failed recordings", {"state_class": "measurement"}),
    "pending_files": ("Waiting recordings", {"state_class": "measurement"}),
    "pending_bytes": (
        "Waiting bytes",
        {"state_class": "measurement", "device_class": "data_size", "unit_of_measurement": "B"},
    ),
    "stuck": ("Stuck devices", {"state_class": "measurement"}),
}


def discovery(state: str, status: str) -> dict[str, Any]:
    """Return what a Home Assistant makes the fleet's device of.

    Args:
        state: topic of the summary.
        status: topic that says whether this server is at the broker.
    """
    parts = {
        key: {
            "p": "sensor",
            "unique_id": f"edgeup_fleet-{key}",
            "default_entity_id": f"sensor.edgeup_fleet_{key}",
            "name": name,
            "value_template": "{{ value_json." + key + " }}",
            **more,
        }
        for key, (name, more) in _SENSORS.items()
    }
    return {
        "dev": {"ids": ["edgeup_fleet"], "name": "Edge fleet", "mf": "edge-uploader"},
        "o": {"name": "ingest-server"},
        "state_topic": state,
        "availability": [
            {
                "topic": status,
                "value_template": "{{ value_json.status }}",
                "payload_available": "online",
                "payload_not_available": "offline",
            }
        ],
        "cmps": parts,
    }
