"""What carries a lane's requests: where the server is, and the network and the TLS that lead to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import structlog

from edge_agent.base import tls
from edge_agent.base.errors import ConfigError
from edge_agent.core.packets import CongestionControl
from edge_agent.net import socket_options
from edge_agent.net.httpx_transport import USUALLY_KEPT_S, HttpxTransport
from edge_agent.net.way import Way

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the server is, and how to reach it."""

    url: str
    """http or https, perhaps with a path in front of the protocol's own."""
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    proxy: str | None = None
    idle_timeout_s: float = 60.0
    kept_s: float = USUALLY_KEPT_S
    """How long a connection that carries nothing is used again. One that is kept longer than usual is not
    probed from this side: that would cost more than what it carries."""
    congestion_control: CongestionControl = "auto"
    dscp: int = 0
    way: Way = field(default_factory=Way)
    """What was learned of the way there; shared by all lanes over it."""

    @property
    def files(self) -> tls.TlsFiles:
        return tls.TlsFiles(self.ca_file, self.client_cert_file, self.client_key_file)


def transport_to(connection: Endpoint) -> httpx.BaseTransport:
    """Return what carries requests to the server, directly or by way of a proxy.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """
    options = socket_options.accepted(
        socket_options.wanted(
            connection.congestion_control,
            dscp=connection.dscp,
            is_probed=connection.kept_s <= USUALLY_KEPT_S,
        )
    )
    proxy = connection.proxy
    try:
        if proxy is not None and proxy.lower().startswith("https"):
            # TLS inside TLS is what our own sockets do not do.
            connection.way.sets_packets = False
            return httpx.HTTPTransport(
                verify=_Contexts(connection)(),
                trust_env=False,
                limits=httpx.Limits(
                    max_connections=1,
                    max_keepalive_connections=1,
                    keepalive_expiry=connection.kept_s,
                ),
                proxy=proxy,
                socket_options=options,
            )
        return HttpxTransport(
            _Contexts(connection),
            proxy=proxy,
            options=options,
            way=connection.way,
            kept_s=connection.kept_s,
            on_informational=lambda status, _: log.debug("answer.informational", status=status),
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        msg = f"server.proxy: cannot be used: {error}"
        raise ConfigError([msg]) from error


class _Contexts:
    """The TLS context that is right at the moment."""

    def __init__(self, connection: Endpoint) -> None:
        self._files = connection.files
        # Never used for http: loads no certificates.
        is_tls = connection.url.lower().startswith("https")
        self._plain = None if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._last: ssl.SSLContext | None = None
        self._told: list[str] = []

    def __call__(self) -> ssl.SSLContext:
        """Return it.

        Raises:
            ConfigError: a file cannot be used, and none could before.
        """
        if self._plain is not None:
            return self._plain
        try:
            self._last = tls.context(self._files)
        except ConfigError as error:
            if self._last is None:
                raise
            # In the middle of being renewed: the certificate is new and the key still old.
            if error.problems != self._told:
                self._told = error.problems
                log.warning("tls.not_renewed", problems=error.problems, action="the old ones serve")
        return self._last
