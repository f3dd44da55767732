"""What the journal understands of a line: its priority, as ``<3>`` in front (sd-daemon(3)).

So ``journalctl -p err`` shows errors and nothing else. Elsewhere a line has no such thing in front.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import TextIO

PRIORITY: Mapping[str, int] = MappingProxyType(
    {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
)
"""Level of a line -> priority of syslog(3)."""


def is_behind(stream: TextIO | None) -> bool:
    """Return whether what is written to *stream* goes to the journal, as systemd has connected it."""
    named = os.environ.get("JOURNAL_STREAM")
    if named is None or stream is None:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def marked(text: str, level: str) -> str:
    """Return *text* with the priority of *level* in front of each of its lines."""
    priority = PRIORITY.get(level, PRIORITY["info"])
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


def mark_tracebacks() -> None:
    """Have a traceback be grave in the journal, until `edge_host.logs` makes a line of it."""
    if is_behind(sys.stderr):
        sys.excepthook = _print_marked


def _print_marked(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    import traceback  # here, for nobody needs it else

    text = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
    print(marked(text, "critical"), file=sys.stderr)
