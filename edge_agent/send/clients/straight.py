"""Bytes on their way straight to the server's store, by what the server has signed. Knows HTTP, and no library.

The store is not the server: it gets no token and no client certificate of ours, and what it says is a reason for
a person at most. Whether it has the bytes is the server's to say.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

from edge_agent.base.errors import AbortedError, ConfigError, NotDirectError, TransportError
from edge_agent.core.printable import without_codes
from edge_agent.net.endpoint import Endpoint
from edge_agent.net.route import interface_to
from edge_agent.send.clients.exchange import Carrier, Exchange, RequestWatch
from edge_agent.send.clients.responses import Answer
from upload_protocol.direct import SignedPart

_HAS_IT = 412
"""It is there already: an answer was lost. The server looks at it as at any other."""
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
"""A host, perhaps with a port, and nobody's name: everything else is for a library to stumble over."""
_WORD = re.compile(rb"<(Code|Message)>([^<]{1,200})<")


class ToStore:
    """Sends to one store at a time, over a connection of its own that is made when it is needed first.

    Args:
        endpoint: how the server is reached; the store is reached likewise.
        via: what carries requests, instead of the network.
        watch: told when a request begins and ends.
    """

    def __init__(
        self, endpoint: Endpoint, *, via: Carrier | None = None, watch: RequestWatch | None = None
    ) -> None:
        self._endpoint = replace(endpoint, client_cert_file=None, client_key_file=None)
        self._is_secret = endpoint.url.lower().startswith("https:")
        self._via = via
        self._watch = watch
        self._lock = threading.Lock()
        self._is_aborted = False
        self._is_sending = False
        self._exchange: Exchange | None = None
        self._origin = ""

    def put(self, part: SignedPart, body: Iterator[bytes]) -> None:
        """Send one part; on return the store has said that it has it.

        Args:
            part: where it goes.
            body: yields exactly its bytes; used once, perhaps not to its end.

        Raises:
            NotDirectError: the store was not reached, or did not take it; any of it may be there.
            AbortedError: cut off from this side.
        """
        origin, path = self._place(part.url)
        length = {"Content-Length": str(part.range.length)}
        self._is_sending = True
        try:
            exchange = self._exchange_with(origin)
            live = exchange.live_socket()
            if live is not None:
                self._check(live)
            answer = exchange.ask("PUT", path, body=body, fields={**part.headers, **length})
        except AbortedError:
            raise
        except (TransportError, ConfigError) as error:
            raise NotDirectError(f"the store at {_host(origin)}: {error}") from error
        finally:
            self._is_sending = False
        if not 200 <= answer.status < 300 and answer.status != _HAS_IT:
            raise NotDirectError(
                f"the store at {_host(origin)} answers {answer.status}{_words(answer)}"
            )

    def _place(self, url: str) -> tuple[str, str]:
        """Return where a part goes: scheme and authority, and the rest.

        Raises:
            NotDirectError: it is nowhere that bytes may go.
        """
        scheme, rest = url.split("://", 1) if "://" in url else ("", url)
        authority, slash, path = rest.partition("/")
        if scheme not in {"http", "https"} or not _AUTHORITY.match(authority):
            raise NotDirectError("the server names no place that bytes could go to")
        if self._is_secret and scheme != "https":
            raise NotDirectError(
                f"the store at {authority} is reached without TLS, and the server with it: have the server's"
                " operator name an https endpoint"
            )
        return f"{scheme}://{authority}", slash + path

    def _exchange_with(self, origin: str) -> Exchange:
        with self._lock:
            if self._exchange is None or self._origin != origin:
                if self._exchange is not None:
                    self._exchange.close()
                endpoint = replace(self._endpoint, url=origin)
                self._exchange = Exchange(
                    endpoint,
                    token=lambda: None,
                    via=self._via,
                    watch=self._watch,
                    check=self._check,
                )
                self._origin = origin
                if self._is_aborted:
                    self._exchange.abort()
            return self._exchange

    def _check(self, live: socket.socket) -> None:
        """Look whether *live* leaves the device as the server's connections do: rules and plans are of that link.

        So a server can't have bytes put to the device itself either, where it is not there too.

        Raises:
            NotDirectError: it leaves by another interface.
        """
        way = self._endpoint.way
        usual = way.interface()
        if way.device is not None or usual is None:  # bound to it; or rules for links do not count
            return
        try:
            interface = interface_to(str(live.getpeername()[0]).partition("%")[0])
        except OSError:
            return  # it is closed, and nothing goes over it
        if interface != usual:
            raise NotDirectError(
                f"it is reached over {interface}, and the server over {usual}, which the rules for links and the"
                " data plan are about"
            )

    def live_socket(self) -> socket.socket | None:
        """Return the socket of the connection that carries a part now."""
        with self._lock:
            exchange = self._exchange if self._is_sending else None
        return None if exchange is None else exchange.live_socket()

    def abort(self) -> None:
        """As `LaneClient` says."""
        with self._lock:
            self._is_aborted = True
            exchange = self._exchange
        if exchange is not None:
            exchange.abort()

    def resume(self) -> None:
        """As `LaneClient` says."""
        with self._lock:
            self._is_aborted = False
            exchange = self._exchange
        if exchange is not None:
            exchange.resume()

    def cut(self) -> None:
        """As `LaneClient` says."""
        with self._lock:
            exchange = self._exchange
        if exchange is not None:
            exchange.cut()

    def close(self) -> None:
        with self._lock:
            exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()


def _host(origin: str) -> str:
    return origin.partition("://")[2]


def _words(answer: Answer) -> str:
    """Return what S3 says beside a status, for a person."""
    found = dict(_WORD.findall(answer.body[:4096]))
    said = [
        found[name].decode("ascii", "replace") for name in (b"Code", b"Message") if name in found
    ]
    return f" ({without_codes(': '.join(said))})" if said else ""
