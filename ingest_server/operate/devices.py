"""``ingest-server devices``: who is there, and how each of them does.

Beside a running server: it reads what that has written, which is some seconds old.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from datetime import datetime
from typing import Any

from edge_host.clock import SystemClock
from ingest_server.fleet.standing import Reported, reported
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.given_up import say_given_up
from ingest_server.operate.text import age, print_table, shown, size
from ingest_server.storage.interface import DeviceSummary

_SHORT = {"waiting_network": "no link", "waiting_window": "held back"}
_HEAD = ("DEVICE", "SEEN", "THERE", "DOING", "WAITS", "FAILED", "OPEN", "COMPLETE")
_HEAD_OF_UPLOADERS = ("DEVICE", "LAST CONTACT", "OPEN", "FAILED", "COMPLETE", "PROGRAM")


class DevicesCommand(Commands):
    """The command."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        devices = commands.add_parser(
            "devices",
            parents=[common],
            help="show devices: whether they are online, what they do, what waits and what failed",
        )
        devices.add_argument("--json", action="store_true", help="as a JSON array")
        devices.set_defaults(command=self._devices)

    def _devices(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            found = state.devices()
            say_given_up(state)
        now = SystemClock().now_utc()
        known = self._reported(options, now)
        named = {one.device: one for one in found}
        names = sorted(
            named | known, key=lambda one: (-known[one].trouble if one in known else 0, one)
        )
        if options.json:
            print(
                json.dumps(
                    [_document(one, named.get(one), known.get(one)) for one in names], indent=2
                )
            )
            return 0
        head: tuple[str, ...] = _HEAD if known else _HEAD_OF_UPLOADERS
        rows = [
            _row(now, one, named.get(one), known.get(one))
            if known
            else _uploader_row(now, named[one])
            for one in names
        ]
        print_table(head, rows, none="No device has uploaded or reported here yet.")
        return 0

    def _reported(self, options: argparse.Namespace, now: datetime) -> dict[str, Reported]:
        fleet = self._data.fleet(options)
        if fleet is None:
            return {}
        try:
            return {one.device: reported(one, now) for one in fleet.devices()}
        finally:
            fleet.close()


def _row(
    now: datetime, device: str, here: DeviceSummary | None, there: Reported | None
) -> tuple[str, ...]:
    uploads = {} if here is None else here.by_state
    counts = (str(_open_of(uploads)), str(uploads.get("complete", 0)))
    if there is None:
        contact = None if here is None else here.contact_at
        seen = "never" if contact is None else age(now, contact)
        return (device, seen, "-", "-", "-", str(uploads.get("failed", 0)), *counts)
    standing = there.standing
    state = standing.state or "-"
    waits = f"{standing.pending_files}, {size(standing.pending_bytes)}"
    return (
        device,
        "never" if there.last_seen is None else age(now, there.last_seen),
        there.presence,
        shown(_SHORT.get(state, state)),
        waits if standing.pending_files else "0",
        str(standing.failed),
        *counts,
    )


def _uploader_row(now: datetime, one: DeviceSummary) -> tuple[str, ...]:
    return (
        one.device,
        "never" if one.contact_at is None else f"{age(now, one.contact_at)} ago",
        str(_open_of(one.by_state)),
        str(one.by_state.get("failed", 0)),
        str(one.by_state.get("complete", 0)),
        shown(one.program) or "-",
    )


def _open_of(by_state: Any) -> int:
    return sum(by_state.get(state, 0) for state in ("open", "verifying", "publishing"))


def _document(device: str, here: DeviceSummary | None, there: Reported | None) -> dict[str, object]:
    uploads = {} if here is None else dict(here.by_state)
    return {
        "device": device,
        "last_contact_at": None if here is None else here.contact_at,
        "program": None if here is None else here.program or None,
        "open": _open_of(uploads),
        "uploads": uploads,
        "reported": None if there is None else there.document(),
    }
