"""``ingest-server user``: the people who may log in to the page."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from contextlib import closing

from edge_host.clock import SystemClock, rfc3339
from ingest_server.auth import passwords
from ingest_server.auth.operators import OPERATOR, ROLES
from ingest_server.auth.sessions import is_user_name
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.noting import note
from ingest_server.operate.text import print_table
from ingest_server.storage.interface import UserRecord


class UserCommands(Commands):
    """The commands; they work beside a running server, and at once."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        user = commands.add_parser(
            "user", help="add, list and remove people who may log in to the page"
        )
        users = user.add_subparsers(required=True, metavar="ACTION")
        add = users.add_parser(
            "add",
            parents=[common],
            help="add a user; asks for the password, or reads a line of stdin",
        )
        add.add_argument("name", metavar="NAME", help="lower case letters, digits, . _ @ and -")
        add.add_argument(
            "--role",
            choices=ROLES,
            default=OPERATOR,
            help="operator (default), or viewer, who only looks",
        )
        add.set_defaults(command=self._add, begins=True)
        listed = users.add_parser("list", parents=[common], help="show users")
        listed.add_argument("--json", action="store_true", help="as a JSON array")
        listed.set_defaults(command=self._list)
        password = users.add_parser(
            "password", parents=[common], help="change a password; ends the user's sessions"
        )
        password.add_argument("name", metavar="NAME")
        password.set_defaults(command=self._password)
        remove = users.add_parser(
            "remove", parents=[common], help="remove a user, and end the sessions at once"
        )
        remove.add_argument("name", metavar="NAME")
        remove.set_defaults(command=self._remove)

    def _add(self, options: argparse.Namespace) -> int:
        name: str = options.name
        if not is_user_name(name):
            self._complain(
                f"{name!r} is no user name: 1 to 64 of a-z, 0-9, . _ @ and -, starting with a letter "
                "or digit"
            )
            return 2
        stored = self._new_password(name)
        if stored is None:
            return 1
        now = rfc3339(SystemClock().now_utc())
        with closing(self._data.state(options)) as state:
            is_new = state.users.add(UserRecord(name, options.role, stored, now, now))
        if not is_new:
            self._complain(
                f"there is a user {name} already; another password: ingest-server user password "
                f"{name}"
            )
            return 1
        note(self._config(options), "user.add", object_=name)
        print(f"{name} may log in, at once, as {options.role}.", file=sys.stderr)
        if not self._config(options).page_is_on:
            self._complain(
                "the page is off, since other machines can reach this server: set [page] enabled = "
                "true, and restart it"
            )
        return 0

    def _list(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            found = state.users.users()
        keys = ("name", "role", "created_at", "changed_at")
        if options.json:
            print(json.dumps([{key: getattr(one, key) for key in keys} for one in found], indent=2))
            return 0
        print_table(
            ("NAME", "ROLE", "CREATED", "PASSWORD SINCE"),
            [tuple(str(getattr(one, key)) for key in keys) for one in found],
            none="Nobody may log in: ingest-server user add NAME adds somebody.",
        )
        return 0

    def _password(self, options: argparse.Namespace) -> int:
        name: str = options.name
        with closing(self._data.state(options)) as state:
            if state.users.user(name) is None:
                return self._is_unknown(name)
            stored = self._new_password(name)
            if stored is None:
                return 1
            now = rfc3339(SystemClock().now_utc())
            if not state.users.set_password(name, stored, now):
                return self._is_unknown(name)
        note(self._config(options), "user.password", object_=name)
        print(f"{name} has the new password, and logs in again with it.", file=sys.stderr)
        return 0

    def _remove(self, options: argparse.Namespace) -> int:
        name: str = options.name
        with closing(self._data.state(options)) as state:
            if not state.users.remove(name):
                return self._is_unknown(name)
        note(self._config(options), "user.remove", object_=name)
        print(f"{name} is removed and logged out everywhere, at once.", file=sys.stderr)
        return 0

    def _is_unknown(self, name: str) -> int:
        self._complain(f"there is no user {name!r}")
        return 1

    def _new_password(self, name: str) -> str | None:
        """Return a password as it is stored; None: it was said why there is none."""
        if sys.stdin.isatty():
            password = getpass.getpass(f"Password for {name}: ")
            if getpass.getpass("Once more: ") != password:
                self._complain("the two are not the same; nothing has changed")
                return None
        else:
            line = sys.stdin.buffer.readline(2 * passwords.MOST_BYTES)
            password = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        fault = passwords.fault_of(password)
        if fault is not None:
            self._complain(f"{fault}; nothing has changed")
            return None
        return passwords.hashed(password)
