"""`edge-agent check`, by the agent that runs: in its sandbox, as its user, with its secrets.

Whoever asks may be another user, who may read and do other things: only the agent knows what it can do.
Where none runs the check is made by whoever asks, and says so.
"""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from edge_agent.base.clock import Clock, SystemClock
from edge_agent.base.errors import AgentError, ConfigError
from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_loading import Loaded
from edge_agent.base.state_lock import SOCKET
from edge_agent.operate.checks.finding import Finding
from edge_agent.operate.commands import RequestError
from edge_agent.operate.control_client import ControlError, NotRunningError, ask

log = structlog.get_logger()

_BEAT_S = 5.0
"""Between two words while something is tried that takes long: they show that we are there."""
_SILENCE_S = 30.0

Differences = tuple[tuple[str, ...], tuple[str, ...]]
"""Keys that a reload would change, and those that take a restart."""


class Checking:
    """Of a running agent; one check at a time, which lasts as long as what it tries.

    Args:
        load: reads the configuration, as the next start would.
        compare: says in what it differs from the one in force.
        in_force: gives the settings that are.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        load: Callable[[], Loaded],
        compare: Callable[[AgentSettings], Differences],
        in_force: Callable[[], AgentSettings],
    ) -> None:
        self._clock = clock
        self._load = load
        self._compare = compare
        self._in_force = in_force
        self._is_free = threading.Semaphore()

    def answer(
        self, request: Mapping[str, Any], stopping: threading.Event
    ) -> Iterator[dict[str, Any]]:
        """Yield each finding, as it is made, and last that this was all.

        Raises:
            RequestError: another check has not ended, or this one cannot be made.
        """
        if not self._is_free.acquire(blocking=False):
            raise RequestError("a check is being made already: ask again when it has ended")
        found: SimpleQueue[Finding | Exception | None] = SimpleQueue()
        is_over = threading.Event()
        file = request.get("file")
        worker = threading.Thread(
            target=self._run, args=(found, is_over, file), name="check", daemon=True
        )
        try:
            worker.start()
        except RuntimeError:
            self._is_free.release()
            raise RequestError("no thread is left to check with; ask again later") from None
        try:
            while not stopping.is_set():
                try:
                    one = found.get(timeout=_BEAT_S)
                except Empty:
                    yield {"busy": True}
                    continue
                if one is None:
                    yield {"done": True}
                    return
                if isinstance(one, Exception):
                    raise RequestError(
                        f"the check came to no end: {one!r}; the agent's log says more"
                    )
                yield {"finding": asdict(one)}
            raise RequestError("the agent stops: ask again when it has started")
        finally:
            is_over.set()

    def _run(
        self,
        found: SimpleQueue[Finding | Exception | None],
        is_over: threading.Event,
        file: object,
    ) -> None:
        last: Exception | None = None
        try:
            for one in self._findings(file):
                found.put(one)
                if is_over.is_set():
                    return  # nobody listens any more
        except Exception as error:
            log.exception("check.failed")
            last = error
        finally:
            self._is_free.release()
        found.put(last)  # after that, whoever hears it may ask again

    def _findings(self, file: object) -> Iterator[Finding]:
        yield Finding("OK", "agent", f"it runs and checks itself: process {os.getpid()}, {_user()}")
        try:
            loaded = self._load()
        except ConfigError as error:
            yield from (Finding("FAIL", "config", problem) for problem in error.problems)
            loaded = Loaded(self._in_force(), None, ())
        else:
            yield from self._differences(loaded, file)
        # Here, for an agent that nobody asks does without what that loads.
        from edge_agent.operate.check import run_checks

        yield from run_checks(loaded, self._clock)

    def _differences(self, loaded: Loaded, file: object) -> Iterator[Finding]:
        if isinstance(file, str) and loaded.file is not None and not _is_same(file, loaded.file):
            text = (
                f"the agent of this state_dir goes by {loaded.file}, which is what is checked here, and"
                f" not by {file}"
            )
            yield Finding("WARN", "config", text)
        for keys, action in zip(self._compare(loaded.settings), ("reload", "restart"), strict=True):
            if keys:
                text = (
                    f"{', '.join(keys)}: what is checked here is what the file says now, and the agent"
                    f" does not go by it yet: systemctl {action} edge-agent"
                )
                yield Finding("WARN", "config", text)


def _is_same(name: str, file: Path) -> bool:
    try:
        return Path(name).samefile(file)
    except OSError:
        return Path(name) == file


def findings(load: Callable[[bool], Loaded], *, is_as_configured: bool) -> Iterator[Finding]:
    """Yield what the running agent finds, or, where it cannot be asked, what this process does.

    Args:
        load: reads the configuration; False: without looking at the files that it names.
        is_as_configured: no option changes it: the agent would check something else.

    Raises:
        AgentError: an agent runs and does not answer, or not to this user.
        ConfigError: the configuration is wrong.
    """
    known = load(False)
    why = "options are given that the running agent, if there is one, does not go by"
    if is_as_configured:
        try:
            yield from _asked(known)
        except NotRunningError:
            why = "no agent runs here"
        except ControlError as error:
            if "unknown request" not in str(error):
                raise
            why = "the running agent is of a version before this one, so restart it"
        else:
            return
    text = (
        f"{why}: this checks as {_user()}, who asks; what the agent's own user, sandbox and secrets make"
        " of it can differ"
    )
    yield Finding("WARN", "agent", text)
    from edge_agent.operate.check import run_checks

    yield from run_checks(load(True), SystemClock())


def _asked(known: Loaded) -> Iterator[Finding]:
    request = {"do": "check", "file": None if known.file is None else str(known.file.absolute())}
    for answer in ask(known.settings.state_dir / SOCKET, request, timeout_s=_SILENCE_S):
        if "finding" in answer:
            yield Finding(**answer["finding"])
        elif answer.get("done"):
            return
    raise AgentError("the agent went away before its check had ended: ask again")


def _user() -> str:
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user {os.geteuid()}"
