"""``ingest-server groups``: which recordings belong together, and what of them is here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from edge_host.clock import SystemClock
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.text import age, print_table, shown
from ingest_server.storage.interface import GroupRecord, StateStore
from upload_protocol.groups import STATES

_PAGE = 100
_USUAL = 100
_NAMED = 3


class GroupCommands(Commands):
    """The command; it works beside a running server, and at once."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        listed = commands.add_parser(
            "groups", parents=[common], help="show recordings that belong together, newest first"
        )
        listed.add_argument("--json", action="store_true", help="as a JSON array, with all files")
        listed.add_argument("--state", choices=STATES, help="only those in this state")
        listed.add_argument("--device", metavar="DEVICE", help="only those of this device")
        listed.add_argument(
            "--limit", type=int, default=_USUAL, metavar="N", help="only the newest N (100)"
        )
        listed.set_defaults(command=self._list)

    def _list(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            found = _newest(state, options)
            if options.json:
                json.dump([_document(one) for one in found], sys.stdout, indent=2)
                print()
            else:
                now = SystemClock().now_utc()
                head = ("DEVICE", "GROUP", "STATE", "FILES", "BYTES", "TOLD", "MISSING")
                print_table(head, (_row(one, now) for one in found), none=_none(options))
        return 0


def _none(options: argparse.Namespace) -> str:
    if options.state or options.device:
        return "No group is like that."
    return "No device has told of recordings that belong together."


def _newest(state: StateStore, options: argparse.Namespace) -> Iterator[GroupRecord]:
    left, before = max(1, options.limit), None
    while left > 0:
        page = state.groups.page(
            device=options.device, state=options.state, before=before, limit=min(left, _PAGE)
        )
        yield from page
        if not page:
            return
        left -= len(page)
        before = page[-1].seq


def _row(one: GroupRecord, now: datetime) -> tuple[str, ...]:
    missing = ", ".join(shown(name) for name in one.missing[:_NAMED])
    return (
        one.device,
        shown(one.title),
        one.state,
        f"{one.done} of {one.expected}",
        str(one.length),
        age(now, one.told_at),
        missing + (", ..." if len(one.missing) > _NAMED else ""),
    )


def _document(one: GroupRecord) -> dict[str, object]:
    return {
        "group": one.id,
        "device": one.device,
        "title": one.title,
        "folder": one.folder,
        "family": one.family,
        "state": one.state,
        "expected": one.expected,
        "done": one.done,
        "revision": one.revision,
        "told_at": one.told_at,
        "completed_at": one.completed_at,
        "manifest": one.manifest,
        "missing": list(one.missing),
        "members": [member.to_json() for member in one.members],
    }
