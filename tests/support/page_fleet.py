"""A fleet that was never built: the documents that the server would tell of it."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.page_notices import notices

Json = dict[str, Any]

NOW = datetime(2026, 11, 29, 14, 3, 11, tzinfo=UTC)
GB = 1_000_000_000
NAMES_THAT_BITE = (
    "طائرة-٠٧",  # noqa: RUF001 # digits as they are written there
    "<img src=x onerror=alert(1)>",
    "a\u202egpj.exe",
    "device/with?a#hash&more",
    "ü" * 63,
)
_CAMERAS = ("DJI_%04d.MP4", "REC_20261129_%06d.mp4", "رحلة_%04d.mp4")
_MODELS = ("Raspberry Pi 4", "Raspberry Pi 5", "Jetson Orin Nano")


def at(seconds_ago: float, now: datetime = NOW) -> str:
    return (now - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")


def row(device: str, **more: Any) -> Json:
    """Return one device that has nothing to do, but for *more*."""
    return {
        "device": device,
        "presence": "online",
        "via": ["server"],
        "last_seen": at(9),
        "next_by": at(-110),
        "state": "idle",
        "blocked_by": None,
        "blocked_detail": None,
        "pending_files": 0,
        "pending_bytes": 0,
        "oldest_age_s": None,
        "failed": 0,
        "rate_bytes_per_s": None,
        "eta_s": None,
        "current": None,
        "last_completed_at": at(3600),
        "link": {"iface": "wlan0", "metered": False, "rtt_ms": 24.0},
        "disk": {"free": 91 * GB, "total": 128 * GB},
        "problems": [],
        "version": "0.2.0",
        "availability_7d": 0.998,
        "notices": [],
        "trouble": 0,
        **more,
    }


def uploading(device: str, n: int = 1, **more: Any) -> Json:
    length = 4_123_456_789
    acknowledged = length * (n * 37 % 100) // 100
    return row(
        device,
        state="uploading",
        pending_files=2 + n % 9,
        pending_bytes=(3 + n % 40) * GB,
        oldest_age_s=600 + 97 * (n % 80),
        rate_bytes_per_s=310_000 + 41_000 * (n % 60),
        eta_s=90 + 41 * (n % 50),
        current={
            "file_id": f"c{n}",
            "name": _CAMERAS[n % 3] % n,
            "percent": round(100 * acknowledged / length, 1),
            "length": length,
            "acknowledged": acknowledged,
        },
        link={"iface": "wwan0", "metered": n % 2 == 0, "rtt_ms": 48.0 + n % 130},
        trouble=1,
        **more,
    )


def troubled() -> list[Json]:
    """Return those that a person has to look at, the worst first."""
    return [
        row(
            "drone-07",
            presence="offline",
            last_seen=at(3 * 86400),
            state="uploading",
            pending_files=14,
            pending_bytes=48 * GB,
            oldest_age_s=4000,
            availability_7d=0.41,
            link={"iface": "wwan0", "metered": True, "rtt_ms": 310.0},
            trouble=98,
        ),
        row(
            "pi-gate-2",
            notices=["failing", "silent"],
            state="blocked",
            blocked_by="auth",
            blocked_detail="the server refuses the token: it was revoked on 28 Nov",
            problems=["auth_failed"],
            pending_files=31,
            pending_bytes=22 * GB,
            oldest_age_s=52_000,
            failed=2,
            availability_7d=0.97,
            trouble=95,
        ),
        row(
            NAMES_THAT_BITE[0],
            presence="late",
            last_seen=at(900),
            state="waiting_network",
            blocked_by="link",
            blocked_detail="no route to ingest.example",
            problems=["server_unreachable", "disk_low"],
            pending_files=5,
            pending_bytes=9 * GB,
            oldest_age_s=7400,
            disk={"free": 2 * GB, "total": 64 * GB},
            availability_7d=0.83,
            trouble=80,
        ),
        row(
            "pi-roof",
            state="waiting_window",
            blocked_by="metered",
            blocked_detail="metered: only recordings of priority 5 and more are sent over wwan0",
            pending_files=3,
            pending_bytes=6 * GB,
            oldest_age_s=16_000,
            link={"iface": "wwan0", "metered": True, "rtt_ms": 96.0},
            trouble=20,
        ),
        row(
            "pi-mast",
            state="paused",
            pending_files=1,
            pending_bytes=GB,
            oldest_age_s=1200,
            trouble=15,
        ),
    ]


def rows(count: int) -> list[Json]:
    """Return a fleet of *count* devices, with names that bite among them."""
    found = troubled()
    found += [uploading(name, n) for n, name in enumerate(NAMES_THAT_BITE[1:], 3)]
    found.append(row("old-cam", presence="never", via=[], state=None, link=None, disk=None))
    for n in range(len(found), count):
        name = f"drone-{n:03d}" if n % 3 else f"pi-{n:03d}"
        if n % 5 == 0:
            found.append(uploading(name, n))
        elif n % 11 == 0:
            found.append(row(name, presence="offline", last_seen=at(86_400 + n)))
        else:
            found.append(row(name, last_seen=at(n % 90), availability_7d=1 - (n % 40) / 1000))
    return found[:count]


def stuck(found: list[Json]) -> list[Json]:
    says = {
        "drone-07": (
            "silent for 3 days with 14 recordings (48 GB)",
            "Switch it on within reach of its network; its recordings are safe on its card.",
        ),
        "pi-gate-2": (
            "the server refuses its token",
            "Give it a new one: ingest-server token add pi-gate-2",
        ),
        NAMES_THAT_BITE[0]: (
            "no way to the server for 2 h, and its card has 2 GB left",
            "Look at its network; it deletes nothing that was not verified.",
        ),
    }
    known = {one["device"] for one in found}
    ages = (3 * 86400, 52_000, 7400)
    return [
        {"device": name, "why": why, "since": at(age), "do": todo}
        for (name, (why, todo)), age in zip(says.items(), ages, strict=True)
        if name in known
    ] + [{"device": one["device"], **one["stuck"]} for one in found if "stuck" in one]


def tiles(found: list[Json]) -> Json:
    ages = [
        one["oldest_age_s"] + (NOW - datetime.fromisoformat(one["last_seen"])).total_seconds()
        for one in found
        if one["oldest_age_s"] is not None
    ]
    return {
        "devices": len(found),
        **{
            word: sum(one["presence"] == word for one in found)
            for word in ("online", "late", "offline")
        },
        "pending_files": sum(one["pending_files"] for one in found),
        "pending_bytes": sum(one["pending_bytes"] for one in found),
        "failed": sum(one["failed"] for one in found),
        "oldest_age_s": max(ages, default=None),
        "free_bytes": 812 * GB,
    }


def device(one: Json) -> Json:
    """Return what there is to know about the device of a row."""
    can = ["pause", "resume", "set_bandwidth", "retry", "retry_failed", "rescan", "upload_now"]
    is_silent = one["presence"] == "never"
    state = {
        "v": 1,
        "clock": "synced",
        "paused": one["state"] == "paused",
        "limit_bytes_per_s": 0,
        "current": one["current"],
        "totals": {
            "bytes_sent": 812 * GB,
            "bytes_resent": GB,
            "files_done": 431,
            "files_failed": 2,
        },
        "link": {"lanes": 4, "retransmit_percent": 2.1, **(one["link"] or {})},
    }
    return {
        "row": one,
        "info": None
        if is_silent
        else {
            "version": "0.2.0",
            "host": {"model": _MODELS[1], "os": "Debian 12", "arch": "aarch64"},
            "commands": can,
        },
        "state": None if is_silent else state,
        "files": {"pending": _pending(one), "failed": _failed(one)},
        "commands": [] if is_silent else _commands(),
        "desired": {"v": 1, "version": 7, "settings": {"limit_bytes_per_s": 250_000}},
        "reported": {
            "v": 1,
            "version": 6,
            "status": "applied",
            "settings": {"paused": False, "limit_bytes_per_s": None, "telemetry_interval_s": 30},
            "errors": {},
        },
        "events": _events(),
        "stuck": None,
        "notices": notices(one, at(7200)),
        "notify": {"silent_hours": 24, "pending_hours": 0, "tell_failed": True},
        "settings": [] if is_silent else ["paused", "limit_bytes_per_s", "telemetry_interval_s"],
        "can": [] if is_silent else [*can, "fetch", "report"],
    }


def _pending(one: Json) -> list[Json]:
    if not one["pending_files"]:
        return []
    reasons = [
        ("queued", None),
        ("metered", "metered: waits for wlan0"),
        ("still_recording", "being written, or was a moment ago"),
    ]
    current = one["current"]
    first = [] if current is None else [{**current, "state": "sending", "reason": None}]
    rest = [
        {
            "file_id": f"p{n}",
            "name": f"DJI_{100 + n:04d}.MP4",
            "mtime_s": (NOW - timedelta(hours=n + 1)).timestamp(),
            "length": (n + 1) * 733_456_789,
            "acknowledged": 0,
            "state": "queued",
            "reason": reasons[n % 3][0],
            "detail": reasons[n % 3][1],
        }
        for n in range(min(one["pending_files"], 4) - len(first))
    ]
    return [
        {"folder": "DCIM/100MEDIA", "problem": None, "detail": None, "seen_at": at(900), **file}
        for file in first + rest
    ]


def _failed(one: Json) -> list[Json]:
    problems = [("too-large", "12 GB, and the server takes 8 GB"), ("checksum", None)]
    return [
        {
            "file_id": f"f{n}",
            "name": f"DJI_{900 + n:04d}.MP4",
            "folder": "DCIM/100MEDIA",
            "length": (n + 1) * 6 * GB,
            "acknowledged": 0,
            "state": "failed",
            "reason": None,
            "detail": problems[n % 2][1],
            "problem": problems[n % 2][0],
            "seen_at": at(86_400),
        }
        for n in range(one["failed"])
    ]


def _commands() -> list[Json]:
    def command(cmd: str, seconds_ago: float, **more: Any) -> Json:
        return {
            "id": f"k-{cmd}",
            "cmd": cmd,
            "args": {},
            "status": "done",
            "code": "ok",
            "message": "",
            "created_at": at(seconds_ago),
            "expires_at": at(seconds_ago - 3600),
            "by": "alice",
            "seen_by": at(seconds_ago - 120),
            **more,
        }

    return [
        command("rescan", 4, status=None, code=None),
        command("pause", 640, message="paused for 15 min"),
        command("upload_now", 5000, status="rejected", code="unknown_file", message="no such file"),
    ]


def _events() -> list[Json]:
    says = [
        ("file.completed", {"name": "DJI_0041.MP4", "length": 3_911_222_333}),
        ("file.started", {"name": "DJI_0041.MP4", "length": 3_911_222_333}),
        ("disk.low", {"detail": "3 GB free"}),
        ("file.failed", {"name": "DJI_0900.MP4", "detail": "12 GB, and the server takes 8 GB"}),
        ("agent.started", {}),
    ]
    return [
        {
            "number": 90 - n,
            "device": "drone",
            "at": at(400 * (n + 1)),
            "type": f"edgeup.{kind}",
            "event": {"time": at(400 * (n + 1)), "clock": "synced", "data": data},
        }
        for n, (kind, data) in enumerate(says)
    ]


def history(minutes: int = 1440) -> Json:
    """Return a day: silent at night, two flights, a gap that nobody knows of."""

    def rate_at(minute: int) -> int | None:
        if 300 <= minute < 380:
            return None
        is_flying = 620 <= minute < 790 or 1050 <= minute < 1330
        wave = int(hashlib.md5(str(minute // 3).encode()).hexdigest()[:4], 16) / 65536
        return int(1_900_000 * (0.55 + 0.45 * wave)) if is_flying else 0

    rates = [rate_at(minute) for minute in range(minutes)]
    return {
        "step_s": 60,
        "from": at(60 * minutes),
        "rate": rates,
        "pending": [None if one is None else 9 * GB for one in rates],
        "presence": ["offline" if one is None else "online" for one in rates],
    }


def recordings(count: int) -> list[Json]:
    kinds = ["DJI_%04d.MP4", "رحلة_%04d.mp4", "REC_%04d.webm", "log_%04d.bin"]
    return [
        {
            "upload_id": hashlib.md5(str(n).encode()).hexdigest(),
            "device": ("drone-07", "pi-gate-2", NAMES_THAT_BITE[0])[n % 3],
            "name": kinds[n % 4] % (n + 1),
            "length": 41_234_567 * (n % 17 + 1),
            "digest": _digest(n),
            "published_as": f"drone-07/2026-11-29/{n}",
            "verified_at": at(400 * n + 60),
            "verified_against": "none" if n % 4 == 3 else "client",
            "can_play": n % 4 != 3,
            "facts": _facts(n),
        }
        for n in range(count)
    ]


def partial(device: str) -> list[Json]:
    """Return what has arrived of recordings of *device* that are not complete."""
    named = (("DJI_0131.MP4", 812_345_678), ("gate_0007.ts", None), ("empty.mp4", 1000))
    return [
        {
            "upload_id": hashlib.md5(name.encode()).hexdigest(),
            "device": device,
            "name": name,
            "folder": ".",
            "length": length,
            "arrived": 0 if name.startswith("empty") else 123_456_789,
            "created_at": at(90),
            "can_play": name.endswith("MP4"),
        }
        for name, length in named
    ]


def groups() -> list[Json]:
    """Return a complete group, one whose original is held back, and one that misses a chapter."""
    kinds = [
        ("DJI_0042", ["DJI_0042.LRF", "DJI_0042.MP4", "DJI_0042.SRT"], 3, []),
        ("GX010007", ["GL010007.LRV", "GX010007.MP4", "GX010007.THM"], 2, []),
        (NAMES_THAT_BITE[0], ["GX010008.MP4", NAMES_THAT_BITE[0]], 2, ["GX020008.MP4"]),
    ]
    return [
        {
            "group": f"{number:032x}",
            "device": "drone-07",
            "title": title,
            "folder": "DCIM",
            "family": "stem",
            "state": "complete" if done == len(names) + len(missing) else "open",
            "is_whole": True,
            "expected": len(names) + len(missing),
            "done": done,
            "length": 4_123_456_789,
            "revision": 1,
            "told_at": at(400 * number + 60),
            "completed_at": None,
            "manifest": None,
            "missing": missing,
            "members": [_member(name, place < done) for place, name in enumerate(names)],
        }
        for number, (title, names, done, missing) in enumerate(kinds)
    ]


def _member(name: str, is_here: bool) -> Json:
    roles = {"LRF": "proxy", "LRV": "proxy", "SRT": "sidecar", "THM": "thumbnail"}
    return {
        "name": name,
        "folder": "DCIM",
        "role": roles.get(name[-3:], "original"),
        "part": None,
        "length": 81_234_567,
        "modified_at": at(60),
        "upload_id": hashlib.md5(name.encode()).hexdigest() if is_here else None,
        "verified_at": at(30) if is_here else None,
        "published_as": f"drone-07/{name}" if is_here else None,
        "can_play": is_here and name.endswith("MP4"),
    }


def _facts(n: int) -> dict[str, str]:
    """Return what a recording says of itself: much, nothing, that it was cut short, or what bites."""
    much = {
        "duration_s": "754.200",
        "codecs": "h264,aac",
        "dimensions": "3840x2160",
        "captured_at": "2026-11-29T08:00:00Z",
        "location": "+48.1374+011.5755",
    }
    hostile = {"duration_s": "1e999", "codecs": NAMES_THAT_BITE[0], "captured_at": "<b>never</b>"}
    return (much, {}, {"unfinalised": "true"}, hostile)[n % 4]


def _digest(n: int) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(str(n).encode()).digest()).decode()}:"
