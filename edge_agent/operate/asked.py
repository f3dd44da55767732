"""What a person at the device asks for, by a running agent or, where none runs, for the next one.

The same handlers do it as do commands from far away; nothing is asked for permission here.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.clock import SystemClock, boot_id
from edge_agent.base.errors import AgentError
from edge_agent.base.settings import AgentSettings
from edge_agent.base.state_lock import DATABASE, SOCKET, StateLock
from edge_agent.core.command import is_id
from edge_agent.media.folders import Folders
from edge_agent.operate.announce import answer_of, examined
from edge_agent.operate.command_desk import CommandDesk
from edge_agent.operate.command_handlers import (
    Handlers,
    NobodySends,
    RecordingHandlers,
    SendingHandlers,
)
from edge_agent.operate.commands import Commands, RequestError
from edge_agent.operate.control_client import NotRunningError, ask
from edge_agent.store.opening import open_store
from edge_agent.store.recordings import Store

NOT_RUNNING = " (the agent is not running now)"


def do(settings: AgentSettings, cmd: str, **args: Any) -> tuple[dict[str, Any], bool]:
    """Have *cmd* done; return the answer, and whether an agent runs that did it.

    Raises:
        AgentError: it could not be told, or could not be done.
    """
    request = {"do": cmd, **args}
    try:
        return next(iter(ask(settings.state_dir / SOCKET, request))), True
    except NotRunningError:
        with _without_agent(settings) as commands:
            try:
                answer: Any = next(commands.answer(request, threading.Event()))
            except RequestError as error:
                raise AgentError(str(error)) from None
        return answer, False


@contextlib.contextmanager
def _without_agent(settings: AgentSettings) -> Iterator[Commands]:
    """Give what answers requests where nobody sends: it is written down for the next start."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(StateLock(settings.state_dir)))
        path = settings.state_dir / DATABASE
        clock, run = SystemClock(), boot_id()
        store = open_store(path, clock=clock, boot_id=run)
        stack.callback(store.close)
        handlers = _handlers(store)
        desk = CommandDesk(store, handlers, settings.commands, clock=clock, boot_id=run)
        yield Commands(
            store,
            Activity(),
            dict,
            folders=Folders(settings.watch),
            wake_watcher=_nobody,
            handlers=handlers,
            do=desk.do_here,
        )


def _handlers(store: Store) -> Handlers:
    nobody = NobodySends(store)
    sending = SendingHandlers(store, nobody, wake_watcher=_nobody, announce=_nobody)
    recordings = RecordingHandlers(store, nobody, wake_watcher=_nobody)
    return {**sending.handlers(), **recordings.handlers()}


def _nobody() -> None:
    return None


def now(settings: AgentSettings, names: Sequence[str], *, metered: bool) -> tuple[list[str], bool]:
    """Have recordings go first, each named by its path or its file_id.

    Returns:
        A line for each, and whether all of them go.

    Raises:
        AgentError: it could not be told, or not written down.
    """
    lines: list[str] = []
    are_all = True
    for name in names:
        taken_as = f"{name}:"
        if not os.path.lexists(name) and is_id(name):
            request: dict[str, Any] = {"file_id": name}
            cmd = "upload_now"
            taken_as = f"{name}: no such file is here, and"
        else:
            request = {"paths": [str(Path(name).absolute())]}
            cmd = "now"
        try:
            answer, is_running = do(settings, cmd, metered=metered, **request)
        except AgentError as error:
            lines.append(f"{taken_as} {error}")
            are_all = False
            continue
        lines.append(f"{name}: {answer['message']}{'' if is_running else NOT_RUNNING}")
    return lines, are_all


def say_finished(settings: AgentSettings, files: Sequence[Path]) -> tuple[list[str], bool]:
    """Tell the running agent that its recorder has finished *files*.

    Where none runs nothing is written down: the next start looks through the folder.

    Returns:
        A line for each file, and whether each of them is sent.

    Raises:
        AgentError: the agent could not be told.
    """
    paths = [os.fsencode(file.absolute()) for file in files]
    try:
        return say_finished_at(settings.state_dir / SOCKET, files)
    except NotRunningError:
        later = "no agent is running: the next start finds it in the watched folder"
        answers = [
            answer_of(one.path, one.why or later, is_taken=one.identity is not None)
            for one in examined(paths, Folders(settings.watch))
        ]
    return _told(answers)


def say_finished_at(path: Path, files: Sequence[Path]) -> tuple[list[str], bool]:
    """Tell the agent that listens at *path* that its recorder has finished *files*.

    Returns:
        As `say_finished`.

    Raises:
        AgentError: nobody listens there, or could be told.
    """
    paths = [os.fsdecode(file.absolute()) for file in files]
    return _told(list(ask(path, {"do": "finished", "paths": paths})))


def _told(answers: Sequence[Mapping[str, Any]]) -> tuple[list[str], bool]:
    lines = [f"{one['path']}: {one['message']}" for one in answers]
    return lines, all(one["taken"] for one in answers)
