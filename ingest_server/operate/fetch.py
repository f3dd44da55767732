"""``ingest-server fetch``: recordings are sent before all others; a running server takes that up within seconds."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from edge_host.clock import SystemClock
from ingest_server.core.errors import Refused
from ingest_server.fleet.commands import as_it_stands
from ingest_server.fleet.operations import Operations
from ingest_server.fleet.service import FleetService
from ingest_server.operate.commands import Commands, Parser, Parsers, wait_for_news
from ingest_server.operate.text import past, shown
from ingest_server.storage.interface import FleetStore
from ingest_server.storage.interface.fleet import OPEN

_GOES_ON = (
    "the fetch goes on without this command. The page of {device} says under Control what comes of it; the "
    "same fetch again waits for what is still to come"
)
_IS_OVER = (
    "ingest-server devices says when {device} was seen last; the same fetch again asks it anew for what is "
    "still to come"
)


class FetchCommand(Commands):
    """The command."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        fetch = commands.add_parser(
            "fetch",
            parents=[common],
            help="have a device send recordings before all others",
            description="Has a device send recordings before all others, also those that it holds "
            "back. Choose them by name (PATTERN), by time (--from, --to), or both. The command ends when "
            "they have arrived.",
        )
        fetch.add_argument("device", metavar="DEVICE")
        fetch.add_argument("pattern", nargs="?", metavar="PATTERN", help="such as 'DJI_004*'")
        fetch.add_argument(
            "--from",
            dest="since",
            type=past,
            metavar="WHEN",
            help="last written since then: 2027-01-31, 12h",
        )
        fetch.add_argument(
            "--to",
            dest="until",
            type=past,
            metavar="WHEN",
            help="last written until then: 2027-01-31, 2h",
        )
        fetch.add_argument("--metered", action="store_true", help="also over a metered link")
        fetch.add_argument(
            "--no-wait", action="store_true", help="do not wait until they have arrived"
        )
        fetch.set_defaults(command=self._fetch)

    def _fetch(self, options: argparse.Namespace) -> int:
        given = {"name": options.pattern, "from": options.since, "to": options.until}
        query = {key: one for key, one in given.items() if one}
        if not query:
            self._complain("say what is to be fetched: a PATTERN, --from or --to")
            return 2
        store = self._data.fleet(options)
        if store is None:
            self._complain("no device has reported here yet: see docs/fleet.md")
            return 1
        try:
            operations = Operations(_service(store))
            args: dict[str, Any] = {"query": query, "metered": options.metered}
            made = operations.give(options.device, "fetch", args, None, "cli")
            usual = f"by {made['seen_by']}" if made["seen_by"] else "once it is back"
            heard = made["message"] or usual
            print(f"{options.device} hears of it {heard} (command {made['id']}).", file=sys.stderr)
            if self._data.is_unserved(options):
                self._complain(
                    "no server runs here at the moment: the device hears of it once one does"
                )
            return 0 if options.no_wait else self._wait(store, options.device, made["id"])
        except KeyboardInterrupt:
            self._complain(_GOES_ON.format(device=options.device))
            raise
        except Refused as refused:
            self._complain(refused.detail)
            return 1
        finally:
            store.close()

    def _wait(self, store: FleetStore, device: str, command_id: str) -> int:
        told: object = None
        while True:
            found = store.command(device, command_id)
            if found is None:
                self._complain("the command is gone: the server has begun its database anew")
                return 1
            found = as_it_stands(found, SystemClock().now_utc())
            news = (found.status, found.message)
            if news != told and found.status not in OPEN:
                print(f"{found.status}: {shown(found.message or found.code or '')}")
                told = news
            if found.status not in OPEN and found.status != "accepted":
                # A duplicate is an older agent's: its code alone says what the command had come to.
                if found.status == "expired":
                    self._complain(_IS_OVER.format(device=device))
                is_done = found.status == "done" or (found.status, found.code) == (
                    "duplicate",
                    "ok",
                )
                return 0 if is_done else 1
            wait_for_news()


def _service(store: FleetStore) -> FleetService:
    service = FleetService(store, SystemClock())
    service.start()
    return service
