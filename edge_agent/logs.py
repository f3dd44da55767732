"""Logging: structlog to stderr, one JSON object per line for the journal, readable on a terminal.

A name is data (law L7): whatever a value holds, it ends in one line and sends nothing to a terminal.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50, "exception": 40}
_QUIET = ("httpx", "httpcore", "watchdog", "paho", "asyncio")
"""Libraries whose INFO is a line per request."""


class _Threshold:
    """The lowest level that is written; changes while the agent runs (SIGHUP)."""

    def __init__(self) -> None:
        self.level = _LEVELS["info"]

    def __call__(
        self, _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if _LEVELS.get(method, 50) < self.level:
            raise structlog.DropEvent
        return event


_threshold = _Threshold()


def configure(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process to *stream*.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        style: ``json``, ``console``, or ``auto``: console on a terminal.
        stream: stderr if None.
    """
    out = sys.stderr if stream is None else stream
    is_console = style == "console" or (style == "auto" and out.isatty())
    set_level(level)
    structlog.configure(
        processors=[
            _threshold,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _console_line if is_console else _json_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging()
    # watchdog 7 warns once per folder made while it looks, tens of KiB each; the scan is the truth.
    warnings.filterwarnings("ignore", module="watchdog")


def set_level(level: str) -> None:
    """Change the lowest level that is written, at once and for every logger."""
    _threshold.level = _LEVELS[level]


def _json_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    # ASCII only: a lone surrogate or a control character stays an escape.
    return json.dumps(dict(event), default=str, separators=(",", ":"))


def _console_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    moment = str(event.pop("timestamp", ""))[11:19]
    level = str(event.pop("level", ""))
    name = str(event.pop("event", ""))
    trace = event.pop("exception", None)
    rest = " ".join(f"{key}={_printable(value)}" for key, value in event.items())
    line = f"{moment} {level:<7} {_printable(name)} {rest}".rstrip()
    if trace:
        line += "".join(f"    {_printable(part)}\n" for part in str(trace).splitlines())
    return line


def _printable(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if text.isprintable() else json.dumps(text)


class _Handover(logging.Handler):
    """What libraries say through `logging`, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        method = "error" if record.levelno >= logging.ERROR else "warning"
        if record.levelno < logging.WARNING:
            method = "debug"
        try:
            getattr(log, method)(
                "library.said", logger=record.name, message=record.getMessage()[:500]
            )
        except Exception:  # noqa: BLE001 a library's broken log call must not break the library
            self.handleError(record)


def _take_over_standard_logging() -> None:
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Handover)]:
        root.removeHandler(handler)
    root.addHandler(_Handover())
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


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


def tell_of_configuration(file: Path | None, warnings_: tuple[str, ...]) -> None:
    """Say which file was read, and what in the configuration works and is unwise."""
    log = structlog.get_logger()
    log.info("config.read", file=None if file is None else str(file))
    for sentence in warnings_:
        log.warning("config.unwise", warning=sentence)
