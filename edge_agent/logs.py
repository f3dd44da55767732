"""Logging: structlog to stderr: what a line of the agent looks like, for the journal and on a terminal.

A name is data (law L7): whatever a value holds, it ends in one line and sends nothing to a terminal.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from edge_agent.base import log_tail
from edge_host import logs

_QUIET = ("httpx", "httpcore", "watchdog", "paho", "asyncio")
"""Libraries whose INFO is a line per request."""


def configure(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process to *stream*, stderr if None (`edge_host.logs`)."""
    trace = structlog.processors.format_exc_info
    logs.configure(
        level, style, stream=stream, json=[trace, _json_line], console=[trace, _console_line]
    )
    logs.take_over_libraries(_say, level=logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # watchdog 7 warns once per folder made while it looks, tens of KiB each; the scan is the truth.
    warnings.filterwarnings("ignore", module="watchdog")


def _json_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    line = logs.json_line(event)
    log_tail.keep(line)
    return line


def _console_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    _json_line(_logger, _method, event)  # kept in this form, whatever a person sees
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


def _say(record: logging.LogRecord) -> None:
    method = "error" if record.levelno >= logging.ERROR else "warning"
    if record.levelno < logging.WARNING:
        method = "debug"
    say = getattr(structlog.get_logger(), method)
    say("library.said", logger=record.name, message=record.getMessage()[:500])


def tell_of_configuration(file: Path | None, warnings_: tuple[str, ...]) -> None:
    """Say which file was read, and what in the configuration works and is unwise."""
    log = structlog.get_logger()
    log.info("config.read", file=None if file is None else str(file))
    for sentence in warnings_:
        log.warning("config.unwise", warning=sentence)
