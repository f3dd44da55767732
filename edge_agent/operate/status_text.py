"""What ``edge-agent status`` prints: all of it, or what has failed; pure text in, text out.

Names that arrive here are printable already; what a server has said is not, so each line leaves as
`plain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.core.left_out import from_document, sentence
from edge_agent.operate.figures import duration, files, size
from edge_agent.operate.file_table import failure, place, table, wrapped
from edge_agent.operate.problem_words import IN_WORDS
from edge_agent.report.in_words import held_back, status_line
from edge_host.terminal import plain

_WAITING, _FAILED, _DONE = 15, 5, 3
"""Rows on a terminal, which shows some 24 lines; there is a number for the others."""


def status_page(answer: Mapping[str, Any], device_id: str, width: int | None = None) -> str:
    """Return the page, in lines of at most *width* characters; None: one line for each thing."""
    document = answer["state"]
    lines = _head(answer, device_id)
    lines += [f"the next start sends nothing: {why}" for why in answer.get("stopped_by", ())]
    queue = document["queue"]
    if queue["failed"]:
        lines.append(
            "failed ones are kept: edge-agent status --failed; once the cause is mended:"
            " edge-agent retry --all"
        )
    if document["problems"]:
        lines.append(f"problems: {', '.join(document['problems'])}")
        lines += [f"{code}: {IN_WORDS[code]}" for code in document["problems"] if code in IN_WORDS]
    lines += [f"note: {note}" for note in document.get("notes", ())]
    lines += [f"open files: {limit}" for limit in answer["limits"]]
    if (held := held_back(document)) is not None:
        lines.append(held)
    left_out = from_document(document.get("left_out") or {})
    lines += [f"left out ({one.cause}): {sentence(one)}" for one in left_out]
    page = [part for line in lines for part in wrapped(plain(line), width, first="")]
    waiting, failed, done = _sorted(answer["files"], is_short=width is not None)
    if waiting or failed or done:
        page += ["", *map(plain, table([*waiting, *failed, *done], width))]
    if (hidden := queue["files"] - len(waiting)) > 0:
        page.append(f"... and {hidden} more waiting")
    if (hidden := queue["failed"] - len(failed)) > 0:
        page.append(f"... and {hidden} more failed: edge-agent status --failed")
    return "\n".join(page)


def _head(answer: Mapping[str, Any], device_id: str) -> list[str]:
    document = answer["state"]
    lines = [f"{device_id}: {status_line(document)}"]
    if not answer["running"]:
        lines = [
            "The agent is not running. To start it: systemctl start edge-agent, or edge-agent run."
            " This is what it knew when it stopped:"
        ]
    queue, totals = document["queue"], document["totals"]
    lines.append(
        f"waiting: {files(queue['files'])}, {size(queue['bytes'])}{_left(document, answer['files'])};"
        f" failed: {queue['failed']}; sent so far: {files(totals['files_done'])}"
    )
    lines += [_folder_line(one) for one in document.get("folders", ())]
    if overwritten := totals.get("files_overwritten"):
        lines.append(
            f"overwritten by the recorder before they were sent: {files(overwritten)};"
            " the link is slower than what is recorded, or the recorder keeps too little"
        )
    if (link := _link_line(document)) is not None:
        lines.append(link)
    if other := document["link"].get("other"):
        lines.append(f"other links: {other}")
    return lines


def _folder_line(row: Mapping[str, Any]) -> str:
    """Return what waits in one of several folders, and why nothing is found there."""
    queue = row["queue"]
    said = f"{row['name']}: {files(queue['files'])} waiting, {size(queue['bytes'])}"
    if queue["failed"]:
        said += f"; failed: {queue['failed']}"
    return f"{said}; {row['blocked_by']}: {row['blocked_detail']}" if row["blocked_by"] else said


def _left(document: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what is left to send of the whole queue, and how long that takes at the rate of now."""
    current, rate = document["current"], document["rate_bytes_per_s"]
    if current is None:
        return ""
    if document["blocked_by"] is not None:
        rate = None  # of what was sent before it: nothing says when it goes on
    others = (row for row in rows if row["file_id"] != current["file_id"])
    arrived = sum(row["length"] for row in others if row["state"] == "sent")  # waits to be verified
    left = max(0, document["queue"]["bytes"] - current["acknowledged"] - arrived)
    said = f", {size(left)} left"
    return f"{said}, {duration(left / rate)} at {size(rate)}/s" if rate else said


def _sorted(rows: Sequence[Mapping[str, Any]], *, is_short: bool) -> tuple[list[Any], ...]:
    """Return the rows that wait, that failed and that are done; on a terminal some of each."""
    failed = [row for row in rows if row["state"] == "failed"]
    done = [row for row in rows if row["is_done"]]
    waiting = [row for row in rows if row["state"] != "failed" and not row["is_done"]]
    waiting.sort(key=lambda row: row["reason"] is not None)  # what is being sent comes first
    if is_short:
        return waiting[:_WAITING], failed[-_FAILED:], done[-_DONE:]
    return waiting, failed, done


def failed_page(answer: Mapping[str, Any], width: int | None = None) -> str:
    """Return each recording that has failed, with why, how it is named to commands, and what to do."""
    failed = [row for row in answer["files"] if row["state"] == "failed"]
    if not failed:
        return "nothing has failed"
    page: list[str] = []
    for row in failed[::-1]:
        page += wrapped(f"{place(row)}  ({size(row['length'])})", width, first="")
        page += wrapped(plain(failure(row)), width)
        page.append(f"    edge-agent retry {row['file_id']}")
    if (hidden := answer["state"]["queue"]["failed"] - len(failed)) > 0:
        page.append(f"... and {hidden} more that failed earlier")
    page.append("once the cause is mended, all of them: edge-agent retry --all")
    return "\n".join(page)


def _link_line(document: Mapping[str, Any]) -> str | None:
    link, limit = document["link"], document["limit_bytes_per_s"]
    if link["iface"] is None:
        return f"limited to {size(limit)}/s" if limit else None
    parts = [f"link: {link['iface']}{' (metered)' if link['metered'] else ''}"]
    if limit:
        parts.append(f"limited to {size(limit)}/s")
    if link["rtt_ms"] is not None:
        parts.append(f"round trip {link['rtt_ms']} ms")
    if control := link.get("congestion_control"):
        parts.append(f"{control} ({link['congestion_reason']})")
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
