"""The agent's database on a device whose power is cut at a commit, or whose disk is full for some of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from edge_agent.store.database import Database
from edge_agent.store.database_file import Connection


class PowerCut(BaseException):
    """The device is off. No ``except Exception`` hears of it."""


class MortalDatabase(Database):
    """Fails for ever from the commit on that is armed; and for some commits while its disk is full."""

    full = 0
    left: int | None = None
    is_kept = False
    is_dead = False

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        if self.is_dead:
            raise PowerCut
        is_last = False
        with super().transaction() as run:
            yield run
            if self.full > 0:
                self.full -= 1
                raise sqlite3.OperationalError("database or disk is full")
            if self.left is not None:
                self.left -= 1
                is_last = self.left <= 0
            if is_last and not self.is_kept:
                self.is_dead = True
                raise PowerCut
        if is_last:
            self.is_dead = True
            raise PowerCut
