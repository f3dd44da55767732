"""`edge-agent retry`: failed recordings are tried again, by a running agent or by the next one."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.base.settings import AgentSettings
from edge_agent.media.retry import Retried
from edge_agent.operate.asked import NOT_RUNNING, do


def retry(settings: AgentSettings, ids: Sequence[str]) -> tuple[Retried, bool]:
    """Try the recordings *ids* again, none named: all that failed; return whether an agent runs.

    Raises:
        AgentError: it could not be told or written down.
    """
    answer, is_running = do(settings, "retry", ids=list(ids))
    return Retried(answer["retried"], answer["away"], tuple(answer["unknown"])), is_running


def words(done: Retried, *, is_running: bool) -> str:
    """Return what a person is told of it."""
    if done == Retried(0, 0, ()):
        return "nothing has failed: there is nothing to try again"
    lines = [f"{_files(done.retried)} tried again"]
    if not is_running:
        lines[0] += f" by the next start{NOT_RUNNING}"
    if done.away:
        lines.append(f"{done.away} cannot be: not there, or not readable; each goes on when it is")
    lines += [
        f"{one}: no failed recording has this file_id; edge-agent status --failed lists those that have"
        for one in done.unknown
    ]
    return "\n".join(lines)


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count} files are"
