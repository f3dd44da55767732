"""Which commands there are, and what may be said with each; pure.

The device decides for itself whether it obeys (`docs/fleet.md`); here a person is told at once of what no
device would understand. Nothing names a path, a URL or code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ingest_server.fleet.values import encoded
from upload_protocol.fetch_query import FetchQuery

MOST_BYTES = 3 * 1024
"""Of the arguments as JSON: the whole command, with its id and times, has 4 KiB at most."""

_FILE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_MOST_BYTES_PER_S = 10**12
MOST_FETCHED = 1000

Check = Callable[[object], bool]


def _is_whole(least: int, most: int) -> Check:
    return lambda value: (
        isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    )


def _is_reason(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _is_file_id(value: object) -> bool:
    return isinstance(value, str) and _FILE_ID.match(value) is not None


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_query(value: object) -> bool:
    try:
        FetchQuery.parse(value)
    except (ValueError, OverflowError):
        return False
    return True


def _is_limit(value: object) -> bool:
    return value is None or _is_whole(0, _MOST_BYTES_PER_S)(value)


_SPAN = _is_whole(1, 30 * 86400)
_FILE = {"file_id": _is_file_id}

FORMS: Mapping[str, tuple[Mapping[str, Check], Mapping[str, Check]]] = MappingProxyType(
    {
        "pause": ({}, {"for_s": _SPAN, "reason": _is_reason}),
        "resume": ({}, {}),
        "set_bandwidth": ({"limit_bytes_per_s": _is_limit}, {"for_s": _SPAN}),
        "retry": (_FILE, {}),
        "retry_failed": ({}, {}),
        "rescan": ({}, {}),
        "upload_now": (_FILE, {"metered": _is_flag}),
        "fetch": ({"query": _is_query}, {"metered": _is_flag, "limit": _is_whole(1, MOST_FETCHED)}),
        "set_priority": ({**_FILE, "priority": _is_whole(0, 100)}, {}),
        "report": ({}, {}),
        "rotate_token": ({}, {}),
        "cancel": (_FILE, {}),
        "upload_log": ({"lines": _is_whole(1, 500)}, {}),
        "reload": ({}, {}),
    }
)
"""For each command the arguments that it needs, and those that it may have."""


_MUST_BE = {
    "query": ": it has name (a pattern such as DJI_*.MP4), from and to (2026-11-29T10:00:00Z, or a date), "
    "or some of them; of at most 255 characters each, and from is before to"
}


def complaint(cmd: str, args: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a command, as a sentence; None: nothing that is seen here.

    Raises:
        MessageError: the arguments are too many or too deep.
    """
    form = FORMS.get(cmd)
    if form is None:
        return f"there is no command {cmd[:40]!r}; there are {', '.join(FORMS)}"
    needed, possible = form
    if missing := [name for name in needed if name not in args]:
        return f"{cmd} needs {', '.join(missing)}"
    for name, value in args.items():
        check = needed.get(name) or possible.get(name)
        if check is None:
            return f"{cmd} has no argument {name[:40]!r}"
        if not check(value):
            return f"{name} of {cmd} cannot be {str(value)[:80]!r}{_MUST_BE.get(name, '')}"
    encoded(args, "args", MOST_BYTES)
    return None


SETTINGS: Mapping[str, Check] = MappingProxyType(
    {
        "paused": _is_flag,
        "limit_bytes_per_s": _is_limit,
        "telemetry_interval_s": _is_whole(5, 7200),
    }
)
"""What a device may be wanted to have, rather than told to do."""


def complaint_about_settings(settings: Mapping[str, Any]) -> str | None:
    """Return what is wrong with wanted settings, as a sentence; None: nothing that is seen here."""
    if not settings:
        return f"settings is empty; there are {', '.join(SETTINGS)}"
    for name, value in settings.items():
        if name not in SETTINGS:
            return f"there is no setting {name[:40]!r}; there are {', '.join(SETTINGS)}"
        if not SETTINGS[name](value):
            return f"{name} cannot be {str(value)[:80]!r}"
    return None
