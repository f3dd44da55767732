"""What stands, told to the log again: who looks at it a week later must not look for its first line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

log = structlog.get_logger()

_AGAIN_S = 3600.0
_WAITING = frozenset({"link", "backoff", "auth", "quota", "server_full", "clock", "disk"})
"""Reasons that somebody should know of while they last; a schedule is no trouble."""


class StandingLog:
    """Called now and then with the ``state`` document. For one thread."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def look(self, document: Mapping[str, Any], now_s: float) -> None:
        """Tell the log each hour of what lasts that long; what is new tells of itself."""
        stands = document["problems"] or document["blocked_by"] in _WAITING
        if not stands:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s >= _AGAIN_S:
            self._since_s = now_s
            log.warning(
                "agent.troubled",
                problems=document["problems"],
                reason=document["blocked_by"],
                detail=document["blocked_detail"],
                left_out={
                    cause: one["count"] for cause, one in (document["left_out"] or {}).items()
                },
                files_waiting=document["queue"]["files"],
            )
