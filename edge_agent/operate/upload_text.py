"""How uploads look while they go on: a progress line, and a line for each change.

Pure text in, text out. Names that arrive here are printable already; what a server has said is not,
so each line leaves as `plain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.operate.figures import duration, size
from edge_host.columns import columns, fitting
from edge_host.terminal import plain


def progress_line(answer: Mapping[str, Any], width: int) -> tuple[str, str | None]:
    """Return the uploads of *answer* as one line of at most *width* characters.

    Beside it, in full, why the one that it shows waits, where the line has not room for that.
    """
    files = answer["files"]
    done = sum(row["is_done"] for row in files)
    counter = f"{done} of {len(files)} done" if len(files) > 1 else ""
    row = _foremost(files)
    if row is None:
        return _fit([counter], width), None
    # With what is in flight: a request may take ten seconds, and a bar that stands looks dead.
    sent = min(row["length"], (row["acknowledged"] or 0) + row["in_flight"])
    percent = 100.0 * sent / row["length"] if row["length"] else 0.0
    parts = [row["name"], f"[{_bar(percent)}] {percent:.0f} %"]
    if row["reason"] is not None:
        parts.append(f"waiting ({row['reason']}): {row['detail']}")
    elif answer["rate_bytes_per_s"]:
        rate = size(answer["rate_bytes_per_s"])
        parts.append(f"{size(sent)} of {size(row['length'])}, {rate}/s")
        if answer["eta_s"] is not None:
            parts.append(f"{duration(answer['eta_s'])} left")
    line = _fit([*parts, counter], width)
    is_cut = row["reason"] is not None and plain(parts[-1]) not in line
    return line, change_line(row) if is_cut else None


def _foremost(files: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    open_files = [row for row in files if not row["is_done"] and row["state"] != "failed"]
    moving = [row for row in open_files if row["reason"] is None]
    return next(iter(moving or open_files), None)


def _bar(percent: float) -> str:
    filled = int(percent / 5)
    return "#" * filled + "." * (20 - filled)


def _fit(parts: Sequence[str], width: int) -> str:
    line = plain("  ".join(part for part in parts if part))
    return line if columns(line) <= width else fitting(line, width - 3) + "..."


def change_line(row: Mapping[str, Any]) -> str:
    """Return how one file is doing, as a line of its own: where there is no terminal."""
    return plain(_change(row))


def _change(row: Mapping[str, Any]) -> str:
    if row["is_done"]:
        where = "" if row["published_as"] is None else f", published as {row['published_as']}"
        return f"{row['path']}: verified{where}"
    if row["state"] == "failed":
        return f"{row['path']}: failed: {row['detail'] or row['problem']}"
    if row["reason"] is not None:
        return f"{row['path']}: waiting ({row['reason']}): {row['detail']}"
    done = "" if row["percent"] is None else f", {row['percent']:.0f} % of {size(row['length'])}"
    return f"{row['path']}: {row['state']}{done}"
