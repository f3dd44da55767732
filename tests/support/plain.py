"""A client for a server on this machine that speaks no TLS."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A client that is told nothing reads the system's authorities, a tenth of a second each time."""


def plain_client(url: str, **options: Any) -> httpx.Client:
    return httpx.Client(base_url=url, verify=_NO_AUTHORITIES, **options)
