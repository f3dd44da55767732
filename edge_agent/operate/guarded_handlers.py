"""Commands that the owner of a device must allow by name, and the one that renews its token.

The log goes as a file through the upload path, as a recording does: a broker is no place for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.base import log_tail
from edge_agent.base.clock import Clock
from edge_agent.base.credentials import FOR_BROKER, FOR_SERVER, read_secret
from edge_agent.base.errors import ConfigError, StaleRecordingError
from edge_agent.base.settings import AgentSettings
from edge_agent.core.command import Command
from edge_agent.core.recording import FailureCode, Recording
from edge_agent.core.redaction import redacted
from edge_agent.core.upload import PENDING, Event, State
from edge_agent.media.folders import Folders
from edge_agent.media.handover import hand_over
from edge_agent.operate.command_handlers import (
    ARRIVED,
    CommandFailedError,
    Handler,
    Outcome,
    RecordingHandlers,
)
from edge_agent.send.enrolment import rotate
from edge_agent.send.sender import Sender
from edge_agent.send.wiring import hasty, make_transport
from edge_agent.store.failed import file_failed
from edge_agent.store.recordings import Store

LOGS = "logs"
"""In the state folder: logs on their way to the server."""


class GuardedHandlers:
    """Of one agent.

    Args:
        recordings: finds what a command names.
        reload: checks the configuration and has the agent take it over.
    """

    def __init__(
        self,
        settings: AgentSettings,
        store: Store,
        sender: Sender,
        recordings: RecordingHandlers,
        *,
        clock: Clock,
        folders: Folders,
        wake_watcher: Callable[[], None],
        reload: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._sender = sender
        self._recordings = recordings
        self._clock = clock
        self._folders = folders
        self._wake_watcher = wake_watcher
        self._reload = reload

    def handlers(self) -> dict[str, Handler]:
        return {
            "cancel": Handler(self._cancel),
            "reload": Handler(self._take_over),
            "rotate_token": Handler(self._rotate, is_long=lambda: True),
            "upload_log": Handler(self._upload_log, is_long=lambda: True),
        }

    def _cancel(self, command: Command) -> Outcome:
        found = self._recordings.find(command)
        if found.state in ARRIVED or found.state is State.SENT:
            message = f"it is too late for that: it is {found.state}, the server has all of it"
            raise CommandFailedError("too_late", message)
        if found.state in PENDING:
            try:
                _give_up(self._store, found)
            except StaleRecordingError:
                return self._cancel(command)  # another worker moved it this instant
        self._sender.forget(found.id)
        message = "it is not sent, its file stays, and the server is told; retry sends it after all"
        if found.state not in PENDING:
            message = "nothing of it was being sent"
        return Outcome(message)

    def _take_over(self, _command: Command) -> Outcome:
        try:
            self._reload()
        except ConfigError as error:
            message = f"refused, the old one stays in force: {'; '.join(error.problems[:5])}"
            raise CommandFailedError("config", message[:1000]) from None
        return Outcome("the configuration is in order and is taken over")

    def _rotate(self, _command: Command) -> Outcome:
        with make_transport(hasty(self._settings), self._clock) as transport:
            rotate(self._settings, transport)
        return Outcome("the token is a new one")

    def _upload_log(self, command: Command) -> Outcome:
        path = self._settings.state_dir / LOGS / f"agent-log-{command.id}.jsonl"
        recording = self._store.newest_at(os.fsencode(path.absolute()))
        if recording is None:
            recording = self._hand_over_log(path.absolute(), command.args["lines"])
        if recording.state in ARRIVED:
            _delete(path)
            result = {"file_id": recording.id, "published_as": recording.published_as}
            return Outcome("the server holds it", result)
        result = {"file_id": recording.id, "published_as": None}
        if recording.state is State.FAILED:
            message = recording.detail or recording.problem or "refused by the server"
            raise CommandFailedError("failed", message)
        return Outcome("it is on its way", result, status="accepted")

    def _hand_over_log(self, path: Path, lines: int) -> Recording:
        secrets = list(_secrets(self._settings))
        text = "".join(f"{redacted(line, secrets)}\n" for line in log_tail.last(lines))
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._tidy(path.parent)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(fd)
        except OSError as error:
            _delete(path)
            message = f"the log cannot be written to {path.parent}: {error.strerror}"
            raise CommandFailedError("disk", message) from None
        taken, refused = hand_over(self._store, [os.fsencode(path)], self._folders, now=True)
        if not taken:
            raise CommandFailedError("disk", f"the log cannot be sent: {refused[0].why}")
        self._wake_watcher()
        self._sender.wake()
        return taken[0]

    def _tidy(self, folder: Path) -> None:
        """Delete logs that are not on their way any more: of commands whose end nobody saw."""
        for path in folder.iterdir():
            recording = self._store.newest_at(os.fsencode(path))
            if recording is None or recording.state not in PENDING:
                path.unlink(missing_ok=True)


def _delete(path: Path) -> None:
    """Delete a log of ours; one that stays is deleted by the next."""
    with contextlib.suppress(OSError):
        path.unlink()


def _give_up(store: Store, recording: Recording) -> None:
    detail = "cancelled by an operator; edge-agent retry sends it after all"
    store.advance(
        recording,
        Event.REJECTED,
        tell=[file_failed(recording, FailureCode.CANCELLED, detail, is_permanent=True)],
        problem=FailureCode.CANCELLED,
        detail=detail,
        upload_id=None,
        idempotency_key=None,
    )


def _secrets(settings: AgentSettings) -> Iterator[str]:
    """Yield what this device logs in with, as far as it can be read."""
    for name, file in (
        (FOR_SERVER, settings.server.token_file),
        ("", settings.server.claim_token_file),
        (FOR_BROKER, settings.mqtt.password_file),
    ):
        try:
            found = read_secret(name, file)
        except ConfigError:
            continue
        if found is not None:
            yield found
