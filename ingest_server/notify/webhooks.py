"""Events as signed HTTP requests: the Standard Webhooks signature over a CloudEvents body.

Only the operator's configuration names targets. An address is looked up once for each request, and
only those very addresses are connected to, and only if they are public: a name that changes what it
stands for cannot lead the server to itself or to its neighbours. Redirects are not followed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from edge_host.clock import Clock
from ingest_server.core import events
from ingest_server.core.events import Event
from ingest_server.notify.deliveries import Outcome, Told
from ingest_server.notify.public_address import is_public

TIMEOUT_S = 15.0
"""For the whole request: a consumer takes the event and works on it later."""

MAX_BODY = 64 * 1024
MIN_SECRET = 24
"""Bytes of a secret, as Standard Webhooks asks for."""

_SECRET_PREFIX = "whsec_"  # noqa: S105 # marks one, is none

Resolve = Callable[[str, int], Sequence[str]]


class WebhookError(Exception):
    """A webhook cannot be told; the message is fit for a log."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    url: str
    secret_file: Path
    types: AbstractSet[str] = events.TYPES
    allow_private: bool = False
    """Whether it may be on this machine or in a private network, and plain http."""
    ca_file: Path | None = None
    """Whose certificates it may have; None: those of the authorities that the system trusts."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of *host*."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def read_secrets(path: Path) -> list[bytes]:
    """Return the secrets of *path*, one a line; two while a consumer changes from one to another.

    Raises:
        WebhookError: it cannot be read, or holds none of at least 24 bytes.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise WebhookError(f"the secret file {path} cannot be read: {why}") from error
    found = []
    for line in filter(None, map(str.strip, lines)):
        try:
            secret = (
                base64.b64decode(line.removeprefix(_SECRET_PREFIX), validate=True)
                if line.startswith(_SECRET_PREFIX)
                else line.encode()
            )
        except binascii.Error as error:
            raise WebhookError(f"{path}: what follows whsec_ is not base64") from error
        if len(secret) < MIN_SECRET:
            raise WebhookError(f"{path}: a secret has at least {MIN_SECRET} bytes")
        found.append(secret)
    if not found:
        raise WebhookError(f"the secret file {path} is empty")
    return found


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what checks a target's certificate; the file is read anew, as one may be renewed.

    Raises:
        WebhookError: it cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except ssl.SSLError as error:
        raise WebhookError(f"the ca_file {ca_file} holds no certificate in PEM form") from error
    except OSError as error:
        raise WebhookError(f"the ca_file {ca_file} cannot be read: {error.strerror}") from error


def signature(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """Return one entry of ``webhook-signature`` (Standard Webhooks, HMAC-SHA256)."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class Webhook:
    """One target over HTTP."""

    def __init__(
        self,
        settings: WebhookSettings,
        clock: Clock,
        *,
        resolve: Resolve = resolve,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._clock = clock
        self._resolve = resolve

    @property
    def name(self) -> str:
        return self._settings.url

    @property
    def types(self) -> AbstractSet[str]:
        return self._settings.types

    def tell(self, event: Event) -> Told:
        try:
            status, retry_after = self._send(event)
        except WebhookError as error:
            return Told(Outcome.FAILED, str(error))
        except TimeoutError:
            return Told(Outcome.FAILED, f"no answer within {self._timeout_s:g} s")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Told(Outcome.FAILED, f"{type(error).__name__}: {error}"[:200])
        if 200 <= status < 300:
            return Told(Outcome.DONE)
        if status == http.client.GONE:
            return Told(Outcome.GONE, "it answered 410: it wants no more events")
        return Told(Outcome.FAILED, f"it answered {status}", self._seconds(retry_after))

    def _seconds(self, retry_after: str | None) -> float | None:
        """Return what *retry_after*, a number of seconds or a date (RFC 9110, 10.2.3), asks for."""
        if retry_after is None:
            return None
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            return (parsedate_to_datetime(text) - self._clock.now_utc()).total_seconds()
        except (ValueError, TypeError, OverflowError):  # no date, or one without a zone
            return None

    def _send(self, event: Event) -> tuple[int, str | None]:
        """Return the status of the answer, and its Retry-After."""
        body = json.dumps(event.to_json(), separators=(",", ":")).encode("ascii")
        if len(body) > MAX_BODY:
            raise WebhookError(f"the event has {len(body)} bytes, more than {MAX_BODY}")
        timestamp = int(self._clock.now_utc().timestamp())
        signatures = [
            signature(secret, event.id, timestamp, body)
            for secret in read_secrets(self._settings.secret_file)
        ]
        headers = {
            "Content-Type": events.CONTENT_TYPE,
            "User-Agent": "edge-uploader-ingest",
            "webhook-id": event.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        split = urlsplit(self._settings.url)
        path = (split.path or "/") + (f"?{split.query}" if split.query else "")
        until_s = self._clock.now_s() + self._timeout_s
        connection = self._connect(split.scheme, split.hostname or "", split.port, until_s)
        sock = connection.sock
        # The timeout of a socket is for each read; this one is for all of them.
        is_late = threading.Event()
        deadline = threading.Timer(until_s - self._clock.now_s(), _cut, (sock, is_late))
        deadline.daemon = True
        deadline.start()
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()  # its body is not read
        except Exception as error:
            if is_late.is_set():
                raise TimeoutError from error
            raise
        else:
            if is_late.is_set():  # a head that was cut looks like a whole one
                raise TimeoutError
            return answer.status, answer.headers.get("Retry-After")
        finally:
            deadline.cancel()
            connection.close()

    def _connect(
        self, scheme: str, host: str, port: int | None, until_s: float
    ) -> http.client.HTTPConnection:
        is_tls = scheme == "https"
        port = port or (443 if is_tls else 80)
        addresses = self._resolve(host, port)
        if not addresses:
            raise WebhookError(f"{host} has no address")
        if not self._settings.allow_private:
            private = [one for one in addresses if not is_public(one)]
            if private:
                raise WebhookError(
                    f"{host} is {private[0]}, not an address of the internet: set allow_private "
                    "if that is meant"
                )
        context = client_context(self._settings.ca_file) if is_tls else None
        sock = self._reach(addresses, port, until_s)
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        try:
            connection.sock = (
                context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
                if context is not None
                else sock
            )
        except BaseException:
            sock.close()
            raise
        return connection

    def _reach(self, addresses: Sequence[str], port: int, until_s: float) -> socket.socket:
        """Return a connection to the first of *addresses* that has one."""
        for number, address in enumerate(addresses, 1):
            left_s = until_s - self._clock.now_s()
            if left_s <= 0:
                break
            try:
                return socket.create_connection((address, port), left_s)
            except OSError:
                if number == len(addresses):
                    raise
        raise TimeoutError


def _cut(sock: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    try:
        # Below TLS, whose own shutdown takes the connection apart under the thread that reads it.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it ended in this moment
