"""How this server logs in at a broker: read from its files each time, so that renewed ones need no restart."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from ingest_server.fleet.broker_words import LoginError
from ingest_server.fleet.mqtt_client import Login
from ingest_server.fleet.settings import BrokerSettings


def read_login(settings: BrokerSettings) -> Login:
    """Return the login as the files are now.

    Raises:
        LoginError: one of them cannot be used.
    """
    url, password, tls = urlsplit(settings.url), None, None
    is_tls = url.scheme == "mqtts"
    if settings.password_file is not None:
        try:
            password = settings.password_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LoginError(
                f"[fleet] mqtt_password_file: {settings.password_file} cannot be read ({error}): let "
                "the user that runs this server read it"
            ) from error
    if is_tls:
        try:
            tls = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise LoginError(
                f"[fleet] mqtt_ca_file: {settings.ca_file} cannot be used ({error}): name a file in "
                "PEM form that this server's user can read"
            ) from error
    port = url.port or (8883 if is_tls else 1883)
    return Login(url.hostname or "localhost", port, tls, settings.username, password)
