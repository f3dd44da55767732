"""The ``state`` document of an agent that does nothing, for tests of what carries it."""

from typing import Any

IDLE: dict[str, Any] = {
    "v": 1,
    "ts": "2026-11-21T00:05:06Z",
    "seq": 1,
    "boot_id": "boot-1",
    "clock": "synced",
    "state": "idle",
    "blocked_by": None,
    "blocked_detail": None,
    "paused": False,
    "limit_bytes_per_s": 0,
    "rate_bytes_per_s": None,
    "eta_s": None,
    "queue": {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 0},
    "current": None,
    "totals": {
        "bytes_sent": 0,
        "bytes_resent": 0,
        "files_done": 0,
        "files_failed": 0,
        "files_overwritten": 0,
    },
    "link": {
        "iface": None,
        "metered": None,
        "rtt_ms": None,
        "lanes": 0,
        "in_flight": None,
        "retransmit_percent": None,
        "max_request": None,
        "method": "PUT",
        "max_segment": None,
        "other": None,
    },
    "disk": {"free": None, "total": None},
    "problems": [],
    "folders": [],
    "left_out": None,
    "last_completed_at": None,
}
