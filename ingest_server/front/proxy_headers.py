"""What a proxy in front of this server says of its clients; believed only where it is configured.

Two kinds, each with a switch of its own. Where a client is and how it reaches the server (address,
scheme, host, port, prefix) decides about links and log lines: a proxy passes on some of it by itself
and lets a client's own words through in the rest, so what contradicts itself is not believed. Whose
certificate was checked decides who the client is: believed of nobody but the proxy that the
configuration names, by its socket or by a secret that it sends.

Both are believed of a peer on this machine alone.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest_server.core.errors import SettingError
from ingest_server.front.tls import CLIENT_NAME

App = Callable[..., Iterable[bytes]]

LINK_BASE = "edge_uploader.link_base"
"""In a request's environ: how the client reaches this server, as in ``https://host:8443/prefix``; ""
behind a proxy that does not say it. Not there: as the request itself says."""
MIN_SECRET_BYTES = 24

_BETWEEN = re.compile(r"(?<!\\)[,+]")
"""Where one attribute of a name ends (RFC 4514); an escaped comma or plus is part of a value."""
_PAIR = re.compile(r'[ \t]*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^ \t",;]*))[ \t]*(?:([;,])|\Z)')
"""One of a Forwarded field (RFC 7239, 4)."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?\Z")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%-]*)*/?\Z")
_NODE = re.compile(r"\[?([0-9A-Fa-f:.]+?)\]?(?::[0-9]+)?\Z")
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class CertificateProxy:
    """The proxy that is believed whose certificate it has checked: each of these has to hold."""

    socket: bool
    """Its requests come over a Unix socket."""
    secret: bytes | None = None
    """They carry this."""

    def is_it(self, environ: dict[str, Any]) -> bool:
        if self.socket and environ.get("REMOTE_ADDR", ""):
            return False
        if self.secret is None:
            return self.socket
        given = environ.get("HTTP_X_PROXY_SECRET", "").encode("latin-1", "replace")
        return hmac.compare_digest(given, self.secret)


def read_secret(path: Path) -> bytes:
    """Return the secret in *path*.

    Raises:
        SettingError: it cannot be read, or is too short to be one.
    """
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        msg = f"[server] proxy_secret_file {path} cannot be read: {error.strerror}."
        raise SettingError(msg) from error
    if len(secret) < MIN_SECRET_BYTES or not secret.isascii():
        msg = (
            f"[server] proxy_secret_file {path}: a secret has at least {MIN_SECRET_BYTES} ASCII "
            "characters; openssl rand -hex 32 makes one."
        )
        raise SettingError(msg)
    return secret


def trusting(app: App, *, links: bool = True, certificates: CertificateProxy | None = None) -> App:
    """Return *app* behind a proxy on this machine.

    Args:
        links: believe it where its clients are and how they reach the server.
        certificates: believe this one whose certificates it has checked; None: no proxy.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _is_here(environ.get("REMOTE_ADDR", "")):
            if (
                certificates is not None
                and certificates.is_it(environ)
                and environ.get("HTTP_X_CLIENT_VERIFY") == "SUCCESS"
            ):
                environ[CLIENT_NAME] = common_name(environ.get("HTTP_X_CLIENT_DN", ""))
            if links:
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
    told = _forwarded(environ.get("HTTP_FORWARDED", ""))
    address = _agreed(
        _address,
        environ.get("HTTP_X_REAL_IP"),
        _last(environ.get("HTTP_X_FORWARDED_FOR")),
        told.get("for"),
    )
    scheme = _agreed(_scheme, _last(environ.get("HTTP_X_FORWARDED_PROTO")), told.get("proto"))
    host = _agreed(_host, _last(environ.get("HTTP_X_FORWARDED_HOST")), told.get("host"))
    prefix = _last(environ.get("HTTP_X_FORWARDED_PREFIX")) or ""
    if address is not None:
        environ["REMOTE_ADDR"] = address
    host = host or _host(environ.get("HTTP_HOST", ""))
    if scheme is None or host is None or not _PREFIX.match(prefix):
        # A proxy that says half of it may put another host into the request itself.
        environ[LINK_BASE] = ""
        return
    environ["wsgi.url_scheme"] = scheme
    port = _last(environ.get("HTTP_X_FORWARDED_PORT")) or ""
    if _host(f"h:{port}") and not host.rpartition("]")[2].count(":") and port != _PORTS[scheme]:
        host = f"{host}:{port}"
    environ[LINK_BASE] = f"{scheme}://{host}{prefix.rstrip('/')}"


def _agreed(read: Callable[[str], str | None], *told: str | None) -> str | None:
    """Return what all that is told says; None: nothing, or one is a client's own invention."""
    found = {read(one) for one in told if one is not None}
    return found.pop() if len(found) == 1 else None


def _last(field: str | None) -> str | None:
    """Return the member that the nearest proxy has put behind those of others."""
    return None if field is None else field.rpartition(",")[2].strip(" \t")


def _forwarded(field: str) -> dict[str, str]:
    """Return the last element of a Forwarded field (RFC 7239); nothing of one that is malformed."""
    found: dict[str, str] = {}
    at = 0
    while at < len(field):
        pair = _PAIR.match(field, at)
        if pair is None:
            return {}
        name, quoted, bare, mark = pair.groups()
        found[name.lower()] = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = pair.end()
        if mark == ",":
            found = {}
    return found


def _address(text: str) -> str | None:
    node = _NODE.match(text) if text.startswith("[") or text.count(":") == 1 else None
    try:
        return str(ipaddress.ip_address(text if node is None else node[1]))
    except ValueError:
        return None


def _scheme(text: str) -> str | None:
    return text.lower() if text.lower() in _PORTS else None


def _host(text: str) -> str | None:
    match = _HOST.match(text)
    if match is None or (match[2] and not 0 < int(match[2][1:]) < 2**16):
        return None
    return text


def common_name(name: str) -> str:
    """Return the one common name of a distinguished name (RFC 4514); "" for none or several."""
    parts = (part.partition("=") for part in _BETWEEN.split(name))
    found = [value for key, _, value in parts if key.strip().upper() == "CN"]
    return found[0] if len(found) == 1 else ""
