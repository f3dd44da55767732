"""``ingest-server webhook``: what webhooks were told, and telling it again."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing

from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.noting import note
from ingest_server.operate.text import print_table
from ingest_server.storage.interface import Delivery


class WebhookCommands(Commands):
    """The commands; they work beside a running server, and at once."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        webhook = commands.add_parser("webhook", help="show and repeat deliveries to webhooks")
        actions = webhook.add_subparsers(required=True, metavar="ACTION")
        listed = actions.add_parser("list", parents=[common], help="show deliveries, newest last")
        listed.add_argument("--json", action="store_true", help="as a JSON array")
        listed.add_argument(
            "--state", choices=["pending", "done", "dead"], help="only those in this state"
        )
        listed.set_defaults(command=self._list)
        replay = actions.add_parser(
            "replay", parents=[common], help="send again, also to a target that was disabled"
        )
        replay.add_argument(
            "which",
            metavar="EVENT_ID|TARGET|dead",
            help="one event; all that a target has not got; or all that was given up",
        )
        replay.set_defaults(command=self._replay)

    def _list(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            outbox = state.outbox
            found, disabled = outbox.listing(options.state), outbox.disabled()
        for target, since in sorted(disabled.items()):
            print(
                f"{target} is disabled since {since}: it answered 410. To go on: ingest-server "
                f"webhook replay {target}",
                file=sys.stderr,
            )
        if options.json:
            print(json.dumps([_document(one) for one in found], indent=2))
            return 0
        print_table(
            ("EVENT", "TYPE", "TIME", "TARGET", "STATE", "TRIES", "ERROR"),
            [
                (
                    one.event.id,
                    one.event.type,
                    one.event.time,
                    one.target,
                    one.state,
                    str(one.tries),
                    one.error or "",
                )
                for one in found
            ],
            none="No webhook was told anything"
            + (" yet." if options.state is None else f" that is {options.state}."),
        )
        return 0

    def _replay(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            count = state.outbox.replay(None if options.which == "dead" else options.which)
        if not count and options.which != "dead":
            self._complain(
                f"no event and no target with something left to tell is {options.which!r}"
            )
            return 1
        note(self._config(options), "webhook.replay", object_=options.which)
        print(f"{count} to be told again.", file=sys.stderr)
        return 0


def _document(delivery: Delivery) -> dict[str, object]:
    return {
        "target": delivery.target,
        "state": delivery.state,
        "tries": delivery.tries,
        "error": delivery.error,
        "event": delivery.event.to_json(),
    }
