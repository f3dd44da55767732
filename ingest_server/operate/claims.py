"""``ingest-server claim``: tokens with which many devices get one of their own."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing

from edge_host.clock import SystemClock, rfc3339
from ingest_server.auth.tokens import claim_hash, new_claim
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.noting import note
from ingest_server.operate.text import counted, moment, print_table
from ingest_server.storage.interface import ClaimRecord


class ClaimCommands(Commands):
    """The commands; they work beside a running server, and at once."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        claim = commands.add_parser(
            "claim", help="claim tokens: many devices share one, and each gets its own token for it"
        )
        actions = claim.add_subparsers(required=True, metavar="ACTION")
        add = actions.add_parser(
            "add",
            parents=[common],
            help="make a claim token; it is printed once, as the last line of stdout",
        )
        add.add_argument(
            "--devices", type=int, required=True, metavar="N", help="how many devices may use it"
        )
        add.add_argument(
            "--expires", type=moment, required=True, metavar="WHEN", help="2027-01-31, 12h, 30d"
        )
        add.set_defaults(command=self._add, begins=True)
        listed = actions.add_parser("list", parents=[common], help="show claim tokens by their ids")
        listed.add_argument("--json", action="store_true", help="as a JSON array")
        # For the dry run of setup, which brings no older database up to date.
        listed.add_argument(
            "--read-only", dest="rehearses", action="store_true", help=argparse.SUPPRESS
        )
        listed.set_defaults(command=self._list)
        revoke = actions.add_parser(
            "revoke", parents=[common], help="end a claim token; its devices keep their tokens"
        )
        revoke.add_argument("claim_id", metavar="CLAIM_ID")
        revoke.set_defaults(command=self._revoke)

    def _add(self, options: argparse.Namespace) -> int:
        if options.devices < 1:
            self._complain("--devices is at least 1")
            return 2
        token, claim_id = new_claim()
        now = rfc3339(SystemClock().now_utc())
        claim = ClaimRecord(claim_id, now, options.expires, options.devices, 0, None)
        with closing(self._data.state(options)) as state:
            state.access.add_claim(claim, claim_hash(token))
        note(self._config(options), "claim.add", object_=claim_id)
        print(
            f"Claim token {claim_id} for {counted(options.devices, 'device')} until {options.expires}. It is "
            "shown this once: put it on the image.",
            file=sys.stderr,
        )
        print(token)
        return 0

    def _list(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            found = state.access.claims()
        if options.json:
            keys = ("claim_id", "created_at", "expires_at", "devices", "used", "revoked_at")
            print(json.dumps([{key: getattr(one, key) for key in keys} for one in found], indent=2))
            return 0
        print_table(
            ("CLAIM", "CREATED", "EXPIRES", "USED", "REVOKED"),
            [
                (
                    one.claim_id,
                    one.created_at,
                    one.expires_at,
                    f"{one.used}/{one.devices}",
                    one.revoked_at or "no",
                )
                for one in found
            ],
            none="There is no claim token: ingest-server claim add makes one.",
        )
        return 0

    def _revoke(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            is_gone = state.access.revoke_claim(options.claim_id, rfc3339(SystemClock().now_utc()))
        if not is_gone:
            self._complain(f"no claim token that is still good is called {options.claim_id!r}")
            return 1
        note(self._config(options), "claim.revoke", object_=options.claim_id)
        print("Revoked, at once; the devices that used it keep their tokens.", file=sys.stderr)
        return 0
