"""What carries httpx's requests: httpcore's pool over our own sockets, by public hooks only."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from edge_agent.net.early_answer import OnInformational
from edge_agent.net.resolver import SHARED
from edge_agent.net.socket_options import SocketOption
from edge_agent.net.stream import Backend, tell_nobody
from edge_agent.net.way import Way

USUALLY_KEPT_S = 30.0
"""So long an idle connection is used again."""


class HttpxTransport(httpx.BaseTransport):
    """One connection at a time: also what makes the remembered socket of a lane the live one.

    Args:
        context: asked before each request; with another one than before a new connection begins, so
            that a renewed certificate is used at once.

    Raises:
        ValueError, httpx.InvalidURL: the proxy is none that can be used.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        proxy: str | None,
        options: list[SocketOption],
        way: Way | None = None,
        kept_s: float = USUALLY_KEPT_S,
        on_informational: OnInformational = tell_nobody,
    ) -> None:
        self._kept_s = kept_s
        self._context = context
        self._proxy = None if proxy is None else _proxy(proxy)
        self._backend = Backend(SHARED, options, way=way, on_informational=on_informational)
        self._used = context()
        self._way = Way() if way is None else way
        self._device = self._way.device
        self._pool = self._new_pool(self._used)

    def _new_pool(self, context: ssl.SSLContext) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=context,
            proxy=self._proxy,
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=self._kept_s,
            network_backend=self._backend,
        )

    def _renew(self) -> None:
        context, device = self._context(), self._way.device
        if context is not self._used or device != self._device:
            self._pool.close()
            self._used, self._device = context, device
            self._pool = self._new_pool(context)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._renew()
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _translated():
            answer = self._pool.handle_request(asked)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def rest(self) -> None:
        """Let an idle connection go; the next request makes another, with the TLS session of this one."""
        self._pool.close()
        self._pool = self._new_pool(self._used)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._stream

    def close(self) -> None:
        with _translated():
            self._stream.close()


def _proxy(url: str) -> httpcore.Proxy:
    found = httpx.Proxy(url)
    if found.url.scheme != "http":
        msg = f"the scheme {found.url.scheme} is not that of a proxy we can use"
        raise ValueError(msg)
    return httpcore.Proxy(
        url=httpcore.URL(
            scheme=found.url.raw_scheme,
            host=found.url.raw_host,
            port=found.url.port,
            target=found.url.raw_path,
        ),
        auth=found.raw_auth,
        headers=found.headers.raw,
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Raise httpx's error for httpcore's: they have the same names."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("httpcore"):
            raise
        kind = getattr(httpx, type(error).__name__, httpx.NetworkError)
        raise kind(str(error)) from error
