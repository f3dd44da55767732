"""Devices that identify themselves by a certificate, beside those with tokens."""

from __future__ import annotations

from ingest_server.auth.authentication import SCOPE_UPLOAD, Authenticator, Caller
from ingest_server.core.errors import Refused
from ingest_server.front.tls import device_of


def authenticate(
    auth: Authenticator, name: str | None, authorization: str | None, host: str | None
) -> Caller:
    """Return who asks.

    Args:
        name: the common name of the client's certificate, which somebody trusted has checked; None
            where it showed none. It stands for the device of that name; a token that comes with it
            must be of the same device.

    Raises:
        Refused: nobody that may.
    """
    if name is None:
        return auth.authenticate(authorization, host)
    device = device_of(name)
    if device is None:
        detail = "the common name of the certificate is not a device id"
        raise Refused("unauthorized", detail)
    certified = Caller(device, scopes=frozenset({SCOPE_UPLOAD}))
    if authorization is None:
        return certified
    caller = auth.authenticate(authorization, host)
    if caller.device not in (None, device):
        detail = f"the token is of device {caller.device!r}, the certificate of {device!r}"
        raise Refused("device-mismatch", detail)
    return certified if caller.token_id is None else caller
