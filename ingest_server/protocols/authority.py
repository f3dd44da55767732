"""The server's own certificate authority, for new devices: they know it by its fingerprint, from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import falcon

from ingest_server.core.errors import Refused
from upload_protocol.headers import CA_PATH

MEDIA_TYPE = "application/pem-certificate-chain"  # RFC 8555
_CERTIFICATE = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)
_MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class AuthorityFile:
    """Gives the certificates of a file to everybody, and nothing else that may be in it."""

    path: Path | None

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with them.

        Raises:
            Refused: this server has none to give.
        """
        found = [] if self.path is None else _certificates(self.path)
        if not found:
            raise Refused("not-found", "this server has no certificate authority of its own")
        resp.content_type = MEDIA_TYPE
        resp.data = b"\n".join(found) + b"\n"


def add_routes(app: falcon.App[falcon.Request, falcon.Response], path: Path | None) -> None:
    app.add_route(CA_PATH, AuthorityFile(path))


def _certificates(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as source:
            return _CERTIFICATE.findall(source.read(_MOST))
    except OSError:
        return []
