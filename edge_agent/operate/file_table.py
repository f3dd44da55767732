"""Recordings as a table: wide for a program that reads lines, and within the width of a terminal.

Nothing is cut at the edge of a window: where a reason has no room beside its file it stands below it,
whole, once for all files in a row that have the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from edge_agent.operate.figures import size
from edge_host import columns
from edge_host.terminal import plain

_NAME_WIDTH = 48
"""One endless name must not push everybody's reason off the screen."""
_LEAST_NAME_WIDTH = 16
_INDENT = "    "
_HEAD = ("STATE", "DONE", "SIZE", "FILE", "WHY")

Row = Mapping[str, Any]


def table(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """Return *rows* as lines of at most *width* characters; None: one line for each."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    lines = _wide(cells, _NAME_WIDTH)
    if width is None or all(columns.columns(line) <= width for line in lines):
        return lines
    return list(_narrow(cells, width))


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    return (
        plain(row["state"]),
        "" if row["percent"] is None else f"{row['percent']:.0f} %",
        size(row["length"]),
        place(row),
        plain(_why(row)),
    )


def place(row: Row) -> str:
    """Return where a recording lies below the watched folder."""
    return plain(f"{row['folder']}/{row['name']}" if row["folder"] else row["name"])


def _wide(cells: Sequence[Sequence[str]], name_width: int) -> list[str]:
    cells = [(*one[:3], columns.shortened(one[3], name_width), *one[4:]) for one in cells]
    widths = [max(columns.columns(row[column]) for row in cells) for column in range(4)]
    return [
        "  ".join(
            (
                f"{row[0]:<{widths[0]}}",
                f"{row[1]:>{widths[1]}}",
                f"{row[2]:>{widths[2]}}",
                columns.padded(row[3], widths[3]),
                *row[4:],
            )
        ).rstrip()
        for row in cells
    ]


def _narrow(cells: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    taken = sum(max(len(row[column]) for row in cells) for column in range(3)) + 3 * len("  ")
    lines = _wide([row[:4] for row in cells], max(_LEAST_NAME_WIDTH, width - taken))
    yield lines[0]
    rows = zip(lines[1:], (row[4] for row in cells[1:]), strict=True)
    for why, same in groupby(rows, key=lambda one: one[1]):
        together = [line for line, _ in same]
        yield from together
        if why:
            yield from wrapped(why if len(together) == 1 else f"all {len(together)}: {why}", width)


def wrapped(text: str, width: int | None, *, first: str = _INDENT) -> list[str]:
    """Return *text* in lines of at most *width*, all but the first one indented."""
    if width is None:
        return [first + text]
    return columns.wrapped(text, max(width, 20), first=first, rest=_INDENT)


def _why(row: Row) -> str:
    if row["reason"] is not None:
        return f"{row['reason']}: {row['detail']}"
    if row["problem"] is not None and not row["is_done"]:
        return failure(row)
    if row["published_as"] is not None:
        earlier = row.get("supersedes")
        return f"published as {row['published_as']}" + (f", after {earlier}" if earlier else "")
    return ""


def failure(row: Row) -> str:
    """Return why a recording has failed."""
    code = f"{row['problem']}: "  # what the server said begins with the same
    return code + str(row["detail"]).removeprefix(code)
