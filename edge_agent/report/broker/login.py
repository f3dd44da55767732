"""Where the broker is and how to log in: what the ``[mqtt]`` settings mean."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge_agent.base.credentials import FOR_BROKER, read_secret
from edge_agent.base.errors import AgentError, ConfigError
from edge_agent.base.settings import MqttSettings
from edge_agent.base.tls import TlsFiles, context
from edge_agent.core.printable import without_codes


class BrokerError(AgentError):
    """The broker cannot be used; the message says what happened, what it means, what to do."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Read ``mqtt://host[:port]`` or ``mqtts://host[:port]`` (ports 1883 and 8883).

        Raises:
            BrokerError: anything else.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BrokerError(
                f"mqtt.url cannot be read ({error}): write mqtt://host:1883"
            ) from None
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            msg = "mqtt.url is no broker's address: write mqtt://host:1883, or mqtts://host:8883 for TLS"
            raise BrokerError(msg)
        if parts.username or parts.password:
            msg = (
                "mqtt.url holds a user name or a password, which logs and process lists would show:"
                " use mqtt.username and mqtt.password_file"
            )
            raise BrokerError(msg)
        is_tls = parts.scheme == "mqtts"
        return cls(parts.hostname, port or (8883 if is_tls else 1883), is_tls)


@dataclass(frozen=True, slots=True)
class Login:
    """Everything that opens a session."""

    address: BrokerAddress
    client_id: str
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None
    keepalive_s: int


def read_login(settings: MqttSettings, client_id: str) -> Login:
    """Collect what a session needs; read again for each one, so that a new password is taken up.

    Raises:
        BrokerError: a file cannot be read, or the URL is wrong.
    """
    if settings.url is None:
        raise BrokerError("no broker is configured: set mqtt.url to report over MQTT")
    address = BrokerAddress.parse(settings.url)
    try:
        password = read_secret(FOR_BROKER, settings.password_file)
    except ConfigError as error:
        raise BrokerError(f"no password for the broker: {error}") from error
    return Login(
        address=address,
        client_id=client_id,
        username=settings.username,
        password=password,
        tls=_tls(settings) if address.is_tls else None,
        keepalive_s=settings.keepalive_seconds,
    )


def _tls(settings: MqttSettings) -> ssl.SSLContext:
    files = TlsFiles(
        settings.ca_file, settings.client_cert_file, settings.client_key_file, table="mqtt"
    )
    try:
        return context(files)
    except ConfigError as error:
        raise BrokerError(str(error)) from error


def why_not_reached(error: OSError) -> str:
    """Return what kept us from the broker, for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with the broker ({error.reason or without_codes(str(error))})"
    if isinstance(error, socket.gaierror):
        return "the broker's name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "the broker does not answer"
    return error.strerror or str(error)
