"""What a proxy in front of this server says of its clients; believed only where it is configured.

Believed of a peer on this machine alone: of anybody else these headers could say anything. The proxy
has to set each of them itself, so that none comes through from a client (deploy/nginx does).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

from ingest_server.front.tls import CLIENT_NAME

App = Callable[..., Iterable[bytes]]

_BETWEEN = re.compile(r"(?<!\\)[,+]")
"""Where one attribute of a name ends (RFC 4514); an escaped comma or plus is part of a value."""


def trusting(app: App) -> App:
    """Return *app* behind a proxy on this machine."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _is_here(environ.get("REMOTE_ADDR", "")):
            _apply(environ)
        return app(environ, start_response)

    return answer


def _is_here(address: str) -> bool:
    if not address:
        return True  # a Unix socket
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _apply(environ: dict[str, Any]) -> None:
    address = environ.get("HTTP_X_REAL_IP", "")
    with contextlib.suppress(ValueError):
        environ["REMOTE_ADDR"] = str(ipaddress.ip_address(address))
    scheme = environ.get("HTTP_X_FORWARDED_PROTO", "")
    if scheme in {"http", "https"}:
        environ["wsgi.url_scheme"] = scheme
    if environ.get("HTTP_X_CLIENT_VERIFY") == "SUCCESS":
        environ[CLIENT_NAME] = common_name(environ.get("HTTP_X_CLIENT_DN", ""))


def common_name(name: str) -> str:
    """Return the one common name of a distinguished name (RFC 4514); "" for none or several."""
    parts = (part.partition("=") for part in _BETWEEN.split(name))
    found = [value for key, _, value in parts if key.strip().upper() == "CN"]
    return found[0] if len(found) == 1 else ""
