"""How somebody who is told of events is called where many read it."""

from __future__ import annotations

from urllib.parse import urlsplit


def target_name(target: str) -> str:
    """Return the host, and the port if there is one, of a target's URL: its path, or its query, may be a secret."""
    split = urlsplit(target)
    host = split.hostname or target.partition(":")[0]
    where = host if split.port is None else f"{host}:{split.port}"
    return f"the broker {where}" if split.scheme in {"mqtt", "mqtts"} else where
