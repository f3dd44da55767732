"""What an operator is told when a server starts: what is open that need not be, and what is missing."""

from __future__ import annotations

from contextlib import suppress

import structlog

from ingest_server.assembly.bytes_place import left_places
from ingest_server.config import ServerConfig
from ingest_server.core.errors import Refused
from ingest_server.front.address import ListenAddress
from ingest_server.storage.interface import StateStore

log = structlog.get_logger()


def tell(config: ServerConfig, state: StateStore, address: ListenAddress | None) -> None:
    """Log a warning, or a word, for each; none of them keeps the server from its work.

    Args:
        config: of the server that starts.
        state: what it remembers.
        address: where it listens itself; None: nowhere.
    """
    _tell_of_proxy(config)
    _tell_of_page(config, state)
    _tell_of_routes(config, state)
    is_open_to_others = address is not None and not address.is_local
    if is_open_to_others and config.auth.mode == "token" and config.tls_files is None:
        log.warning(
            "server.insecure_transport",
            address=str(address),
            error="tokens and recordings cross the network unencrypted: set [tls], put a TLS "
            "proxy before this server, or listen on 127.0.0.1 or a VPN's address",
        )


def _tell_of_page(config: ServerConfig, state: StateStore) -> None:
    """Say what is missing until somebody can use the page."""
    if not config.page_is_on or config.auth.mode == "open":
        return
    with suppress(Refused):  # a database that is busy now is no reason not to start
        if state.users.users():
            return
        log.info(
            "page.closed",
            error="the page is on, and nobody can log in yet. Run: ingest-server user add NAME",
        )


def _tell_of_routes(config: ServerConfig, state: StateStore) -> None:
    with suppress(Refused):  # a database that is busy now is no reason not to start
        for sentence in left_places(config, state):
            log.warning("route.gone", error=sentence)


def _tell_of_proxy(config: ServerConfig) -> None:
    socket, secret_file = config.server.proxy_socket, config.server.proxy_secret_file
    if socket is None and secret_file is None:
        return
    log.warning(
        "proxy.identity_trusted",
        socket=None if socket is None else str(socket),
        secret_file=None if secret_file is None else str(secret_file),
        error="whoever sends X-Client-Verify and X-Client-DN that way is any device it likes: "
        "the proxy must set both itself, whatever its client sent",
    )
