"""What people were told of the devices of a page's fleet, and whom it has come to."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def notices(one: Json, since: str) -> list[Json]:
    """Return what people were told of the device of a row, and to whom it has come."""
    ways = [
        {"to": to, "state": state, "tries": tries, "error": error}
        for to, state, tries, error in (
            ("hooks.example.org", "told", 1, None),
            ("hooks.example.org", "waiting", 0, None),
            ("pager.example.org", "failing", 3, "it answered 500"),
            ("the broker mqtt.example.org", "given_up", 8, "no answer"),
        )
    ]
    detail = {
        "silent": "it has not reported for 3 days",
        "failing": "3 recordings failed",
        "behind": "the oldest of 2 recordings has waited for 3 days",
    }
    return [
        {
            "kind": kind,
            "since": since,
            "detail": detail[kind],
            "to": ways if kind == "failing" else [],
            "handed_on": kind != "behind",
        }
        for kind in one["notices"]
    ]


def all_notices(found: list[Json]) -> Json:
    """Return what the list of devices says of that."""
    told = [one for one in found if one["notices"]]
    missed = {"to": "pager.example.org", "state": "failing", "error": "it answered 500"}
    count = sum("failing" in one["notices"] for one in told)
    dead = {"to": "the broker mqtt.example.org", "error": "no answer"}
    return {
        "devices": len(told),
        "undelivered": [{**missed, "count": count}] if count else [],
        "nobody": sum("silent" in one["notices"] for one in told),
        "waiting": sum("behind" in one["notices"] for one in told),
        "unknown": 0,
        "given_up": [{**dead, "count": count}] if count else [],
    }
