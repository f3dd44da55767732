"""``ingest-server restore``: goes on from a copy of a database that is gone or damaged."""

from __future__ import annotations

import argparse

from edge_host.command_line import EXIT_DONE, given_path
from ingest_server.assembly.restoring import restore
from ingest_server.core.record import UNFINISHED
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.text import counted

_SINCE = (
    "What was acknowledged since that copy is not in it. Files published since are there, and a device that "
    "sends one again gets a receipt for it; uploads begun since are sent from the start.",
    "Tokens that were revoked since are valid again, and those that were added are gone: look at "
    "`ingest-server token list` before you start the server.",
)


class RestoreCommand(Commands):
    """For a server that does not run."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        parser = commands.add_parser(
            "restore",
            parents=[common],
            help="replace a database that is gone, damaged or too old by a copy",
            description="Replaces a database that is gone, damaged, or older than what was committed to "
            "it, by the newest copy that is whole. The old one is kept beside it (state.db.damaged-1). If "
            "no copy is newer, an older database stays. Any other database that can be read is not "
            "replaced. Stop the server first.",
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--from",
            dest="source",
            type=given_path,
            metavar="FILE",
            help="the copy (default: the server's newest own one)",
        )
        what.add_argument(
            "--empty", action="store_true", help="begin with a new database if there is no copy"
        )
        parser.set_defaults(command=self._restore)

    def _restore(self, options: argparse.Namespace) -> int:
        state, origin = restore(
            self._data.folder_to_restore(options), options.source, begins_empty=options.empty
        )
        try:
            complete = len(state.receipts())
            unfinished = len(state.in_states(*UNFINISHED))
            tokens = len(state.access.tokens())
        finally:
            state.close()
        print(f"The database is restored from {origin}.")
        print(
            f"It knows {counted(complete, 'published file')}, "
            f"{counted(unfinished, 'unfinished upload')}, {counted(tokens, 'token')}."
        )
        if not options.empty:
            print(*_SINCE, sep="\n")
        return EXIT_DONE
