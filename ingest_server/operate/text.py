"""What commands read of a person and print for one: times, sizes, tables."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from edge_host.clock import SystemClock, rfc3339
from edge_host.columns import columns, padded, terminal_size, wrapped

Row = Sequence[str]

MAX_PADDING = 48
"""A longer cell moves the rest of its own line only, not of all lines."""
MEASURED_ROWS = 500
"""How many rows a column's width is taken from before the first is printed; it may grow later on."""

_SPAN = re.compile(r"([0-9]{1,6})([hdwy])\Z")
_UNITS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}


def moment(text: str) -> str:
    """Return *text*, a date or such as ``90d`` from now, as a time in UTC; argparse reads with it.

    Raises:
        argparse.ArgumentTypeError: it is neither, or past the end of the calendar.
    """
    return _time(text, 1, "from now")


def past(text: str) -> str:
    """Return *text*, a date or such as ``90d`` before now, as a time in UTC.

    Raises:
        argparse.ArgumentTypeError: it is neither, or before the calendar begins.
    """
    return _time(text, -1, "ago")


def span(text: str) -> timedelta:
    """Return *text*, such as ``12h`` or ``90d``, as a duration.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    match = _SPAN.match(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 12h, 90d or 2w")
    return timedelta(hours=int(match[1]) * _UNITS[match[2]])


def _time(text: str, sign: int, direction: str) -> str:
    try:
        if _SPAN.match(text) is not None:
            found = SystemClock().now_utc() + sign * span(text)
        else:
            found = datetime.fromisoformat(text)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return rfc3339(found)
    except (ValueError, OverflowError):
        msg = (
            f"{text!r} is neither a date such as 2027-01-31 nor a time {direction} such as 12h "
            "or 90d"
        )
        raise argparse.ArgumentTypeError(msg) from None


def age(now: datetime, since: str) -> str:
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def shown(name: str) -> str:
    """Return a name safe for a terminal: what does not print stands as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def size(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return such as ``1 upload``, ``1,204 uploads``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def print_table(head: Row, rows: Iterable[Row], *, none: str) -> None:
    """Print rows as they come; a hundred thousand of them are never held at once.

    Args:
        none: the sentence for a person where there are no rows: a head alone answers nothing.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        print(none, file=sys.stderr)
        return
    terminal = terminal_size(sys.stdout)
    widths = [0] * len(head)
    coming = chain([head, first], rows)
    while block := list(islice(coming, MEASURED_ROWS)):
        for i, width in enumerate(widths):
            fitting = (one for row in block if (one := columns(row[i])) <= MAX_PADDING)
            widths[i] = max(width, max(fitting, default=0))
        lines = ["  ".join(map(padded, row, widths)).rstrip() for row in block]
        if terminal is not None and max(map(columns, lines)) > terminal[0]:
            lines = [
                line for row in block if row is not head for line in _card(head, row, terminal[0])
            ]
        print("\n".join(lines))


def _card(head: Row, row: Row, width: int) -> list[str]:
    """Return a row that has no room in its window: each cell is named, and none is cut."""
    # What belongs together stays on one line.
    named = [
        f"{name}\u00a0{cell}".replace(" ", "\u00a0")
        for name, cell in zip(head[1:], row[1:], strict=True)
    ]
    lines = wrapped(", ".join(named), max(width, 20), first="    ", rest="    ")
    return [*wrapped(row[0], max(width, 20)), *(line.replace("\u00a0", " ") for line in lines)]
