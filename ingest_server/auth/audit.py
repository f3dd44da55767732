"""Who did what to what: one JSON line for each, for whoever has to find out later.

Not for debugging (`logs` is): a line here says that a credential was made, used up or refused, or
that an upload began or ended, by whom and from where. Secrets are never in it, token ids are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from edge_host.clock import rfc3339
from ingest_server.core.errors import Refused

log = structlog.get_logger()

_MODE = 0o640


@dataclass(frozen=True, slots=True)
class Asking:
    """The request on whose behalf something happens."""

    actor: str = "server"
    """A token's id; ``certificate DEVICE``; ``open`` in open mode; ``cli``; ``nobody`` while it is
    not known; ``server`` for what it does by itself."""
    remote: str | None = None
    request_id: str | None = None


_asking: ContextVar[Asking] = ContextVar("asking", default=Asking())  # noqa: B039 # frozen


def now_asking(actor: str, remote: str | None = None, request_id: str | None = None) -> None:
    """Say who asks, for everything that this thread does until the next call."""
    _asking.set(Asking(actor, remote, request_id))


@dataclass(slots=True)
class Entry:
    """What is known of an action while it runs."""

    object: str | None = None
    result: str = "ok"


class Audit:
    """Appends to a file, or to the log where there is none."""

    def __init__(self, path: Path | None, now_utc: Callable[[], datetime]) -> None:
        self._path = path
        self._now_utc = now_utc

    def note(
        self,
        action: str,
        *,
        device: str | None,
        object_: str | None,
        result: str = "ok",
        asking: Asking | None = None,
    ) -> None:
        """Write one line. That it cannot be written stops nothing, and is said in the log.

        Args:
            asking: on whose behalf; the request that this thread works on if None.
        """
        asking = asking or _asking.get()
        entry = {
            "ts": rfc3339(self._now_utc()),
            "actor": asking.actor,
            "device": device,
            "action": action,
            "object": object_,
            "result": result,
            "remote": asking.remote,
            "request_id": asking.request_id,
        }
        if self._path is None:
            log.info("audit.noted", **{key: entry[key] for key in entry if key != "ts"})
            return
        try:
            # Opened each time, so that it can be rotated away under a running server; one write
            # in append mode, so that the lines of several processes do not mix.
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                os.write(fd, (json.dumps(entry) + "\n").encode("ascii"))
            finally:
                os.close(fd)
        except OSError as error:
            log.error("audit.lost", error=str(error), path=str(self._path), entry=entry)  # noqa: TRY400 # a full disk is no bug

    @contextmanager
    def action(
        self, action: str, device: str | None, object_: str | None = None
    ) -> Iterator[Entry]:
        """Note what the body does, with the code of the refusal if it ends in one."""
        entry = Entry(object_)
        try:
            yield entry
        except Refused as refused:
            entry.result = refused.code
            raise
        except BaseException:
            entry.result = "internal"
            raise
        finally:
            self.note(action, device=device, object_=entry.object, result=entry.result)


class Unaudited(Audit):
    """For what is used without a server around it: nothing is noted."""

    def __init__(self) -> None:
        pass

    def note(self, *_args: object, **_named: object) -> None:
        pass
