"""``ingest-server list``: what was uploaded, and is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime

from edge_host.clock import SystemClock
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.text import age, past, print_table, shown
from ingest_server.storage.interface import StateStore, Summary
from upload_protocol.messages import CHECK_NAME, STATES

PAGE = 1000
"""Rows of one question: none of them keeps the database's log from being emptied for long."""


class UploadCommands(Commands):
    """The commands; they work beside a running server, and at once."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        listed = commands.add_parser("list", parents=[common], help="show uploads, newest last")
        listed.add_argument("--json", action="store_true", help="as a JSON array")
        listed.add_argument("--state", choices=sorted(STATES), help="only those in this state")
        listed.add_argument("--device", metavar="DEVICE", help="only those of this device")
        listed.add_argument("--limit", type=_count, metavar="N", help="only the newest N of them")
        listed.add_argument(
            "--since",
            type=past,
            metavar="WHEN",
            help="only those created since then: 2027-01-31, 12h, 90d",
        )
        listed.set_defaults(command=self._list)

    def _list(self, options: argparse.Namespace) -> int:
        with closing(self._data.state(options)) as state:
            found = _newest(state, options) if options.limit else _all(state, options)
            if options.json:
                _print_json(found)
            else:
                now = SystemClock().now_utc()
                head = ("ID", "DEVICE", "NAME", "STATE", "PROGRESS", "BYTES", "AGE")
                rows = (_upload_row(one, now) for one in found)
                print_table(head, rows, none=_none(options))
        return 0


def _none(options: argparse.Namespace) -> str:
    is_narrowed = options.state or options.device or options.since
    return "No upload is like that." if is_narrowed else "Nothing was uploaded here yet."


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:10]) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _newest(state: StateStore, options: argparse.Namespace) -> list[Summary]:
    return state.summaries(
        device=options.device,
        state=options.state,
        since=options.since or "",
        after=None,
        limit=options.limit,
    )


def _all(state: StateStore, options: argparse.Namespace) -> Iterator[Summary]:
    after = ("", "")
    while True:
        page = state.summaries(
            device=options.device,
            state=options.state,
            since=options.since or "",
            after=after,
            limit=PAGE,
        )
        yield from page
        if len(page) < PAGE:
            return
        after = (page[-1].created_at, page[-1].id)


def _print_json(found: Iterable[Summary]) -> None:
    """Print a JSON array, an element to a line as it comes."""
    separator = "["
    for one in found:
        document = {
            "id": one.id,
            "device": one.device,
            "name": one.name,
            "folder": one.folder,
            "state": one.state,
            "received_bytes": one.received_bytes,
            "length": one.length,
            "created_at": one.created_at,
            "published_as": one.published_as,
        }
        sys.stdout.write(f"{separator}\n  {json.dumps(document)}")
        separator = ","
    print("[]" if separator == "[" else "\n]")


def _upload_row(one: Summary, now: datetime) -> tuple[str, ...]:
    return (
        one.id,
        one.device,
        shown(one.name),
        _state(one),
        _percent(one),
        f"{one.received_bytes}/{'?' if one.length is None else one.length}",
        age(now, one.created_at),
    )


def _state(one: Summary) -> str:
    # No recording was lost here: a device tried the server, and has ended what it tried it with.
    is_trial = one.name == CHECK_NAME and one.state == "aborted"
    return "aborted (check)" if is_trial else one.state


_ALL_THERE = ("verifying", "publishing", "complete")
"""States in which every byte is here."""


def _percent(one: Summary) -> str:
    # By its state: nothing is received of an empty file, nor of one whose bytes the server had already.
    if one.state in _ALL_THERE:
        return "100 %"
    if not one.length:
        return "?" if one.length is None else "0 %"
    received = one.received_bytes
    return "100 %" if received >= one.length else f"{100 * received // one.length} %"
