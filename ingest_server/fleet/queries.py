"""Values of a query string, each one clear answer where it is none."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import falcon

from ingest_server.core.errors import Refused
from ingest_server.fleet.values import MOST
from ingest_server.protocols.query import text_of

_VERSION = re.compile(r'(?:^|,)[ \t]*"([0-9]{1,18})"[ \t]*(?=,|$)')
_SECONDS = re.compile(r"-?[0-9]{1,19}\Z")


def versions(req: falcon.Request) -> frozenset[int] | None:
    """Return the versions in If-Match, where 0 is of what nobody has written yet; None: any will do.

    What is no version of ours is none that is there (RFC 9110, 13.1.1).
    """
    given = req.get_header("If-Match")
    if given is None or given.strip() == "*":
        return None
    return frozenset(int(one) for one in _VERSION.findall(given))


def moment(req: falcon.Request, name: str) -> int | None:
    """Return a time as seconds of the epoch; without an offset it is UTC.

    Raises:
        Refused: it is no time.
    """
    given = text_of(req, name)
    if not given:
        return None
    try:
        found = datetime.fromisoformat(given[:40])
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        detail = f"{name} is a time such as 2026-11-29T10:00:00Z, or a date"
        raise Refused("malformed-request", detail) from error


def place(req: falcon.Request, name: str) -> tuple[int, str] | None:
    """Return where a page goes on.

    Raises:
        Refused: this server did not say so.
    """
    given = text_of(req, name)
    if not given:
        return None
    time_s, found, file_id = given.partition(":")
    if not (found and _SECONDS.match(time_s) and abs(int(time_s)) <= MOST and file_id):
        raise Refused("malformed-request", f"{name} is what an earlier answer has as 'next'")
    return int(time_s), file_id
