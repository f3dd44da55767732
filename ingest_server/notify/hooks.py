"""The operator's own Python functions, called when something happened to an upload.

``created``, ``completed``, ``failed`` and ``expired`` are called after the commit, from the outbox:
one that raises is called again later and loses nothing. ``before_publish`` is asked about a verified
file before it is published, and may refuse.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from ingest_server.core import events
from ingest_server.core.choosing import Wanted
from ingest_server.core.errors import Refused, SettingError
from ingest_server.core.events import Event
from ingest_server.core.record import UploadRecord
from ingest_server.notify.deliveries import Outcome, Told

Hook = Callable[[dict[str, Any]], object]
Check = Callable[[dict[str, Any], Path], object]

TYPES: Mapping[str, str] = {
    "created": events.CREATED,
    "completed": events.COMPLETED,
    "failed": events.FAILED,
    "expired": events.EXPIRED,
}
"""Name of a hook in the configuration -> what it is told of."""

MAX_REASON = 200

log = structlog.get_logger()


class RefuseUpload(Exception):  # noqa: N818 - an answer, not a fault
    """Raised by a ``before_publish`` hook: the file is not published; its text says why."""


class HookError(SettingError):
    """A hook of the configuration cannot be loaded."""


def load(key: str, entry: str) -> Callable[..., object]:
    """Return the function that *entry*, ``module:function``, names.

    Raises:
        HookError: there is none.
    """
    module_name, _, name = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise HookError(
            f"[hooks] {key}: the module {module_name} cannot be imported "
            f"({type(error).__name__}: {error}): install it where ingest-server is installed"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        raise HookError(f"[hooks] {key}: {module_name} has no function {name}")
    return found  # type: ignore[no-any-return] # callable() is all that is known of it


class HookTarget:
    """A function as a target of events."""

    def __init__(self, key: str, function: Hook) -> None:
        self._key = key
        self._function = function

    @property
    def name(self) -> str:
        return f"hook:{self._key}"

    @property
    def wanted(self) -> Sequence[Wanted]:
        return (Wanted(frozenset({TYPES[self._key]})),)

    def tell(self, event: Event) -> Told:
        try:
            self._function(event.to_json())
        except Exception as error:
            log.exception("hook.failed", hook=self._key, event_id=event.id)
            return Told(Outcome.FAILED, f"{type(error).__name__}: {error}"[:MAX_REASON])
        return Told(Outcome.DONE)


def before_publish(check: Check) -> Callable[[UploadRecord, Path], None]:
    """Return *check* as the publisher asks it.

    A check that fails by itself lets nothing through: the client is told to come back, and the
    upload keeps its bytes.
    """

    def ask(record: UploadRecord, path: Path) -> None:
        try:
            check(events.upload_data(record), path)
        except RefuseUpload as refusal:
            log.warning("upload.refused", upload_id=record.id, device_id=record.device)
            raise Refused(
                "upload-refused", str(refusal)[:MAX_REASON] or "no reason given"
            ) from None
        except Exception as error:
            log.exception("hook.failed", hook="before_publish", upload_id=record.id)
            raise Refused(
                "server-busy", "a check before publishing failed; it is tried again",
                retry_after_s=60,
            ) from error  # fmt: skip

    return ask
