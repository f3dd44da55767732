"""A whole server in the process of a test, and programs run by it as a person types them."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from edge_host import command_line
from ingest_server.config import load
from ingest_server.server import IngestServer
from tests.support.processes import toml

TOLD = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT})
"""What a program of the main thread is told by."""
FEW_THREADS = 16
"""For uploads, of a server for one test: to begin and end the usual 256 was half of its setting up."""


def server_config(folder: Path, **tables: Any) -> Path:
    """Write a configuration for a server on loopback that takes everybody."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "server.toml"
    base: dict[str, Any] = {
        "server": {
            "listen": "127.0.0.1:0",
            "data_dir": folder / "data",
            "stop_timeout_s": 1.0,
            "threads": FEW_THREADS,
        },
        "auth": {"mode": "open"},
        "limits": {"min_free": 0},
    }
    path.write_text(toml({**base, **tables}))
    return path


@contextmanager
def server(folder: Path, **tables: Any) -> Iterator[IngestServer]:
    running = IngestServer(load(server_config(folder, **tables), environ={}))
    running.parts.http.expiration_interval = 0.05  # how soon it sees who is late
    running.start()
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def as_it_was() -> Iterator[None]:
    """Put back what a program sets for its whole process: logs, signals, hooks."""
    kept, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hook, showing, saying = threading.excepthook, warnings.showwarning, command_line.say
    ending, dropping = sys.excepthook, sys.unraisablehook
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        structlog.configure(**kept)
        root.handlers[:], root.level = handlers, level
        threading.excepthook, warnings.showwarning, command_line.say = hook, showing, saying
        sys.excepthook, sys.unraisablehook = ending, dropping
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, interrupted)


@contextmanager
def beside(work: Callable[[Callable[[signal.Signals], None]], None]) -> Iterator[None]:
    """Run *work* in a thread beside the program of the main thread; it is given a way to signal it.

    However it ends, the program gets a SIGTERM then, and what went wrong is raised at the end. A
    signal goes to the main thread alone: no other one of the tests' process has blocked it.
    """
    main, failed = threading.main_thread().ident or 0, []

    def tell(number: signal.Signals) -> None:
        signal.pthread_kill(main, number)

    def run() -> None:
        try:
            work(tell)
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)
        finally:
            tell(signal.SIGTERM)

    # From here on, so that none of them ends the tests before the program takes it.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)
        while signal.sigtimedwait(TOLD, 0):  # what came after the program's end
            pass
        # Else all that the tests start later inherits it, and is deaf.
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if failed:
        raise failed[0]
