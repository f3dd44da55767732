"""``ingest-server migrate``: from one machine to a database and a bucket that several servers share, step by step."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from edge_host.clock import Clock, SystemClock
from edge_host.command_line import given_path
from ingest_server.assembly.bytes_place import bucket_of
from ingest_server.assembly.command_data import CommandData, become_owner
from ingest_server.assembly.data_folder import open_as_it_is, postgres_state
from ingest_server.assembly.moving_facts import (
    move_facts,
)
from ingest_server.assembly.moving_files import (
    Copied,
    FilesMove,
    alone,
    look_at_source,
)
from ingest_server.assembly.pace import Pace
from ingest_server.assembly.relocated import Mark, is_carried
from ingest_server.assembly.way_back import undo
from ingest_server.config import ServerConfig, load
from ingest_server.core.errors import ServerError
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.migrate_outlook import Outlook
from ingest_server.operate.text import counted, shown, size
from ingest_server.storage.sql.relocation import Amount, Relocation

TELL_EVERY_S = 60.0


class MigrateCommand(Commands):
    """The command."""

    def __init__(self, data: CommandData) -> None:
        super().__init__(data)
        self._clock: Clock = SystemClock()

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        parser = commands.add_parser(
            "migrate",
            parents=[common],
            help="move to PostgreSQL, a bucket, or both, while devices go on uploading",
            description="Moves a server from its data folder to the places that another configuration names. "
            "Each call does the next step, and says what comes after it. First the facts, while no server runs: "
            "tokens, users, uploads, receipts, events, what devices report. Then the published files, beside "
            "the new server; this may be stopped at any time, and goes on where it was. Nothing is deleted where "
            "it was. Exit code 1: something is still to be done by you. See docs/migrate.md.",
        )
        parser.add_argument(
            "--to",
            type=given_path,
            metavar="FILE",
            help="the new configuration (default: that of --config, once the facts are moved)",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="change nothing: say how much there is, and how long it takes",
        )
        parser.add_argument(
            "--rate",
            type=_rate,
            metavar="SIZE",
            help="bytes per second at most, sent and read back together, such as 20MB (default: no limit)",
        )
        parser.add_argument(
            "--back",
            action="store_true",
            help="with --to: let the old server start again, if nothing has come to the new one yet",
        )
        parser.set_defaults(command=self._run)

    def _run(self, options: argparse.Namespace) -> int:
        now = self._config(options)
        new = now if options.to is None else load(options.to, environ=os.environ)
        folder = new.storage.before or now.server.data_dir
        become_owner(folder)
        mark = Mark.of(folder)
        if mark is not None and not mark.leads_to(new):
            raise ServerError(
                f"{folder} was moved to {mark.where}, and the new configuration names other places. Name those "
                "with --to FILE"
            )
        is_begun = mark is not None and self._has_facts(new, mark, read_only=options.dry_run)
        if options.to is None and not is_begun:
            raise ServerError("Nothing is being moved. Name the new configuration: --to FILE")
        if options.back:
            return self._back(now, new, mark)
        if options.dry_run:
            outlook = Outlook(now, new, self._clock, complain=self._complain)
            return outlook.tell(options.rate, is_begun=is_begun)
        if not is_begun:
            return self._first(now, new)
        if new.storage.blobs is None:
            print("The facts are moved, and the files stay where they are: nothing is left to do.")
            return 0
        return self._second(new, folder, options.rate)

    def _has_facts(self, new: ServerConfig, mark: Mark, *, read_only: bool) -> bool:
        # Tables that nobody has filled would look like a database that knows nothing.
        if new.storage.state is not None and postgres_state().is_unbegun(new.storage.state):
            return False
        with closing(open_as_it_is(new, read_only=read_only)) as state:
            return is_carried(new, state, mark)

    def _first(self, old: ServerConfig, new: ServerConfig) -> int:
        def watch(name: str, count: int) -> None:
            print(f"  {name}: {counted(count, 'row')}")

        print("Moving the facts.")
        move_facts(old, new, watch)
        print(
            "The facts are moved. Start the server with the new configuration now: devices go on with it."
        )
        if new.storage.blobs is not None:
            print(
                "Then run `ingest-server migrate` again, beside it: it copies the published files."
            )
        return 0

    def _back(self, old: ServerConfig, new: ServerConfig, mark: Mark | None) -> int:
        if mark is None:
            raise ServerError(
                "Nothing was moved: start the server with the configuration that it had"
            )
        undo(old, new, mark)
        print(
            "Done: start the server with the configuration that it had. What was copied stays where it is."
        )
        print("To move again later, name an empty database and a prefix that nobody has used.")
        return 0

    def _second(self, new: ServerConfig, folder: Path, rate: int | None) -> int:
        with (
            alone(folder),
            closing(open_as_it_is(new)) as state,
            closing(look_at_source(folder)) as before,
            closing(bucket_of(new)) as bucket,
        ):
            relocation = Relocation(state)
            if relocation.source() is None:
                return self._say_over(new, folder)
            bucket.prepare()
            waiting = relocation.waiting()
            print(f"Copying {counted(waiting.files, 'file')}, {size(waiting.length)}.")
            pace = Pace(rate, self._clock)
            move = FilesMove(
                state,
                relocation,
                before,
                bucket,
                clock=self._clock,
                pace=pace,
                tell=lambda said: self._complain(shown(said)),
                watch=self._progress(waiting),
            )
            unfinished = move.run()
        print(
            f"Copied {counted(move.done.files, 'file')}, {size(move.done.length)}. Each was read back, and is what "
            "its receipt says."
        )
        if move.done.spoiled or unfinished:
            return self._say_rest(move, unfinished, folder)
        return self._say_over(new, folder)

    def _progress(self, waiting: Amount) -> Callable[[Copied], None]:
        """Return what says now and then how far it has come."""
        due_s = self._clock.now_s() + TELL_EVERY_S

        def watch(done: Copied) -> None:
            nonlocal due_s
            if self._clock.now_s() >= due_s:
                due_s = self._clock.now_s() + TELL_EVERY_S
                print(
                    f"  {done.files:,} of {counted(waiting.files, 'file')}, {size(done.length)} of "
                    f"{size(waiting.length)}",
                    flush=True,
                )

        return watch

    def _say_rest(self, move: FilesMove, unfinished: list[str], folder: Path) -> int:
        if move.done.spoiled:
            print(f"{counted(move.done.spoiled, 'file')} could not be copied: see above.")
        if unfinished:
            print(
                f"{counted(len(unfinished), 'upload')} still arriving in {folder}: `ingest-server list` shows "
                "them. Run this again when they have ended."
            )
        return 1

    def _say_over(self, new: ServerConfig, folder: Path) -> int:
        print(
            f"All files are in {new.storage.blobs}. Take `before` out of [storage] and restart the server; others "
            f"may be started beside it now. Nothing needs {folder} any more"
            + (", but for what this server keeps there." if folder == new.server.data_dir else ".")
        )
        return 0


def _rate(text: str) -> int:
    try:
        rate = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        rate = 0
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes such as 500KB or 20MB")
    return rate
