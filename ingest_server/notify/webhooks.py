"""Events as signed HTTP requests: the Standard Webhooks signature over a CloudEvents body.

Only the operator's configuration names targets. An address is looked up once for each connection, and
only those very addresses are connected to, and only if they are public (`kept_connection`): a name that
changes what it stands for cannot lead the server to itself or to its neighbours. Redirects are not
followed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from edge_host.clock import Clock
from ingest_server.core import events
from ingest_server.core.choosing import Wanted
from ingest_server.core.events import Event
from ingest_server.notify.deliveries import Outcome, Told
from ingest_server.notify.kept_connection import (
    KeptConnection,
    Resolve,
    UnreachedError,
    WebhookError,
    resolve,
)

TIMEOUT_S = 15.0
"""For the whole request: a consumer takes the event and works on it later."""

MAX_BODY = 64 * 1024
MIN_SECRET = 24
"""Bytes of a secret, as Standard Webhooks asks for."""

_SECRET_PREFIX = "whsec_"  # noqa: S105 # marks one, is none


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    url: str
    secret_file: Path
    wanted: Sequence[Wanted] = (Wanted(events.TYPES),)
    allow_private: bool = False
    """Whether it may be on this machine or in a private network, and plain http."""
    ca_file: Path | None = None
    """Whose certificates it may have; None: those of the authorities that the system trusts."""


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
        self._connection = KeptConnection(settings, clock, resolve=resolve, timeout_s=timeout_s)

    @property
    def name(self) -> str:
        return self._settings.url

    @property
    def wanted(self) -> Sequence[Wanted]:
        return self._settings.wanted

    def rest(self) -> None:
        """Let the connection go: no event is waiting."""
        self._connection.close()

    def tell(self, event: Event) -> Told:
        try:
            status, retry_after = self._send(event)
        except WebhookError as error:
            return Told(Outcome.FAILED, str(error))
        except UnreachedError as error:
            return Told(Outcome.UNREACHED, str(error))
        except TimeoutError:
            return Told(Outcome.SILENT, f"no answer within {self._timeout_s:g} s")
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
        return self._connection.post(urlsplit(self._settings.url), body, headers)
