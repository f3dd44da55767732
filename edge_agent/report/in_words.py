"""The state document in words, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.base.reasons import FAILURES, ProblemCode
from edge_agent.core.left_out import WANTED, from_document
from edge_host.terminal import plain

LAME = frozenset({ProblemCode.WATCHER_FAILED, ProblemCode.SENDER_FAILED})
"""With these nothing new arrives, whatever else is said."""


def status_line(document: Mapping[str, Any]) -> str:
    """Return the document as one line for a person."""
    return plain(_in_words(document))


def _in_words(document: Mapping[str, Any]) -> str:
    current, queue = document["current"], document["queue"]
    waiting = max(0, queue["files"] - (current is not None))
    tail = f", {waiting} waiting" if waiting else ""
    if document["state"] in ("starting", "stopping"):
        return str(document["state"])
    if lame := sorted(LAME & set(document["problems"])):
        return f"error ({lame[0]}): {FAILURES[lame[0]]}{tail}"
    if document["blocked_by"] is not None:
        return f"waiting ({document['blocked_by']}): {document['blocked_detail']}{tail}"
    if current is not None:
        rate = document["rate_bytes_per_s"]
        speed = "" if rate is None else f" at {rate / 1e6:.1f} MB/s"
        return f"sending {current['name']} {current['percent']:.0f} %{speed}{tail}"
    failed = f", {queue['failed']} failed" if queue["failed"] else ""
    sent = f"{document['totals']['files_done']} sent so far"
    return f"idle, {sent}{tail}{failed}{_left_out(document)}"


def held_back(document: Mapping[str, Any]) -> str | None:
    """Return in words what is held back while smaller files go; None: nothing is."""
    held = document.get("held")
    if not held:
        return None
    until = (
        "somebody fetches them"
        if held["reason"] == "on_demand"
        else "the link is not metered any more"
    )
    originals = "1 original" if held["files"] == 1 else f"{held['files']} originals"
    return f"held back until {until}: {originals} ({held['bytes'] / 1e6:.1f} MB)"


def _left_out(document: Mapping[str, Any]) -> str:
    count = sum(
        one.count
        for one in from_document(document.get("left_out") or {})
        if one.cause not in WANTED
    )
    return f", {count} left out" if count else ""
