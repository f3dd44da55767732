"""``ingest-server abort``: unfinished uploads end, beside a running server."""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import timedelta

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord
from ingest_server.operate.commands import Commands, Parser, Parsers
from ingest_server.operate.noting import audit_of
from ingest_server.operate.text import counted, shown, size, span
from ingest_server.storage.interface import Blobs, StateStore
from ingest_server.uploads.aborting import abort_beside


class AbortCommand(Commands):
    """The command."""

    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        abort = commands.add_parser(
            "abort",
            parents=[common],
            help="end unfinished uploads, and free their bytes at once",
            description="Ends unfinished uploads and frees their bytes, at once. Published files "
            "are never touched. A client that goes on with such an upload learns that it was "
            "aborted, and sends the file again if it still has it.",
        )
        abort.add_argument("upload_ids", metavar="UPLOAD_ID", nargs="*", help="as `list` shows it")
        abort.add_argument("--device", metavar="DEVICE", help="all open uploads of this device")
        abort.add_argument(
            "--idle",
            type=span,
            metavar="TIME",
            help="with --device: only those that got no byte for so long, such as 12h or 2d",
        )
        abort.set_defaults(command=self._abort)

    def _abort(self, options: argparse.Namespace) -> int:
        if bool(options.upload_ids) == bool(options.device):
            self._complain("name either uploads by their ids, or one --device")
            return 2
        if options.idle is not None and not options.device:
            self._complain("--idle goes with --device")
            return 2
        with closing(self._data.state(options)) as state:
            wanted = options.upload_ids or _open_of(state, options.device, options.idle)
            if not wanted:
                idle = "" if options.idle is None else " that is idle for so long"
                self._complain(f"device {options.device!r} has no open upload{idle}")
                return 1
            with closing(self._data.blobs(options, state)) as blobs:
                return self._abort_each(options, state, blobs, wanted)

    def _abort_each(
        self, options: argparse.Namespace, state: StateStore, blobs: Blobs, wanted: list[str]
    ) -> int:
        noted = audit_of(self._config(options))
        aborted: list[UploadRecord] = []
        are_refused = False
        for upload_id in wanted:
            try:
                record, is_new = abort_beside(state, blobs, upload_id)
            except Refused as refused:
                are_refused = True
                self._complain(f"{shown(upload_id)}: {_why_not(state, upload_id, refused)}")
                continue
            before = "" if is_new else " before"
            print(f"{record.id}  {record.device}  {shown(record.name)}  aborted{before}")
            if not is_new:
                continue
            aborted.append(record)
            if noted is not None:
                noted.note("upload.abort", device=record.device, object_=record.id)
        came = sum(record.received.total for record in aborted)
        if aborted:
            print(
                f"{counted(len(aborted), 'upload')} aborted, {size(came)} free again. Who goes on "
                "with one is told so, and sends the file anew if it still has it."
            )
        return 1 if are_refused else 0


def _open_of(state: StateStore, device: str, idle: timedelta | None) -> list[str]:
    idle_s = 0.0 if idle is None else idle.total_seconds()
    by_s = state.uptime_s() - idle_s
    return [one.id for one in state.open_uploads(device) if idle is None or one.touched_s <= by_s]


def _why_not(state: StateStore, upload_id: str, refused: Refused) -> str:
    found = state.state_of(upload_id)
    if found is None:
        return "there is no such upload; `ingest-server list` shows them"
    if found is State.COMPLETE:
        return "it is complete; what is published is removed by [retention], or by hand"
    if refused.code == "not-open":
        return f"it is {found.value}: it is published within moments, or open again"
    return refused.detail
