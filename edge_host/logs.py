"""Logging: structlog to one stream, JSON lines for the journal or readable on a terminal.

What a line looks like is each program's own (its two lists of processors); that every logger and every
library goes there, and follows a new level at once, is here.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO, cast

import structlog

Processors = Sequence[structlog.typing.Processor]


def configure(
    level: str, form: str, *, stream: TextIO | None, json: Processors, console: Processors
) -> None:
    """Send every log line of this process to *stream*; may be called again.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``json``, ``console``, or ``auto``: console on a terminal.
        stream: stderr if None.
        json: what ends each line's way in that form.
        console: likewise.
    """
    out = sys.stderr if stream is None else stream
    is_console = form == "console" or (form == "auto" and out.isatty())
    set_level(level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(console if is_console else json),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Lenient(out))),
        # A cached logger would keep the level that it was made with through a reload.
        cache_logger_on_first_use=False,
    )


class _Lenient:
    """A stream that may fail (a full disk, a reader that went away) without ending who logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def set_level(level: str) -> None:
    """Change the lowest level that is written, at once and for every logger."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(number))


def take_over_libraries(say: Callable[[logging.LogRecord], None], *, level: int) -> None:
    """Have what libraries log from *level* on said by *say*, in our form."""
    logging.basicConfig(handlers=[_Handover(say)], level=level, force=True)


class _Handover(logging.Handler):
    def __init__(self, say: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._say(record)
        except Exception:  # noqa: BLE001 a library's broken log call must not break the library
            self.handleError(record)


def catch_thread_errors() -> None:
    """Log what ends a thread, with its traceback, instead of printing it raw."""

    def logged(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None:
            structlog.get_logger().error(
                "thread.died",
                thread=failure.thread.name if failure.thread else None,
                exc_info=failure.exc_value,
            )

    threading.excepthook = logged
