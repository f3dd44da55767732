"""``ingest-server events``: what happened at devices, as they told it, beside a running server."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from typing import Any

from ingest_server.operate.commands import Commands, Parser, Parsers, wait_for_news
from ingest_server.operate.given_up import say_given_up
from ingest_server.operate.text import shown

_NO_EVENT = (
    "No event was told here. A device that has a broker tells its events there: [fleet] mqtt_url brings "
    "them here."
)


class EventsCommand(Commands):
    """The command."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        events = commands.add_parser(
            "events", parents=[common], help="show what happened on devices, newest last"
        )
        events.add_argument("--device", metavar="DEVICE", help="only those of this device")
        events.add_argument(
            "--limit", type=int, default=100, metavar="N", help="the newest N (100)"
        )
        events.add_argument(
            "--follow", action="store_true", help="keep running, and show new events"
        )
        events.add_argument("--json", action="store_true", help="one JSON document on each line")
        events.set_defaults(command=self._events)

    def _events(self, options: argparse.Namespace) -> int:
        fleet = self._data.fleet(options)
        if fleet is None:
            self._complain("no device has reported here yet: see docs/fleet.md")
            return 1
        try:
            with closing(self._data.state(options)) as state:
                say_given_up(state)
            limit, after = max(1, min(options.limit, 100_000)), None
            while True:
                found = fleet.events(options.device, after=after, limit=limit)
                for one in found:
                    event = json.loads(one.body)
                    print(json.dumps(event) if options.json else _line(one.at, one.device, event))
                if not options.follow:
                    if not found:
                        print(_NO_EVENT, file=sys.stderr)
                    return 0
                sys.stdout.flush()
                after, limit = (found[-1].number if found else after or 0), 1000
                wait_for_news()
        finally:
            fleet.close()


def _line(at: str, device: str, event: dict[str, Any]) -> str:
    data = event.get("data")
    said = data if isinstance(data, dict) else {}
    kind = str(event.get("type", "")).removeprefix("edgeup.")
    name, code, detail = (str(said.get(key) or "") for key in ("name", "code", "detail"))
    detail = detail.removeprefix(f"{code}: ")  # what a server said begins with the same
    words = (at, device, kind, name, code, detail)
    return shown("  ".join(word for word in words if word))
