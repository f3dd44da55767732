"""`edge-agent status` on a terminal and elsewhere: once, or with `--watch` again and again."""

from __future__ import annotations

import threading
from typing import NoReturn, TextIO

from edge_agent.base.errors import AgentError
from edge_agent.base.settings import AgentSettings
from edge_agent.operate.status import read_status
from edge_agent.operate.status_text import failed_page, status_page
from edge_host.columns import terminal_size

_EVERY_S = 1.0
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def show(settings: AgentSettings, out: TextIO, *, only_failed: bool) -> None:
    """Print the page once.

    Raises:
        AgentError: neither an agent nor its database is there, or this user may read neither.
    """
    size = terminal_size(out)
    print(_page(settings, None if size is None else size[0], only_failed=only_failed), file=out)


def watch(settings: AgentSettings, out: TextIO, *, only_failed: bool) -> NoReturn:
    """Show the page each second until Ctrl-C.

    On a terminal one page takes the place of the other; elsewhere each that differs is printed.
    """
    pause = threading.Event()
    before = ""
    while True:
        size = terminal_size(out)
        try:
            now = _page(settings, None if size is None else size[0], only_failed=only_failed)
        except AgentError as error:
            now = str(error)  # it starts anew, say: the next look sees it
        if size is not None:
            now = _drawn(now.split("\n"), size[1])
        if now != before:
            print(now, end="" if size is not None else "\n\n", file=out, flush=True)
        before = now
        pause.wait(_EVERY_S)


def _page(settings: AgentSettings, width: int | None, *, only_failed: bool) -> str:
    answer = read_status(settings)
    if only_failed:
        return failed_page(answer, width)
    return status_page(answer, settings.device_id, width)


def _drawn(lines: list[str], height: int) -> str:
    """Return what draws *lines* over what is there, and scrolls nothing."""
    if len(lines) >= height > 1:
        more = len(lines) - (height - 2)
        lines = [*lines[: height - 2], f"... {more} more lines: in a taller window"]
    return _HOME + "\n".join(line + _END_OF_LINE for line in lines) + _BELOW
