"""The application for a WSGI container that is not ours: gunicorn's gthread worker is tested.

    gunicorn -k gthread -w 1 --threads 290 'ingest_server.wsgi:create_app("/path/server.toml")'

One worker: the data folder belongs to one process. ``[server] listen``, ``[tls]`` and
``stop_timeout_s`` are the container's business then, and its number of threads has to be
``threads`` and some more. What else differs is in docs/deployment.md.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import structlog

from edge_host.clock import SystemClock
from edge_host.errors import ConfigError
from ingest_server import logs
from ingest_server.assembly.allocator import give_memory_back, spare_what_is_here
from ingest_server.config import DEFAULT_PATH, ServerConfig, load
from ingest_server.core.errors import ServerError, StorageError
from ingest_server.front.body import BodyTruncatedError
from ingest_server.front.proxy_headers import App
from ingest_server.server import IngestServer

log = structlog.get_logger()

FOLDER_WAIT_S = 20.0
"""Less than the 30 s after which gunicorn kills a worker that has not got going."""
FOLDER_PAUSE_S = 0.25

APP_LOAD_ERROR = 4
"""How a gunicorn worker says that trying again is no use."""


def create_app(path: str | None = None) -> App:
    """Open the data folder and return the application; it is closed when the process ends.

    Args:
        path: the configuration; None: where `ingest-server run` looks for it.

    Raises:
        SystemExit: it cannot start; the reason is on stderr.
    """
    give_memory_back()
    try:
        config = load(_path(path), environ=os.environ)
        logs.configure(level=config.log.level, form=config.log.format)
        if config.tls_files is not None:
            log.warning("config.ignored", error="[tls] is the container's business: set it there")
        server = _started(config)
    except _FolderHeldError as error:
        sys.stderr.write(f"ingest-server: {error}\n")
        raise SystemExit(1) from None  # gunicorn starts another worker, which waits again
    except (ConfigError, ServerError) as error:
        sys.stderr.write(f"ingest-server: {error}\n")
        raise SystemExit(APP_LOAD_ERROR) from None
    atexit.register(server.stop)
    spare_what_is_here()
    return arriving(server.app, lambda: server.config.limits.read_timeout_s)


class _FolderHeldError(ServerError):
    """Another process has had the data folder all the time."""


def _started(config: ServerConfig) -> IngestServer:
    """Return the server, once the process that had the folder before has let it go.

    At a reload gunicorn starts the new worker while the old one still finishes its requests.
    """
    clock = SystemClock()
    give_up_s = clock.now_s() + FOLDER_WAIT_S
    is_told = False
    while True:
        try:
            server = IngestServer(config)
            server.start(listens=False)
        except StorageError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            if clock.now_s() >= give_up_s:
                raise _FolderHeldError(str(error)) from None
            if not is_told:
                log.warning("folder.held", error=str(error), wait_s=FOLDER_WAIT_S)
                is_told = True
            threading.Event().wait(FOLDER_PAUSE_S)
        else:
            return server


def _path(given: str | None) -> Path | None:
    if given is not None:
        return Path(given)
    return DEFAULT_PATH if DEFAULT_PATH.exists() else None


def arriving(app: App, read_timeout_s: Callable[[], float]) -> App:
    """Return *app* such that gunicorn's bodies come as they arrive and end when they stall.

    Its own have no timeout, and wait until all that was asked for is there; of a body that breaks
    then the last piece would be lost.
    """

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        connection = environ.get("gunicorn.socket")
        if connection is not None:
            connection.settimeout(read_timeout_s())
            reader = getattr(environ["wsgi.input"], "reader", None)
            if hasattr(reader, "unreader") and isinstance(getattr(reader, "length", None), int):
                environ["wsgi.input"] = _Arriving(environ["wsgi.input"])
            elif isinstance(getattr(reader, "parser", None), Generator):
                environ["wsgi.input"] = _ArrivingChunks(environ["wsgi.input"])
        return app(environ, start_response)

    return answer


class _Arriving:
    """A gunicorn body of known length, read as it arrives."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._reader = body.reader

    def read(self, size: int) -> bytes:
        """Return at least a byte and at most *size*; b"" at the end, whichever it is."""
        reader = self._reader
        wanted = min(size, reader.length)
        if wanted == 0:
            return b""
        try:
            data: bytes = reader.unreader.read(None, read_ahead=wanted)
        except Exception:
            self._body.failed = True  # it must not look for another request behind this one
            raise
        if len(data) > wanted:
            reader.unreader.unread(data[wanted:])
            data = data[:wanted]
        reader.length -= len(data)
        return data


class _ArrivingChunks:
    """A gunicorn body in chunks, read as it arrives."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._reader = body.reader
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return at least a byte and at most *size*; b"" behind the last chunk only."""
        while not self._rest and self._reader.parser is not None:
            if self._body.failed:  # a generator that has raised would look as if it had ended
                raise BodyTruncatedError("the body broke off")
            try:
                self._rest = next(self._reader.parser)
            except StopIteration:
                self._reader.parser = None
            except Exception:
                self._body.failed = True
                raise
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
