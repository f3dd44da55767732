"""What the server knows of its published files, as a test wants it: forgotten, or being found out."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ingest_server.uploads.standing import Standings


def forget(standings: Standings) -> None:
    """As after a restart, long after: nobody can vouch for what is published."""
    standings._trusted_for_s = lambda: 0.0
    standings._run = "another"


def taking_its_time(standings: Standings) -> AbstractContextManager[object]:
    """While this is held, a file is being read, and who asks about one waits."""
    return standings._reading
