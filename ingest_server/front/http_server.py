"""cheroot embedded in this process, made fit for uploads.

What is changed, and why (stock cheroot is not enough for uploads):

* the request head is read by `request_head`, which refuses what two readers could understand differently;
* ``wsgi.input`` is a `SocketBody`: bytes on arrival, truncation is an error, a stall ends;
* ``100 Continue`` is sent when the application first reads, so a refusal comes without it;
* a connection whose body was not read in full is closed, but not before the peer had a chance to
  read the answer (lingering close);
* a connection has a thread only while a whole request of it is served: TLS handshakes, heads, what
  the peer has not yet read of an answer, and lingering go on in between, and short requests take
  turns, so that neither a slow peer nor many uploads keep a status request waiting;
* a stop first finishes running requests, then cuts the rest through their bodies, so that the
  application can still seal what has arrived.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ingest_server.base.observer import NOBODY, Observer
from ingest_server.front import cheroot_parts
from ingest_server.front.address import ListenAddress
from ingest_server.front.admission import HELD_S, RESERVED_THREADS
from ingest_server.front.body import Patience
from ingest_server.front.connection import HttpConnection
from ingest_server.front.crowd import Crowd
from ingest_server.front.held import HeldAnswers
from ingest_server.front.interim import Interim
from ingest_server.front.lingering import LINGER_S
from ingest_server.front.listening import ListenError, remove_stale_socket
from ingest_server.front.phases import TURNS, Phase
from ingest_server.front.queues import Queues
from ingest_server.front.roster import Roster

log = structlog.get_logger()

BACKLOG = 1024
"""Connections that the kernel holds for us: a whole fleet that comes back at once."""

CUT_GRACE_S = 5
"""After running requests were cut: time for them to seal and answer."""

ACCEPT_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class ServingSettings:
    address: ListenAddress
    max_uploads: int = 256
    """Uploads that are received at once; each has a thread."""
    header_timeout_s: float = 15.0
    """From the first byte of a request to the end of its headers: they are a few hundred bytes. As
    long again for a TLS handshake."""
    stop_timeout_s: float = 30.0
    keep_alive_s: float = 300.0
    """Idle time before a connection is closed; longer than an agent's pause between two reports."""
    interim: Interim = Interim.DIRECT
    behind_proxy: bool = False
    """Whether peers on this machine are a proxy, which stands for many and bounds each of them."""
    patience: Patience = field(default_factory=Patience)
    held_s: float = HELD_S
    """How long who asks for too much waits for the answer."""
    max_requests_per_device: int | None = None
    """How many of one device may run or wait for their turn, of each kind; None: any number wait."""


