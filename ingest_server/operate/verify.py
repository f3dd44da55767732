"""``ingest-server verify``: every published file, read and compared with its receipt."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing, suppress

from edge_host.clock import SystemClock
from edge_host.command_line import EXIT_DONE, EXIT_FAILED
from ingest_server.assembly.bytes_place import is_without_published, look_at_blobs
from ingest_server.assembly.command_data import enter
from ingest_server.assembly.data_folder import open_facts
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.text import shown
from ingest_server.upkeep import scrub_text
from ingest_server.upkeep.scrub import Report, Scrub
from ingest_server.upkeep.scrub_text import Bar


class VerifyCommand(Commands):
    """Reads beside a running server."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        verify = commands.add_parser(
            "verify",
            parents=[common],
            help="read every published file and compare it with its receipt; the server may run",
            description="Reads every published file and compares it with its receipt. A file that "
            "has changed is moved to quarantine/, and the server sends an event. The exit code is 1 if a "
            "file is corrupt or cannot be read. A file that somebody moved away is no fault.",
        )
        verify.add_argument("--json", action="store_true", help="the report as a JSON document")
        verify.add_argument(
            "--no-quarantine", action="store_true", help="leave corrupt files where they are"
        )
        verify.set_defaults(command=self._verify)

    def _verify(self, options: argparse.Namespace) -> int:
        config = self._config(options)
        data_dir = config.server.data_dir
        enter(data_dir)
        # A token makes the database; the first start of the server makes the folder.
        if is_without_published(config):
            self._complain(f"nothing was ever stored in {data_dir}: no server has run with it")
            return EXIT_FAILED
        report, bar = Report(), Bar(sys.stderr, SystemClock().now_s, shown)
        with (
            closing(open_facts(config)) as state,
            closing(look_at_blobs(config, state)) as blobs,
            closing(bar),
        ):
            sets_apart = not options.no_quarantine
            with suppress(KeyboardInterrupt):  # the report says that it is not whole
                Scrub(state, blobs, SystemClock(), sets_apart=sets_apart).run(bar, report)
        print(scrub_text.document(report) if options.json else scrub_text.summary(report))
        return EXIT_DONE if report.is_whole and not report.has_faults else EXIT_FAILED
