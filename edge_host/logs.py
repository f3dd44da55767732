"""Logging: structlog to one stream, JSON lines for the journal or readable on a terminal.

What a line looks like is each program's own (its two lists of processors); that every logger, every library
and whatever ends a thread goes there, and follows a new level at once, is here.
"""

from __future__ import annotations

import json as json_
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from edge_host import command_line, journal

Processors = Sequence[structlog.typing.Processor]

_LONGEST = 32 * 1024
"""Characters of a line: the journal cuts in two what is longer than 48 KiB."""
_LONGEST_VALUE = 2 * 1024


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
    *steps, render = console if is_for_a_person(form, out) else json
    if journal.is_behind(out):
        render = _marked(render)
    set_level(level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *steps,
            render,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Lenient(out))),
        # A cached logger would keep the level that it was made with through a reload.
        cache_logger_on_first_use=False,
    )


def is_for_a_person(form: str, stream: TextIO) -> bool:
    """Return whether lines on *stream* are for reading, and no JSON."""
    return form == "console" or (form == "auto" and stream.isatty())


def _marked(render: structlog.typing.Processor) -> structlog.typing.Processor:
    def marked(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        level = str(event.get("level", method))
        return journal.marked(str(render(logger, method, event)), level)

    return marked


def json_line(event: Mapping[str, Any]) -> str:
    """Return *event* as one line of JSON, in ASCII: what happened comes first, then how grave it is.

    Whatever the values are it is JSON, and short enough that the journal keeps it whole.
    """
    ordered: dict[str, Any] = {key: event[key] for key in ("event", "level") if key in event}
    ordered |= {key: value for key, value in event.items() if key != "timestamp"}
    if "timestamp" in event:
        ordered["timestamp"] = event["timestamp"]
    line = _dumped(ordered)
    if len(line) <= _LONGEST:
        return line
    half = _LONGEST_VALUE // 2
    for key, value in ordered.items():
        text = value if isinstance(value, str) else _dumped({"": value})
        if len(text) > _LONGEST_VALUE:
            ordered[key] = f"{text[:half]} ... {text[-half:]}"
    line = _dumped(ordered)
    if len(line) <= _LONGEST:
        return line
    few: dict[str, Any] = {
        key: ordered[key] for key in ("event", "level", "timestamp") if key in ordered
    }
    return _dumped({**few, "detail": f"a line of {len(line)} characters, left out"})


def _dumped(value: Mapping[str, Any]) -> str:
    try:
        return json_.dumps(value, default=str, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        plain = {str(key): _as_text(one) for key, one in value.items()}
        return json_.dumps(plain, separators=(",", ":"))


def _as_text(value: object) -> str:
    try:
        return value if type(value) is str else repr(value)
    except Exception as error:  # noqa: BLE001 a value of whoever logs: its fault must not be ours
        return f"({type(value).__name__} that cannot be shown: {type(error).__name__})"


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
        except Exception as error:  # noqa: BLE001 a library's broken log call must not break the library
            structlog.get_logger().warning(
                "library.unsaid",
                logger=record.name,
                message=str(record.msg)[:500],
                error=repr(error),
            )


def catch_errors() -> None:
    """Log what Python would print raw: what ends a thread or the process, and what warnings say."""

    def ended(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None:
            structlog.get_logger().error(
                "thread.died",
                thread=failure.thread.name if failure.thread else None,
                exc_info=failure.exc_value,
            )

    def died(_kind: type[BaseException], error: BaseException, _trace: object) -> None:
        structlog.get_logger().critical("program.died", exc_info=error)

    def dropped(found: sys.UnraisableHookArgs) -> None:
        structlog.get_logger().error(
            "error.dropped", where=_as_text(found.object), exc_info=found.exc_value or True
        )

    def warned(  # noqa: PLR0917 # its signature
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001 # its signature
        line: str | None = None,  # noqa: ARG001 # its signature
    ) -> None:
        structlog.get_logger().warning(
            "library.warned",
            kind=category.__name__,
            message=str(message)[:500],
            place=f"{filename}:{lineno}",
        )

    threading.excepthook = ended
    sys.excepthook = died
    sys.unraisablehook = dropped
    warnings.showwarning = warned


def speak_in_lines(form: str) -> None:
    """Log from now on what a command would say as a sentence: for a program that runs on and on.

    Where lines are for a person it stays a sentence.

    Args:
        form: as `configure` was told.
    """
    catch_errors()
    if not is_for_a_person(form, sys.stderr):
        command_line.say = lambda sentence: structlog.get_logger().error(
            "program.failed", detail=sentence
        )
