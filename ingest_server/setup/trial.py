"""Asking the server that was just started, as a device would."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

from edge_host.certificates import by_the_clock
from edge_host.setup.errors import SetupError

_ASK_S = 10.0
_HERE = "127.0.0.1"
"""Not by name: a small machine may know no localhost."""


def ask(name: str, port: int, ca_file: Path | None) -> None:
    """Ask the server on this machine whether it is ready, and whether its certificate is good for *name*.

    Raises:
        SetupError: it does not answer so.
    """
    context = ssl.create_default_context(cafile=ca_file)
    try:
        with (
            socket.create_connection((_HERE, port), _ASK_S) as raw,
            context.wrap_socket(raw, server_hostname=name) as secured,
        ):
            secured.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = http.client.HTTPResponse(secured)
            answer.begin()
            if answer.status == http.HTTPStatus.OK:
                return
            said = answer.read(1000).decode(errors="replace").strip()
    except ssl.SSLCertVerificationError as error:
        said = " ".join(filter(None, (f"{error.verify_message}.", by_the_clock(error)))).rstrip(".")
    except (OSError, http.client.HTTPException) as error:
        said = str(error)
    raise SetupError(
        f"The server was started and does not answer as it should: {said}. See: journalctl -u ingest-server -e"
    )
