"""What a query string asks of a list: one clear answer where it is nothing that could be asked."""

from __future__ import annotations

import falcon

from ingest_server.core.errors import Refused
from upload_protocol.headers import is_device_id, whole_number


def text_of(req: falcon.Request, name: str) -> str | None:
    """Return what is asked for by *name*; None: nothing, or nothing behind the ``=``.

    Raises:
        Refused: it is there more than once, or has a NUL in it, which databases take for the end or for a fault.
    """
    value = req.params.get(name)
    if isinstance(value, list):
        raise Refused("malformed-request", f"the query names {name!r} more than once")
    if value and "\0" in value:
        raise Refused(
            "malformed-request", f"{name} has a NUL character in it: nothing here has one"
        )
    return value or None


def number_of(req: falcon.Request, name: str, usual: int, *, least: int = 1, most: int) -> int:
    """Return a whole number, *usual* where there is none.

    Raises:
        Refused: it is none, or beyond its bounds.
    """
    text = text_of(req, name)
    if text is None:
        return usual
    found = whole_number(text)
    if found is None or not least <= found <= most:
        raise Refused("malformed-request", f"{name} is not a whole number from {least} to {most}")
    return found


def device_asked_for(req: falcon.Request) -> str | None:
    """Return the device whose things are asked for; None: those of all.

    Raises:
        Refused: it is no device's id.
    """
    device = text_of(req, "device")
    if device is not None and not is_device_id(device):
        raise Refused("malformed-request", "device is no device id")
    return device
