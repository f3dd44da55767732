"""What only helps, and so may fail at any call: the rule for all of it.

Hints, the kernel's news and figures, leases, systemd, the broker, what is remembered of names: each makes
something quicker or shows it, and recordings arrive without (law L6). Whoever calls such a thing puts
`only_helps` around it and goes on as if it had said nothing.
"""

from __future__ import annotations

import threading

import structlog

log = structlog.get_logger()

_lock = threading.Lock()
_failing: set[str] = set()
"""What failed when it was last called: said once, and not at each call."""


class only_helps:  # noqa: N801 - a verb, as contextlib's own
    """Let a ``with`` block fail, whatever it raises, and end nothing but itself.

    Args:
        what: fails, for people; the same word at each of its calls.
        instead: what happens without it.
    """

    def __init__(self, what: str, *, instead: str) -> None:
        self._what = what
        self._instead = instead

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _exc_type: type[BaseException] | None, error: BaseException | None, _traceback: object
    ) -> bool:
        what = self._what
        if error is None:
            if what in _failing and _note(what, is_failing=False):
                log.info("helper.restored", helper=what)
            return False
        if not isinstance(error, Exception):
            return False  # the program is to end
        if _note(what, is_failing=True):
            said = f"{type(error).__name__}: {error}"
            log.warning("helper.failed", helper=what, error=said, action=self._instead)
        return True


def _note(what: str, *, is_failing: bool) -> bool:
    """Return whether that is news."""
    with _lock:
        if (what in _failing) == is_failing:
            return False
        _failing.symmetric_difference_update({what})
        return True
