"""What senders of commands are answered, until they have been told.

Answers to what was executed are in the database; those to what was refused, or repeated, are in memory
alone and bounded, so that nonsense without end costs no write. Who misses one sends the command again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.core.command import Command, Refusal
from edge_agent.operate.command_handlers import Outcome
from edge_agent.report.command_port import Ack, Via
from edge_agent.store.command_log import CommandLog, Taken
from edge_host.clock import rfc3339

log = structlog.get_logger()

_KEPT_IN_MEMORY = 100
"""Of each way."""


class CommandAnswers:
    """Safe to use from several threads."""

    def __init__(self, commands: CommandLog, *, clock: Clock, boot_id: str) -> None:
        self._commands = commands
        self._clock = clock
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._light: dict[Via, deque[Ack]] = {}
        self._numbers = 0

    def write(
        self, command: Command, outcome: Outcome, *, before: Mapping[str, Any] | None = None
    ) -> bool:
        """Keep what became of *command*, durably; return whether that is other than *before*.

        Raises:
            StoreError: not kept; the command counts as not executed to its end.
        """
        ack = self._document(command.id, command.cmd, outcome)
        if before is not None and _says(before) == _says(ack):
            return False
        self._commands.answer(command.id, ack, is_final=outcome.status != "accepted")
        return True

    def refuse(self, refusal: Refusal, via: Via) -> None:
        """Keep that a command is not executed, if anybody can be told."""
        if refusal.id is not None:
            outcome = Outcome(refusal.message, status=refusal.status, code=refusal.code)
            self._keep(via, self._document(refusal.id, refusal.cmd, outcome))

    def repeat(self, known: Taken, via: Via) -> None:
        """Keep that a command came before, with what was answered then."""
        if known.via == via and known.ack is not None and not known.is_told:
            return  # its answer is on its way
        ack = known.ack or {}
        outcome = Outcome(
            ack.get("message", "it is being executed"),
            ack.get("result", {}),
            status="duplicate",
            code=ack.get("code", "ok"),
        )
        document = self._document(known.command.id, known.command.cmd, outcome)
        self._keep(via, {**document, "first_status": ack.get("status", "accepted")})

    def _keep(self, via: Via, document: dict[str, Any]) -> None:
        with self._lock:
            self._numbers -= 1  # below 0: no number of an answer in the database
            ack = Ack(document["id"], document["status"], document, self._numbers)
            self._light.setdefault(via, deque(maxlen=_KEPT_IN_MEMORY)).append(ack)

    def untold(self, via: Via, limit: int) -> list[Ack]:
        """Return what is not told yet over *via*, executed commands first, each kind oldest first."""
        try:
            taken = self._commands.untold(via, limit)
        except StoreError as error:
            log.warning("command.acks_unread", error=str(error), action="the next look reads them")
            taken = []
        found = [
            Ack(one.command.id, one.ack["status"], one.ack, one.changes)
            for one in taken
            if one.ack is not None
        ]
        with self._lock:
            found += self._light.get(via, ())
        return found[:limit]

    def told(self, via: Via, acks: Iterable[Ack]) -> None:
        """Forget those of *acks* that were refusals, and note that the others have arrived."""
        done = list(acks)
        light = {one.key for one in done if one.key < 0}
        with self._lock:
            kept = [one for one in self._light.get(via, ()) if one.key not in light]
            self._light[via] = deque(kept, maxlen=_KEPT_IN_MEMORY)
        if durable := [(one.id, one.key) for one in done if one.key > 0]:
            try:
                self._commands.told(durable)
            except StoreError as error:
                log.warning("command.told_unwritten", error=str(error), action="told once more")

    def _document(self, command_id: str, cmd: str | None, outcome: Outcome) -> dict[str, Any]:
        return {
            "v": 1,
            "id": command_id,
            "cmd": cmd,
            "status": outcome.status,
            "code": outcome.code,
            "message": outcome.message,
            "result": dict(outcome.result),
            "ts": rfc3339(self._clock.now_utc()),
            "boot_id": self._boot_id,
        }


def _says(ack: Mapping[str, Any]) -> tuple[object, ...]:
    return ack["status"], ack["code"], ack["message"], ack["result"]