class UploadServer(cheroot_parts.Server):
    """An HTTP server for one WSGI application.

    `listen` binds and `serve` runs until `stop`, which is called from another thread.
    """

    ConnectionClass = HttpConnection
    keep_alive_conn_limit = 2**20  # its default of 10 is for a web site; descriptors are the limit

    def __init__(
        self,
        settings: ServingSettings,
        app: Callable[..., Iterable[bytes]],
        *,
        now_s: Callable[[], float],
        tls: ssl.SSLContext | None = None,
        observer: Observer = NOBODY,
    ) -> None:
        address = settings.address
        super().__init__(
            address.path or (address.host, address.port),
            app,
            numthreads=settings.max_uploads + RESERVED_THREADS,
            server_name="edge-uploader",
            request_queue_size=BACKLOG,
            timeout=math.ceil(settings.keep_alive_s),
            shutdown_timeout=CUT_GRACE_S,
        )
        self.settings = settings
        self.now_s = now_s
        self.observer = observer
        self.tls = tls
        """For connections from now on; may be replaced while running."""
        self.gateway = cheroot_parts.Gateway
        self.queues: Queues[HttpConnection] = Queues(self._take_turn, now_s)
        self.held: HeldAnswers[HttpConnection] = HeldAnswers(
            settings.held_s, self._take_turn, now_s
        )
        self.draining = False
        self.is_leaving = False
        """Whether each answer says that its connection ends, though all is answered: a balancer is to take
        others. One whose answer did not say so goes on."""
        self._bind_error: OSError | None = None
        self._stopping = threading.Event()
        self.roster = Roster()
        self._crowd = Crowd(settings.max_uploads, now_s)

    @property
    def address(self) -> ListenAddress:
        """Where it really listens: with the kernel's choice where port 0 was asked for."""
        if isinstance(self.bind_addr, str):
            return ListenAddress(path=self.bind_addr)
        host, port = self.bind_addr
        return ListenAddress(host, port)

    def listen(self) -> None:
        """Bind and start the threads; connections queue from now on.

        Raises:
            ListenError: the address cannot be had.
        """
        try:
            self.prepare()
        except OSError as error:
            # cheroot raises an error of its own, without the number that says why.
            raise ListenError(self.settings.address, self._bind_error or error) from error
        self.park_connections()

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:  # noqa: A002 # cheroot's
        made = self.prepare_socket(self.bind_addr, family, type, proto, self.nodelay, None)
        return self._bound(made)

    def bind_unix_socket(self, bind_addr: str) -> socket.socket:
        try:
            remove_stale_socket(Path(bind_addr))
        except OSError as error:
            self._bind_error = error
            raise
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The file gets the socket's mode less the umask: never wider than meant, maybe narrower.
        os.fchmod(made.fileno(), 0o660)
        self._bound(made)
        Path(bind_addr).chmod(0o660)
        return made

    def _bound(self, made: socket.socket) -> socket.socket:
        try:
            made.bind(self.bind_addr)
        except OSError as error:
            made.close()
            self._bind_error = error
            raise
        name = made.getsockname()
        self.bind_addr = name if isinstance(name, str) else name[:2]
        self.socket = made
        return made

    def process_conn(self, conn: HttpConnection) -> None:
        """Give a connection a thread, a new one only once it has sent something.

        A thousand connections that say nothing then cost a descriptor each, and no thread.
        """
        if not conn.is_accepted:
            conn.is_accepted = True
            self.put_conn(conn)
        elif conn.awaits_reader and conn.is_sliced:
            # Its reader takes more. A thread would only find out that others have the turns.
            conn.phase, conn.deadline_s = Phase.SLICE, None
            self.put_conn(conn)
        else:
            super().process_conn(conn)

    def put_conn(self, conn: HttpConnection) -> None:
        """Park a connection until it can go on. Its thread has nothing more to do with it."""
        if conn.asked is not None and conn.phase in TURNS:
            conn.parked_s = self.now_s()
            conn.asked.wait(conn)
            return
        if conn.phase is Phase.HELD:
            self.held.hold(conn)
            return
        super().put_conn(conn)

    def _take_turn(self, conn: HttpConnection) -> None:
        self.requests.put(conn)

    def is_crowded(self) -> bool:
        """Whether as many connections are open as leave room for the files of what runs."""
        return self._crowd.is_full(self.roster.open_count)

    def wait_for_room(self) -> None:
        """Let the acceptor rest a moment: nobody is idle, and the next one knocks already."""
        self._stopping.wait(ACCEPT_PAUSE_S)

    def stop(self) -> None:
        """Finish running requests for the stop timeout, cut the rest, close.

        From its first moment `draining` is true: the application answers 503 to new work, and
        each connection is closed after its answer.
        """
        self.draining = True
        self._stopping.set()
        self.held.end()
        if not self.roster.wait_until_idle(self.settings.stop_timeout_s):
            rest = self.roster.running()
            log.warning("server.cut", requests=len(rest))
            for request in rest:
                request.cut()
            if not self.roster.wait_until_idle(CUT_GRACE_S):
                self.roster.shut_down_running()
        self.roster.wait_until_none_lingers(LINGER_S)
        for conn in self.queues.dismiss():
            conn.send_away()
        was_listening = self.ready
        super().stop()
        if not was_listening:
            return
        self.roster.close_rest()
        if isinstance(self.bind_addr, str):
            Path(self.bind_addr).unlink(missing_ok=True)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Send cheroot's own messages the way of all others."""
        if msg == cheroot_parts.ACCEPT_FAILED:
            # Out of descriptors, most likely: it would try again, and log, without a pause.
            self._stopping.wait(ACCEPT_PAUSE_S)
        if level >= logging.WARNING:
            log.error("server.failed", error=msg, exc_info=traceback)
        else:
            log.debug("server.noted", error=msg)
