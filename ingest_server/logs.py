"""Log lines: JSON to stderr for journald, readable on a terminal. No secret, no line forged.

Nothing here uses `rich`, which structlog would where it happens to be installed: what an operator
reads must not depend on that.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from edge_host import logs

Event = MutableMapping[str, Any]

_TOKEN = re.compile(r"(ed[tc]_[a-z0-9][a-z0-9_-]{0,62}_)[A-Za-z0-9_-]{43}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(*, level: str, form: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process (`edge_host.logs`); may be called again, to change the level."""
    out = stream or sys.stderr
    logs.configure(
        level,
        form,
        stream=out,
        json=[structlog.processors.format_exc_info, _redact, _json_line],
        console=[
            _redact,
            _escape,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )
    logs.take_over_libraries(_say, level=logging.WARNING)


def _json_line(_logger: object, _method: str, event: Event) -> str:
    return logs.json_line(event)


def _redact(_logger: object, _method: str, event: Event) -> Event:
    """Cut tokens out, wherever they got in: the last line of defence, not the only one."""
    for key, value in event.items():
        if isinstance(value, str) and ("edt_" in value or "edc_" in value):
            event[key] = _TOKEN.sub(r"\1[redacted]", value)
    return event


def _escape(_logger: object, _method: str, event: Event) -> Event:
    """Show control characters as escapes: a name must not move the cursor or forge a line."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return event


def _say(record: logging.LogRecord) -> None:
    structlog.get_logger(record.name).log(
        record.levelno, "library.noted", source=record.name, error=record.getMessage()
    )
