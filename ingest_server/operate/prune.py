"""``ingest-server prune``: the database forgets what is over, beside a running server."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from edge_host.clock import SystemClock, rfc3339
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.text import counted, size, span
from ingest_server.storage.interface import StateStore, Transaction
from ingest_server.storage.interface.keeping import STEP

PAUSE_S = 0.02
"""Between two steps: the server's own commits take their turn then."""


class PruneCommand(Commands):
    """The command."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        prune = commands.add_parser(
            "prune",
            parents=[common],
            help="delete old records from the database, but never the receipt of a published file",
            description="Deletes old records from the database: uploads that ended without a file, "
            "uploads whose file [retention] has removed, events that were delivered or given up, and the "
            "notes and metadata of complete uploads. Of a file that is still published, the database "
            "keeps device, name, length, digest, identity and receipt for good. The server may run. By "
            "itself, it deletes such uploads without a file, and such events, after 30 days.",
        )
        prune.add_argument(
            "--older-than",
            type=span,
            default=timedelta(days=30),
            metavar="TIME",
            help="what ended so long ago, counted while the server ran (default: 30d)",
        )
        prune.set_defaults(command=self._prune)

    def _prune(self, options: argparse.Namespace) -> int:
        state = self._data.state(options)
        try:
            before_s = state.uptime_s() - options.older_than.total_seconds()
            before = rfc3339(SystemClock().now_utc() - options.older_than)
            ended = _forgotten(state, lambda rows: rows.forget_ended(before_s))
            removed = _forgotten(state, lambda rows: rows.forget_removed(before_s, before))
            events = _forgotten(state, lambda rows: rows.forget_events(before_s))
            texts = sum(_texts(state, before_s))
            state.run(lambda rows: rows.forget_contacts(before))
            given_back = sum(_given_back(state))
            sizes, uptime_s = state.sizes(), state.uptime_s()
        except OverflowError:
            self._complain("--older-than goes back further than the calendar")
            return 2
        finally:
            state.close()
        if before_s <= 0 and options.older_than:
            print(
                f"The server has run for {uptime_s / 86400:.1f} days in all, so nothing is older "
                f"than {options.older_than / timedelta(days=1):g} days; see --older-than."
            )
        print(
            f"Forgotten: {counted(ended, 'upload')} that ended without a file, "
            f"{counted(removed, 'upload')} whose file was removed, {counted(events, 'event')}, "
            f"notes and metadata of {counted(texts, 'complete upload')}.\n"
            f"Given back to the disk: {size(given_back)}. The database has {size(sizes.stored)}, "
            f"{size(sizes.free)} of it free for what comes next."
        )
        return 0


def _forgotten(state: StateStore, forget: Callable[[Transaction], int]) -> int:
    count = 0
    while True:
        found = state.run(forget)
        count += found
        if found < STEP:
            return count
        _let_others_write()


def _texts(state: StateStore, before_s: float) -> Iterator[int]:
    after: str | None = ""
    while after is not None:
        count, after = state.run(_TextsAfter(before_s, after))
        yield count
        _let_others_write()


@dataclass(frozen=True, slots=True)
class _TextsAfter:
    """A step, as a job."""

    before_s: float
    after: str

    def __call__(self, rows: Transaction) -> tuple[int, str | None]:
        return rows.forget_texts(self.before_s, after=self.after)


def _given_back(state: StateStore) -> Iterator[int]:
    while given_back := state.give_back():
        yield given_back
        _let_others_write()


def _let_others_write() -> None:
    threading.Event().wait(PAUSE_S)
