"""Commands that were taken, so that none runs twice, and what each is answered, until that is told.

One is written down before it is executed and its answer after that: what has no final answer at the next
start is executed then, once more where the power was cut in the middle of it. What is refused leaves no
trace here: whoever sends nonsense without end wears no card.

Ages are counted in the device's running time, which is never more than the truth: no id is forgotten
sooner than it says here, however wrong the clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.core.command import LONGEST_AHEAD_S, Command
from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection
from edge_agent.store.running_time import RunningTime

SCHEMA = """
CREATE TABLE command (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  via TEXT NOT NULL,
  cmd TEXT NOT NULL,
  args TEXT NOT NULL,
  taken_s INTEGER NOT NULL,
  ack TEXT,
  is_final INTEGER NOT NULL DEFAULT 0,
  changes INTEGER NOT NULL DEFAULT 0,
  told INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX command_open ON command(seq) WHERE is_final = 0;
CREATE INDEX command_untold ON command(via, seq) WHERE changes > told;
"""

MAX_COMMANDS = 1000
KEPT_S = 86_400
_NEEDED_S = 2 * LONGEST_AHEAD_S
"""So long at least an id is known: when it is forgotten, whatever repeats it has long expired."""

_COLUMNS = "id, via, cmd, args, taken_s, ack, is_final, changes, told"


@dataclass(frozen=True, slots=True)
class Taken:
    """A command that was taken."""

    command: Command
    via: str
    taken_s: int
    """In the device's running time."""
    ack: Mapping[str, Any] | None
    """The last answer; None: it was not executed yet, or not to its end."""
    is_final: bool
    changes: int
    """How many answers it has had so far."""
    is_told: bool
    """Whether the last one has arrived where the command came from."""


class CommandLog:
    """Safe to use from several threads; durable when a method returns.

    Raises:
        StoreError: from any method, when the database cannot be read or written.
    """

    def __init__(self, database: Database, running: RunningTime) -> None:
        self._database = database
        self._running = running

    def find(self, command_id: str) -> Taken | None:
        return next(iter(self._select("WHERE id = ?", command_id)), None)

    def add(self, command: Command, via: str) -> bool:
        """Write down that *command* is to be executed.

        Returns:
            False: not written, for all that are remembered are too young to be forgotten.
        """
        now_s = self._running.now_s()
        with self._database.transaction() as run:
            run.execute("DELETE FROM command WHERE taken_s <= ?", (now_s - KEPT_S,))
            if not self._has_room(run, now_s):
                return False
            self._running.write(run)
            run.execute(
                "INSERT INTO command (id, via, cmd, args, taken_s) VALUES (?,?,?,?,?)",
                (command.id, via, command.cmd, json.dumps(dict(command.args)), now_s),
            )
        return True

    @staticmethod
    def _has_room(run: Connection, now_s: int) -> bool:
        (count,) = run.execute("SELECT count(*) FROM command").fetchone()
        if count < MAX_COMMANDS:
            return True
        found = run.execute(
            "DELETE FROM command WHERE seq IN (SELECT seq FROM command"
            " WHERE is_final = 1 AND taken_s <= ? ORDER BY seq LIMIT ?)",
            (now_s - int(_NEEDED_S), count - MAX_COMMANDS + 1),
        )
        return bool(count - found.rowcount < MAX_COMMANDS)

    def answer(self, command_id: str, ack: Mapping[str, Any], *, is_final: bool) -> None:
        """Keep *ack* as the last word on a command; it is to be told."""
        with self._database.transaction() as run:
            run.execute(
                "UPDATE command SET ack = ?, is_final = ?, changes = changes + 1 WHERE id = ?",
                (json.dumps(dict(ack)), int(is_final), command_id),
            )

    def unfinished(self) -> list[Taken]:
        """Return what has no final answer, oldest first."""
        return self._select("WHERE is_final = 0 ORDER BY seq")

    def untold(self, via: str, limit: int) -> list[Taken]:
        """Return what came over *via* and whose last answer did not go back yet, oldest first."""
        return self._select("WHERE via = ? AND changes > told ORDER BY seq LIMIT ?", via, limit)

    def told(self, told: Iterable[tuple[str, int]]) -> None:
        """Note of commands, by their ids, that the answer of so many `changes` has arrived."""
        with self._database.transaction() as run:
            run.executemany(
                "UPDATE command SET told = max(told, ?) WHERE id = ?",
                [(changes, command_id) for command_id, changes in told],
            )

    def _select(self, where: str, *values: object) -> list[Taken]:
        with self._database.reading() as run:
            # `where` is one of this module's own literals; every value is bound.
            rows = run.execute(f"SELECT {_COLUMNS} FROM command {where}", values).fetchall()
        return [
            Taken(
                command=Command(row[0], row[2], json.loads(row[3])),
                via=row[1],
                taken_s=row[4],
                ack=None if row[5] is None else json.loads(row[5]),
                is_final=bool(row[6]),
                changes=row[7],
                is_told=row[7] <= row[8],
            )
            for row in rows
        ]
