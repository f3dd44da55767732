"""Who may come in at the demo's server: its device by a token, a person by a password."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from demo.errors import DemoError
from demo.layout import DEVICE, PERSON, Layout
from edge_host.clock import SystemClock, rfc3339
from ingest_server.assembly.command_data import make_folder
from ingest_server.auth.operators import OPERATOR
from ingest_server.auth.passwords import hashed
from ingest_server.auth.tokens import issue
from ingest_server.core.errors import Refused, ServerError
from ingest_server.storage.interface import StateStore, UserRecord
from ingest_server.storage.sqlite.transactions import SqliteState


def let_in(layout: Layout) -> None:
    """Give device and person what they show at the server, where they have it not yet.

    Not by the server's own commands: the start of a program takes longer than all else here.

    Raises:
        DemoError: the server's database cannot be written.
    """
    is_new = not layout.server_data.exists()
    wants_token = is_new or not layout.token.exists()
    wants_password = is_new or not layout.page_password.exists()
    if not (wants_token or wants_password):
        return
    try:
        make_folder(layout.server_data)
        state = SqliteState.open(layout.server_data / "state.db")
        try:
            if wants_token:
                _write_secret(layout.token, _new_token(state))
            if wants_password:
                _write_secret(layout.page_password, _new_password(state))
        finally:
            state.close()
    except (OSError, Refused, ServerError) as error:
        msg = f"Nobody can be let in at the server of {layout.server_data}: {error}"
        raise DemoError(msg) from error


def _new_token(state: StateStore) -> str:
    issued = issue(DEVICE, SystemClock().now_utc())
    state.access.add_token(issued.record)
    return issued.token


def _new_password(state: StateStore) -> str:
    password, now = secrets.token_hex(6), rfc3339(SystemClock().now_utc())
    stored = hashed(password)
    if not state.users.add(UserRecord(PERSON, OPERATOR, stored, now, now)):
        state.users.set_password(PERSON, stored, now)
    return password


def _write_secret(path: Path, secret: str) -> None:
    """Keep it where only its owner reads it."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secret + "\n")
