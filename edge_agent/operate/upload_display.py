"""How `edge-agent upload` shows what it does: a line that moves on a terminal, one per change elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO

from edge_agent.base.errors import AgentError
from edge_agent.operate.upload_text import change_line, progress_line
from edge_host.columns import terminal_size
from edge_host.terminal import plain


def show(answers: Iterable[dict[str, Any]], out: TextIO) -> bool:
    """Show progress until the end; return whether every file is verified.

    Raises:
        AgentError: the answers ended before the uploads did; they go on later.
    """
    is_terminal = out.isatty()
    told: dict[str, str] = {}
    in_full: set[str] = set()
    all_taken = True
    answer: dict[str, Any] = {}
    for answer in answers:
        if "refused" in answer:
            for one in answer["refused"]:
                all_taken = False
                print(plain(f"{one['path']}: {one['why']}"), file=out)
            continue
        if (terminal := terminal_size(out)) is not None:
            width = terminal[0] - 1
            line, cut_off = progress_line(answer, width)
            if cut_off is not None and cut_off not in in_full:
                in_full.add(cut_off)
                print(f"\r\x1b[K{cut_off}", file=out)
            print(f"\r\x1b[K{line}", end="", file=out, flush=True)
        for row in answer["files"]:
            is_final = row["is_done"] or row["state"] == "failed"
            line = _line(row, is_terminal=is_terminal)
            if line != told.get(row["file_id"]) and (is_final or not is_terminal):
                told[row["file_id"]] = line
                print("\r\x1b[K" * is_terminal + change_line(row), file=out, flush=True)
    if is_terminal:
        print("\r\x1b[K", end="", file=out, flush=True)
    if answer and not answer.get("done", "refused" in answer):
        raise AgentError("the agent stopped; the files are kept in its queue and go on later")
    return all_taken and all(row["is_done"] for row in answer.get("files", []))


def _line(row: dict[str, Any], *, is_terminal: bool) -> str:
    """Return what makes a line new: without a terminal every tenth part of a file is told."""
    if is_terminal or row["is_done"] or row["state"] == "failed":
        return str(row["state"])
    return f"{row['state']} {row['reason']} {int((row['percent'] or 0) / 10)}"
