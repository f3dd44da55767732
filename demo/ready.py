"""Whether a server takes requests."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from demo.ports import LOOPBACK


def is_ready(port: int) -> Callable[[], bool]:
    """Return what asks the server at *port*."""

    def asks() -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return asks
