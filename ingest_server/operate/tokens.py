"""``ingest-server token``: which devices may come in."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing

from edge_host.clock import SystemClock, rfc3339
from ingest_server.auth.authentication import GROUP, SCOPE_UPLOAD, SCOPES
from ingest_server.auth.tokens import issue
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.noting import note
from ingest_server.operate.text import counted, moment, print_table
from upload_protocol.headers import is_device_id


class TokenCommands(Commands):
    """The commands; they work beside a running server, and at once."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        token = commands.add_parser("token", help="add, list and revoke the tokens of devices")
        tokens = token.add_subparsers(required=True, metavar="ACTION")
        add = tokens.add_parser(
            "add",
            parents=[common],
            help="make a token; it is printed once, as the last line of stdout",
        )
        add.add_argument("device", metavar="DEVICE", help="lower case letters, digits, _ and -")
        add.add_argument("--expires", type=moment, metavar="WHEN", help="2027-01-31, 12h, 90d, 2y")
        add.add_argument(
            "--scope",
            action="append",
            choices=SCOPES,
            help="upload (default), status (read only), admin (every device); may be repeated",
        )
        add.add_argument(
            "--group",
            action="append",
            metavar="NAME",
            help="a group for [[route]], [[notify]] and [[webhook]]; may be repeated",
        )
        add.set_defaults(command=self._add, begins=True)
        listed = tokens.add_parser("list", parents=[common], help="show tokens by their ids")
        listed.add_argument("--json", action="store_true", help="as a JSON array")
        listed.set_defaults(command=self._list)
        revoke = tokens.add_parser("revoke", parents=[common], help="end tokens at once")
        revoke.add_argument(
            "which", metavar="DEVICE|TOKEN_ID", help="all tokens of a device, or one token"
        )
        revoke.set_defaults(command=self._revoke)

    def _add(self, options: argparse.Namespace) -> int:
        device: str = options.device
        if not is_device_id(device):
            self._complain(
                f"{device!r} is no device id: 1 to 63 of a-z, 0-9, _ and -, starting with a letter "
                "or digit"
            )
            return 2
        groups: list[str] = options.group or []
        wrong = next((one for one in groups if not is_device_id(one)), None)
        if wrong is not None:
            self._complain(f"{wrong!r} is no group: 1 to 63 of a-z, 0-9, _ and -")
            return 2
        scopes = tuple(dict.fromkeys(options.scope or (SCOPE_UPLOAD,)))
        scopes += tuple(f"{GROUP}{one}" for one in dict.fromkeys(groups))
        issued = issue(device, SystemClock().now_utc(), scopes=scopes, expires_at=options.expires)
        with closing(self._data.state(options)) as state:
            now = rfc3339(SystemClock().now_utc())
            older = [
                one.token_id
                for one in state.access.tokens()
                if one.device == device and (one.expires_at is None or one.expires_at > now)
            ]
            state.access.add_token(issued.record)
        note(self._config(options), "token.add", device=device, object_=issued.record.token_id)
        if older:
            self._complain(
                f"{device} has had {_counted(older)} before, valid still; end each of them when the "
                f"device has the new one: ingest-server token revoke {older[0]}"
            )
        until = f" until {options.expires}" if options.expires else ""
        print(
            f"Token {issued.record.token_id} for {device}, valid at once{until}. It is shown this "
            "once: put it into the device's token file.",
            file=sys.stderr,
        )
        print(issued.token)
        return 0

    def _list(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            found = state.access.tokens()
        if options.json:
            rows = [
                {
                    "token_id": one.token_id,
                    "device": one.device,
                    "created_at": one.created_at,
                    "last_used_at": one.last_used_at,
                    "expires_at": one.expires_at,
                    "scopes": list(one.scopes),
                    "replaces": one.replaces,
                }
                for one in found
            ]
            print(json.dumps(rows, indent=2))
            return 0
        print_table(
            ("TOKEN", "DEVICE", "CREATED", "LAST USED", "EXPIRES", "SCOPES"),
            [
                (
                    one.token_id,
                    one.device,
                    one.created_at,
                    one.last_used_at or "never",
                    one.expires_at or "never",
                    " ".join(one.scopes),
                )
                for one in found
            ],
            none="There is no token: ingest-server token add DEVICE makes one.",
        )
        return 0

    def _revoke(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            count = state.access.revoke(options.which)
        if count == 0:
            self._complain(f"no token and no device with a token is called {options.which!r}")
            return 1
        note(self._config(options), "token.revoke", object_=options.which)
        print(f"{counted(count, 'token')} revoked, at once.", file=sys.stderr)
        return 0


def _counted(token_ids: Sequence[str]) -> str:
    return f"token{'s' if len(token_ids) > 1 else ''} {', '.join(token_ids)}"
