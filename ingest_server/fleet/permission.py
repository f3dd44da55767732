"""Who may see and steer devices: the one question that everything below ``/v1/fleet`` asks.

A token with the scope ``admin``, or anybody on this machine in open mode. What a browser sends by itself,
because it is on this machine, counts for a change only if the page that sends it is this server's own.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest_server.auth.authentication import SCOPE_ADMIN, Caller
from ingest_server.core.errors import Refused

SENT_BY_US = "edge-uploader"
"""What X-Requested-With says: a page of another site cannot send it without being asked first."""

Header = Callable[[str], str | None]


def refuse_unless_operator(caller: Caller) -> None:
    """Refuse a device, and whoever may only send.

    Raises:
        Refused: ``forbidden``.
    """
    if SCOPE_ADMIN not in caller.scopes or caller.device is not None:
        raise Refused("forbidden", "only an operator may do this: a token with the scope admin")


def refuse_other_sites(header: Header, origin: str) -> None:
    """Refuse a change that a page of another site may have had a browser send.

    Args:
        header: gives a header of the request.
        origin: of this server, as the request came to it.

    Raises:
        Refused: ``forbidden``.
    """
    if header("Authorization") is not None:
        return  # no browser adds that by itself
    if header("X-Requested-With") == SENT_BY_US:
        return
    if header("Sec-Fetch-Site") == "same-origin" or header("Origin") == origin:
        return
    raise Refused(
        "forbidden",
        f"a change needs the header X-Requested-With: {SENT_BY_US}, or to come from this server's page",
    )
