"""``ingest-server devices | fetch | events``: who is there, what happened there, and what is wanted of it.

Beside a running server: it reads what that has written (some seconds old), and takes up a command that is
written here within seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from datetime import datetime
from typing import Any

from edge_host.clock import SystemClock
from ingest_server.core.errors import Refused
from ingest_server.fleet.operations import Operations
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.standing import Reported, reported
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.text import age, past, print_table, shown, size
from ingest_server.storage.interface import DeviceSummary, FleetStore
from ingest_server.storage.interface.fleet import OPEN

LOOK_S = 1.0
"""Between two looks at what became of a command, or at what happened."""

_pause = threading.Event()
"""Never set: Ctrl-C ends a wait for it."""
_SHORT = {"waiting_network": "no link", "waiting_window": "held back"}
_NO_EVENT = (
    "No event was told here. A device that has a broker tells its events there: [fleet] mqtt_url brings "
    "them here."
)
_HEAD = ("DEVICE", "SEEN", "THERE", "DOING", "WAITS", "FAILED", "OPEN", "COMPLETE")
_HEAD_OF_UPLOADERS = ("DEVICE", "LAST CONTACT", "OPEN", "FAILED", "COMPLETE", "PROGRAM")


class DeviceCommands(Commands):
    """The commands; they work beside a running server."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        devices = commands.add_parser(
            "devices",
            parents=[common],
            help="show devices: whether they are there, what they do, what waits and what failed",
        )
        devices.add_argument("--json", action="store_true", help="as a JSON array")
        devices.set_defaults(command=self._devices)
        events = commands.add_parser(
            "events", parents=[common], help="show what devices told of, newest last"
        )
        events.add_argument("--device", metavar="DEVICE", help="only those of this device")
        events.add_argument(
            "--limit", type=int, default=100, metavar="N", help="the newest N (100)"
        )
        events.add_argument("--follow", action="store_true", help="go on with what happens next")
        events.add_argument("--json", action="store_true", help="one JSON document a line")
        events.set_defaults(command=self._events)
        fetch = commands.add_parser(
            "fetch",
            parents=[common],
            help="have a device send recordings before all others",
            description="Has a device send what it holds back, or what waits far behind, before all "
            "others: recordings whose name fits PATTERN, or that are of a time. It is done when they are "
            "here; without --metered not over a metered link.",
        )
        fetch.add_argument("device", metavar="DEVICE")
        fetch.add_argument("pattern", nargs="?", metavar="PATTERN", help="such as 'DJI_004*'")
        fetch.add_argument(
            "--from", dest="since", type=past, metavar="WHEN", help="2027-01-31, 12h"
        )
        fetch.add_argument("--to", dest="until", type=past, metavar="WHEN", help="2027-01-31, 2h")
        fetch.add_argument("--metered", action="store_true", help="also over a metered link")
        fetch.add_argument("--no-wait", action="store_true", help="do not wait for its answer")
        fetch.set_defaults(command=self._fetch)

    # devices

    def _devices(self, options: argparse.Namespace) -> int:
        state = self._data.state(options)
        try:
            found = state.devices()
        finally:
            state.close()
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

    # events

    def _events(self, options: argparse.Namespace) -> int:
        fleet = self._data.fleet(options)
        if fleet is None:
            self._complain("no device has reported here yet: see docs/fleet.md")
            return 1
        try:
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
                _pause.wait(LOOK_S)
        finally:
            fleet.close()

    # fetch

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
            heard = f"by {made['seen_by']}" if made["seen_by"] else "with its next report"
            print(f"{options.device} hears of it {heard} (command {made['id']}).", file=sys.stderr)
            if self._data.is_unserved(options):
                self._complain(
                    "no server runs here at the moment: the device hears of it once one does"
                )
            return 0 if options.no_wait else self._wait(store, options.device, made["id"])
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
            news = (found.status, found.message)
            if news != told and found.status not in OPEN:
                print(f"{found.status}: {shown(found.message or found.code or '')}")
                told = news
            if found.status not in OPEN and found.status != "accepted":
                # A duplicate is an older agent's: its code alone says what the command had come to.
                is_done = found.status == "done" or (found.status, found.code) == (
                    "duplicate",
                    "ok",
                )
                return 0 if is_done else 1
            _pause.wait(LOOK_S)


def _service(store: FleetStore) -> FleetService:
    service = FleetService(store, SystemClock())
    service.start()
    return service


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


def _line(at: str, device: str, event: dict[str, Any]) -> str:
    data = event.get("data")
    said = data if isinstance(data, dict) else {}
    kind = str(event.get("type", "")).removeprefix("edgeup.")
    words = [str(said[key]) for key in ("name", "code", "detail") if said.get(key)]
    return shown("  ".join([at, device, kind, *words]))
