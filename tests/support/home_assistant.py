"""What Home Assistant's discovery takes, read out of one, and whether a description keeps to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FIELDS = json.loads(Path(__file__).with_name("home_assistant_fields.json").read_text("utf-8"))


def spelt_out(entity: dict[str, Any]) -> dict[str, Any]:
    """Return *entity* with the long names of its keys."""
    return {FIELDS["abbreviations"].get(key, key): value for key, value in entity.items()}


def faults(description: dict[str, Any]) -> list[str]:
    """Return what Home Assistant would not take of the device and its entities."""
    document = spelt_out(description)
    known = {
        "document": (set(document), set(FIELDS["root"])),
        "device": (set(document["device"]), set(FIELDS["device"]) | set(FIELDS["device"].values())),
        "origin": (set(document["origin"]), set(FIELDS["origin"]) | set(FIELDS["origin"].values())),
    }
    found = [f"{name}: {keys - these}" for name, (keys, these) in known.items() if keys - these]
    for key, one in document["components"].items():
        found += [f"{key}: {fault}" for fault in _faults_of(spelt_out(one))]
    return found


def _faults_of(entity: dict[str, Any]) -> list[str]:
    domain = entity.pop("platform")
    platform = FIELDS["platforms"][domain]
    kind = entity.get("device_class")
    found = [f"no key {key}" for key in sorted(set(entity) - set(platform["keys"]))]
    shared = {"state_topic", "command_topic"}  # said once, for all entities
    found += [f"lacks {key}" for key in sorted(set(platform["required"]) - set(entity) - shared)]
    if not entity.get("default_entity_id", "").startswith(f"{domain}."):
        found.append("default_entity_id begins with its domain, since 2026.4")
    if "object_id" in entity:
        found.append("object_id is ignored since 2026.4")
    if entity.get("entity_category", "config") not in FIELDS["entity_categories"]:
        found.append("no such category")
    for name, allowed in (("unit_of_measurement", "units"), ("state_class", "state_classes")):
        if kind is not None and name in entity and entity[name] not in FIELDS[allowed][kind]:
            found.append(f"{kind} has no {name} {entity[name]}")
    return found
