"""The claim token of the printed line: one that is good, kept for root alone, so that the line can be seen again."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_host.clock import rfc3339
from edge_host.setup.durable import put
from edge_host.setup.errors import SetupError

Commands = Callable[[Sequence[str]], int]
"""The program's own commands."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claim in *path*.

    Args:
        commands: run in a child, since they go on as the server's user.
    """

    path: Path
    commands: Commands

    def is_good(self, *, rehearses: bool) -> bool:
        """Return whether another device can use it.

        Args:
            rehearses: the database is left as it is.

        Raises:
            SetupError: that is not seen in a rehearsal.
        """
        try:
            claim_id = self.path.read_text(encoding="ascii").split("_")[1]
        except (OSError, ValueError, IndexError):
            return False
        try:
            read_only = ["--read-only"] if rehearses else []
            known = json.loads(self._printed("claim", "list", "--json", *read_only))
        except SetupError:
            if rehearses:
                raise
            return False  # of another data folder: where the server has no database yet, nobody can use it
        now = rfc3339(datetime.now(UTC))
        return any(
            one["claim_id"] == claim_id
            and one["revoked_at"] is None
            and one["used"] < one["devices"]
            and one["expires_at"] > now
            for one in known
        )

    def make(self, devices: int, days: int) -> None:
        """Put a new one there.

        Raises:
            SetupError: the server's own command does not make one.
            OSError: the disk does not take it.
        """
        made = self._printed("claim", "add", "--devices", str(devices), "--expires", f"{days}d")
        put(self.path, made.splitlines()[-1] + b"\n", mode=0o600)

    def text(self) -> str:
        return self.path.read_text(encoding="ascii").strip()

    def _printed(self, *argv: str) -> bytes:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaints:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.dup2(out.fileno(), 1)
                    os.dup2(complaints.fileno(), 2)
                    code = self.commands(argv)
                    sys.stdout.flush()
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            out.seek(0)
            complaints.seek(0)
            printed, said = out.read(), complaints.read().decode(errors="replace").strip()
        if os.waitstatus_to_exitcode(status) != 0 or not printed:
            last = (
                said.splitlines()[-1].removeprefix("ingest-server: ") if said else "no reason given"
            )
            raise SetupError(f"`ingest-server {' '.join(argv[:2])}` failed: {last}")
        return printed
