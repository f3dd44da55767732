"""A client for a server that speaks no TLS: on this machine, or in this process without a socket."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A client that is told nothing reads the system's authorities, a tenth of a second each time."""


def wsgi_client(app: Any, **options: Any) -> httpx.Client:
    """Return a client of *app* itself, without a socket: for what no container makes a difference to."""
    transport = httpx.WSGITransport(app=app)
    return httpx.Client(transport=transport, base_url="http://localhost", **options)


def plain_client(url: str, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=url, verify=_NO_AUTHORITIES, **options)
