"""Asking the running agent at its control socket; who answers is `control_socket`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_agent.base.errors import AgentError

_WENT_AWAY = "the agent went away before the end of its answer: it stops or starts anew; ask again"


class NotRunningError(AgentError):
    """No agent listens there."""


class ControlError(AgentError):
    """The agent refused the request, or went away."""


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Give a name for *path* that fits into a socket address (108 bytes), however deep it lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def ask(path: Path, request: Mapping[str, Any], *, timeout_s: float = 15.0) -> Iterator[Any]:
    """Send *request* to the agent that listens at *path*, and yield its answers.

    Raises:
        NotRunningError: nobody listens there.
        ControlError: the agent refused, or was silent for *timeout_s*, or went away before it had
            answered at all, or this user may not ask.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            with short_name(path) as name:
                client.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            msg = f"no agent listens at {path}: start it, or see that this is its socket"
            raise NotRunningError(msg) from None
        except OSError as error:
            msg = f"the agent at {path} cannot be asked: {error.strerror}"
            if isinstance(error, PermissionError):
                msg += "; run this as the agent's user, or as root"
            raise ControlError(msg) from None
        try:
            # Whom the agent turns away it does not listen to: its sentence is there all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(json.dumps(dict(request)).encode() + b"\n")
            with client.makefile("rb") as lines:
                yield from _answers(lines)
        except TimeoutError:
            msg = f"the agent did not answer within {timeout_s:.0f} s"
            raise ControlError(msg) from None
        except (OSError, ValueError):
            raise ControlError(_WENT_AWAY) from None


def _answers(lines: Iterable[bytes]) -> Iterator[Any]:
    has_answered = False
    for line in lines:
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise ControlError(str(answer["error"]))
        has_answered = True
        yield answer
    if not has_answered:
        raise ControlError(_WENT_AWAY)
