"""What a request is told of work that may outlast it."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TypeVar

from ingest_server.core.errors import Refused
from ingest_server.uploads.store import stopped

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pending:
    """Not done yet: ask again after this."""

    retry_after_s: float


def result_or_pending(running: Future[T], wait_s: float) -> T | Pending:
    """Return what *running* came to, or `Pending` if it needs more than *wait_s*.

    Raises:
        Refused: it was, or the server stops.
    """
    try:
        return running.result(wait_s)
    except CancelledError:
        raise stopped() from None
    except FutureTimeoutError:
        return Pending(retry_after_s=max(1.0, wait_s))
    except Refused as refused:
        # Several may be told, so each gets an error of its own.
        raise refused.again() from refused
