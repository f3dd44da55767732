"""`edge-agent retry`: failed recordings are tried again, by a running agent or by the next one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from edge_agent.base.clock import SystemClock, boot_id
from edge_agent.base.settings import AgentSettings
from edge_agent.base.state_lock import DATABASE, SOCKET, StateLock
from edge_agent.media.retry import Retried, retry_all, retry_named
from edge_agent.operate.control_socket import NotRunningError, ask
from edge_agent.store.recordings import Store


def retry(settings: AgentSettings, ids: Sequence[str]) -> tuple[Retried, bool]:
    """Try the recordings *ids* again, none named: all that failed; return whether an agent runs.

    Raises:
        AgentError: it could not be told or written down.
    """
    try:
        answer = next(iter(ask(settings.state_dir / SOCKET, {"do": "retry", "ids": list(ids)})))
    except NotRunningError:
        return _without_agent(settings, ids), False
    return Retried(answer["retried"], answer["away"], tuple(answer["unknown"])), True


def _without_agent(settings: AgentSettings, ids: Sequence[str]) -> Retried:
    with contextlib.closing(StateLock(settings.state_dir)):
        store = Store.open(settings.state_dir / DATABASE, clock=SystemClock(), boot_id=boot_id())
        with contextlib.closing(store):
            return retry_named(store, ids) if ids else retry_all(store)


def words(done: Retried, *, is_running: bool) -> str:
    """Return what a person is told of it."""
    lines = [f"{_files(done.retried)} tried again"]
    if not is_running:
        lines[0] += " by the next start (the agent is not running now)"
    if done.away:
        lines.append(f"{done.away} cannot be: not there, or not readable; each goes on when it is")
    lines += [f"{one}: no failed recording has this file_id" for one in done.unknown]
    return "\n".join(lines)


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"
