"""Who has not got all that it was to be told, and is told no more of it: said wherever an operator looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ingest_server.core.target_name import target_name
from ingest_server.operate.text import shown
from ingest_server.storage.interface import GivenUp, StateStore


def given_up_sentences(state: StateStore) -> Iterator[str]:
    """Return a sentence for each target.

    Raises:
        Refused: the database failed.
    """
    return map(_sentence, state.outbox.given_up())


def say_given_up(state: StateStore) -> None:
    """Say it beside what a command shows.

    Raises:
        Refused: the database failed.
    """
    for sentence in given_up_sentences(state):
        print(sentence, file=sys.stderr)


def _sentence(one: GivenUp) -> str:
    events = "1 event" if one.count == 1 else f"{one.count} events"
    why = f": {one.error}" if one.error else ""
    return shown(
        f"{target_name(one.target)} did not receive {events}, which the server gave up{why}. Repair that target, then run: "
        "ingest-server webhook replay dead"
    )
