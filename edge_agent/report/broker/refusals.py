"""What the broker does not take, as problems that a person sees."""

from __future__ import annotations

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import ProblemCode

log = structlog.get_logger(__name__)


class Refusals:
    """Topics, and other things that are told, which the broker has refused."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._codes: dict[str, ProblemCode] = {}

    def __contains__(self, what: str) -> bool:
        return what in self._codes

    def add(self, what: str, code: ProblemCode, reason: str) -> None:
        """Note a refusal; the same one again is told once."""
        if self._codes.get(what) is not code:
            log.error("message.refused", what=what, reason=reason)
        self._codes[what] = code
        self._show()

    def taken(self, what: str) -> None:
        """Say that the broker took it this time."""
        if self._codes.pop(what, None) is not None:
            self._show()

    def offered_again(self, what: str) -> None:
        """Say that the broker is asked once more; its problem stays in sight until the answer."""
        self._codes.pop(what, None)

    def _show(self) -> None:
        for code in (ProblemCode.MQTT_ACL, ProblemCode.MQTT_REFUSED):
            self._activity.problem(code, code in self._codes.values())
