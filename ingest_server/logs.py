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

Event = MutableMapping[str, Any]

_TOKEN = re.compile(r"(ed[tc]_[a-z0-9][a-z0-9_-]{0,62}_)[A-Za-z0-9_-]{43}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(*, level: str, form: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process; may be called again, to change the level.

    Args:
        level: debug, info, warning or error.
        form: json, console, or auto: console on a terminal.
    """
    stream = stream or sys.stderr
    number: int = logging.getLevelNamesMapping()[level.upper()]
    is_console = form == "console" or (form == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(_console(stream) if is_console else _json()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        # A cached logger would keep the level that it was made with through a reload.
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)


def _json() -> list[structlog.typing.Processor]:
    return [structlog.processors.format_exc_info, _redact, structlog.processors.JSONRenderer()]


def _console(stream: TextIO) -> list[structlog.typing.Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [_redact, _escape, renderer]


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


class _ToStructlog(logging.Handler):
    """Gives what libraries log the form of our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library.noted", source=record.name, error=record.getMessage())
