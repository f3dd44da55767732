"""How recordings look on a terminal: tables, a progress line, sizes and times for people.

Pure text in, text out. Names that arrive here are printable already; what a server has said is not,
so each line leaves as `plain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.base.activity import FAILURES
from edge_agent.core.left_out import from_document, sentence
from edge_agent.report.state_document import status_line
from edge_host.terminal import plain

_NAME_WIDTH = 48
"""Of the table: one endless name must not push everybody's reason off the screen."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Return ``12.3 MB``: three or four digits, powers of 1000 as disks and links are sold."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def duration(seconds: float) -> str:
    """Return ``0:42`` or ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def status_page(answer: Mapping[str, Any], device_id: str) -> str:
    """Return what ``edge-agent status`` prints."""
    document, files = answer["state"], answer["files"]
    lines = []
    if not answer["running"]:
        lines.append("The agent is not running. This is what it knew when it stopped:")
    else:
        lines.append(f"{device_id}: {status_line(document)}")
    queue, totals = document["queue"], document["totals"]
    lines.append(
        f"waiting: {_files(queue['files'])}, {size(queue['bytes'])}; failed: {queue['failed']};"
        f" sent so far: {_files(totals['files_done'])}"
    )
    if overwritten := totals.get("files_overwritten"):
        lines.append(
            f"overwritten by the recorder before they were sent: {_files(overwritten)};"
            " the link is slower than what is recorded, or the recorder keeps too little"
        )
    if (link := _link_line(document)) is not None:
        lines.append(link)
    if other := document["link"].get("other"):
        lines.append(f"other links: {other}")
    if queue["failed"]:
        lines.append("failed ones are kept; once the cause is mended: edge-agent retry --all")
    if document["problems"]:
        lines.append(f"problems: {', '.join(document['problems'])}")
        lines += [f"{code}: {FAILURES[code]}" for code in document["problems"] if code in FAILURES]
    lines += [f"open files: {limit}" for limit in answer["limits"]]
    left_out = from_document(document.get("left_out") or {})
    lines += [f"left out ({one.cause}): {sentence(one)}" for one in left_out]
    if files:
        lines += ["", *_table(files)]
    hidden = queue["files"] - sum(not row["is_done"] and row["state"] != "failed" for row in files)
    if hidden > 0:
        lines.append(f"... and {hidden} more waiting")
    return "\n".join(map(plain, lines))


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _link_line(document: Mapping[str, Any]) -> str | None:
    link, limit = document["link"], document["limit_bytes_per_s"]
    if link["iface"] is None:
        return f"limited to {size(limit)}/s" if limit else None
    parts = [f"link: {link['iface']}{' (metered)' if link['metered'] else ''}"]
    if limit:
        parts.append(f"limited to {size(limit)}/s")
    if link["rtt_ms"] is not None:
        parts.append(f"round trip {link['rtt_ms']} ms")
    if link["retransmit_percent"] is not None:
        parts.append(f"{link['retransmit_percent']:.1f} % sent again")
    if link["lanes"]:
        parts.append(f"{link['lanes']} connection{'s' if link['lanes'] > 1 else ''}")
    if link.get("max_request"):
        parts.append(f"something on the way lets {size(link['max_request'])} through at once")
    if link.get("method") == "POST":
        parts.append("and no PUT")
    if link.get("max_segment"):
        parts.append(f"packets of {link['max_segment']} bytes, for fuller ones are lost (MTU)")
    return ", ".join(parts)


def _table(files: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("STATE", "DONE", "SIZE", "FILE", "WHY")]
    rows += [
        (
            row["state"],
            "" if row["percent"] is None else f"{row['percent']:.0f} %",
            size(row["length"]),
            _shortened(f"{row['folder']}/{row['name']}" if row["folder"] else row["name"]),
            _why(row),
        )
        for row in files
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}"
        f"  {row[3]:<{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]


def _shortened(name: str) -> str:
    """Return *name* with its middle left out: its beginning and its end tell it from others."""
    if len(name) <= _NAME_WIDTH:
        return name
    half = (_NAME_WIDTH - 3) // 2
    return f"{name[:half]}...{name[-half:]}"


def _why(row: Mapping[str, Any]) -> str:
    if row["reason"] is not None:
        return f"{row['reason']}: {row['detail']}"
    if row["problem"] is not None and not row["is_done"]:
        # What the server said begins with the same code.
        code = f"{row['problem']}: "
        return code + str(row["detail"]).removeprefix(code)
    if row["published_as"] is not None:
        earlier = row.get("supersedes")
        return f"published as {row['published_as']}" + (f", after {earlier}" if earlier else "")
    return ""


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
    return line if len(line) <= width else line[: max(0, width - 3)] + "..."


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
