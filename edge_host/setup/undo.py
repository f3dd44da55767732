"""Taking back what setup has made, the newest first; what somebody has changed since is theirs, and stays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_host.durable import sync
from edge_host.setup.durable import beside
from edge_host.setup.errors import SetupError
from edge_host.setup.journal import Made
from edge_host.setup.machine import FILE, FOLDER, SERVICE, UNFINISHED, Machine, digest, run
from edge_host.setup.services import is_running, stop

Takes = Callable[[Made], str | None]
"""Takes one thing back; returns why it stays, if it does."""


def undo(
    machine: Machine, more: Mapping[str, Takes], *, keeps: Callable[[str], str | None]
) -> None:
    """Take everything back that the journal has.

    Args:
        more: how things of other kinds than files, folders and services are taken back.
        keeps: why a file or folder stays whatever setup has made; None: it goes.

    Raises:
        SetupError: something could not be taken back; what was is no longer noted, so run it again.
    """
    takes = {FILE: _take_file, FOLDER: _take_folder, SERVICE: _take_service, **more}
    if not machine.journal.made:
        machine.say("Nothing is noted that setup has made here.")
    for one in reversed(list(machine.journal.made)):
        if one.kind == UNFINISHED:
            if not machine.rehearses:
                machine.journal.forget(one)
            continue
        reason, what = keeps(one.name), f"{one.kind} {one.name}"
        if machine.rehearses:
            machine.say(f"would {'leave' if reason else 'remove'}  {what}")
            continue
        try:
            reason = reason or takes.get(one.kind, _unknown)(one)
        except OSError as error:
            raise SetupError(
                f"{one.name} cannot be removed: {error.strerror}. Run this again."
            ) from error
        machine.say(f"   left  {what}: {reason}" if reason else f"removed  {what}")
        machine.journal.forget(one)
    if not machine.rehearses:
        machine.journal.leave()
    if is_running() and not machine.rehearses:
        run("systemctl", "daemon-reload")


def _unknown(_one: Made) -> str | None:
    return "another version of this program made it, and knows how to take it back"


def _take_file(one: Made) -> str | None:
    path = Path(one.name)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        beside(path).unlink(missing_ok=True)
        if path.is_dir() or digest(path.read_bytes()) not in one.marks:
            return "it was changed since"
        path.unlink()
        sync(path.parent)
    return None


def _take_folder(one: Made) -> str | None:
    path = Path(one.name)
    if path.exists() and not path.is_dir():
        return "it is no folder any more"
    try:
        path.rmdir()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return "something is in it" if os.listdir(path) else "it is in use"
    sync(path.parent)
    return None


def _take_service(one: Made) -> str | None:
    stop(one.name)
    return None
