"""One connection, made of cheroot's and fit for uploads.

A connection takes a thread only while there is work for one: a TLS handshake, a request's head, the
small JSON body of a control request, an answer that the peer does not take at once and the lingering
after an early one all proceed whenever the peer does, and are parked with the server's selector in
between, each with a deadline. No request begins before the answers to those in front of it are out.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import structlog

from ingest_server.front import admission, cheroot_parts
from ingest_server.front.address import ListenAddress, site_of
from ingest_server.front.answer_pace import AnswerPace
from ingest_server.front.answer_writer import AnswerWriter
from ingest_server.front.body import CONTINUE
from ingest_server.front.head_reader import Gathered, HeadReader
from ingest_server.front.lingering import LINGER_S, Lingering
from ingest_server.front.phases import AFTER, ANSWERING, Phase
from ingest_server.front.queues import Asked
from ingest_server.front.request import HttpRequest, refusal
from ingest_server.front.socket_options import notice_the_end
from ingest_server.front.tls import CLIENT_NAME, SECURE_ENVIRON, TlsSocket
from upload_protocol import problems

if TYPE_CHECKING:
    from ingest_server.front.http_server import UploadServer

log = structlog.get_logger()

NEXT_BYTES_MS = 1
"""How long a thread waits for the next request, or for the rest of a small one: a client on the same
machine, or a proxy, takes less than this, and one across a network never asks again so soon."""
LOOKS = 4
"""How often at most it waits so for the rest of one: a trickle is not to keep a thread."""

_TOO_SLOW = {Phase.HEAD: "the headers", Phase.BODY: "the body"}


class HttpConnection(cheroot_parts.Connection):
    RequestHandlerClass = HttpRequest

    server: UploadServer

    def __init__(self, server: UploadServer, sock: socket.socket, makefile: Any) -> None:  # noqa: ARG002 # cheroot's
        def made(one: socket.socket, mode: str, size: int) -> HeadReader | AnswerWriter:  # noqa: ARG001 # cheroot's
            return HeadReader(one) if "r" in mode else AnswerWriter(one)

        super().__init__(server, sock, made)
        self.phase = Phase.IDLE
        self.deadline_s: float | None = None
        """When the peer's time for the phase is over; None: the server's keep-alive time counts."""
        self.parked_s = 0.0
        """Since when it waits."""
        self.gathered: Gathered | None = None
        self.lingers = False
        self.is_accepted = False
        self.asked: Asked[HttpConnection] | None = None
        """Of the request that is served, or waits for its turn."""
        self._has_small_body = False
        """Whether what was gathered is a small upload in full."""
        self.answering: HttpRequest | None = None
        """The request whose answer is not out."""
        self._began_s = 0.0
        """When the work at this request began, by the clock of the thread that does it."""
        self._is_kept = False
        self._lingering = Lingering()
        self._pace = AnswerPace(server.settings.patience)
        self._is_secured = server.tls is None
        if sock.family != socket.AF_UNIX:
            notice_the_end(sock)
        server.roster.remember(self)

    @property
    def is_idle(self) -> bool:
        return self.phase is Phase.IDLE

    def communicate(self) -> bool:
        """Go on as far as is possible; true where the connection is to be parked again."""
        self._began_s = time.thread_time()
        if self.phase is Phase.LINGER:
            return self._goes_on_lingering()
        if self.phase in ANSWERING and not self._goes_on_answering():
            return False
        while self.phase not in AFTER:
            if self.phase is not Phase.TURN:
                try:
                    if not self._is_ready():
                        return True
                except OSError as error:
                    log.debug("connection.broken", phase=self.phase.name.lower(), error=str(error))
                    return False
                if self._must_wait_its_turn():
                    self.phase, self.deadline_s = Phase.TURN, None
                    return True
            if not self._serve():
                return False
            # The next request of a sender close by is here within a moment; to wait for it here
            # saves two handovers between threads. Not while others wait for a thread.
            if self.server.requests.qsize or not self._goes_on():
                return True
        return True

    def _goes_on(self) -> bool:
        """Whether the peer sends something at once after an answer, or has sent it before."""
        if self.rfile.has_data():
            return True
        return self._has(select.POLLIN, NEXT_BYTES_MS)

    def _serve(self) -> bool:
        self.phase, self.deadline_s = Phase.IDLE, None
        try:
            self._is_kept = super().communicate()  # type: ignore[no-untyped-call] # cheroot's
        finally:
            self.gathered, self._has_small_body = None, False
            self._end_turn()
        if self._has_more_to_send:
            if self.phase is not Phase.HELD:
                self._begin_to_answer()
            return True
        return self._is_kept or (self.lingers and self._begins_to_linger())

    def _must_wait_its_turn(self) -> bool:
        head = None if self.gathered is None else self.gathered.head
        if head is None:
            return False
        certificate = (self.ssl_env or {}).get(CLIENT_NAME)
        self.asked = self.server.queues.asked(
            head, self._peer, certificate, is_whole=self._has_small_body
        )
        return not self.asked.may_begin(self.server.settings.max_requests_per_device)

    def _end_turn(self) -> None:
        """Give the turn back; one that is sent in slices asks for another with each.

        Not what is held back: a refusal is sent without one.
        """
        if self.asked is None:
            return
        worked_s = time.thread_time() - self._began_s
        self.asked.end(worked_s)
        self._began_s += worked_s
        if not (self.is_sliced and self._has_more_to_send) or self.phase is Phase.HELD:
            self.asked = None

    @functools.cached_property
    def _peer(self) -> str:
        """Who it is, as far as requests of one peer are counted; "" for a proxy, who is many."""
        is_many = self.server.settings.behind_proxy and self.is_proxys
        return "" if is_many else site_of(self.remote_addr or "")

    @functools.cached_property
    def is_proxys(self) -> bool:
        """Whether the peer is a proxy: on a Unix socket, or on this machine where one is believed."""
        address = self.remote_addr or ""
        return not address or (
            self.server.settings.behind_proxy and ListenAddress(address).is_local
        )

    def has_left(self) -> bool:
        """Whether the peer has closed at least its sending half: it will hardly read an answer."""
        return self._has(select.POLLRDHUP, 0)

    def _has(self, event: int, wait_ms: int) -> bool:
        """Whether there is that *event* on the connection, or it broke."""
        waiting = select.poll()
        waiting.register(self.socket.fileno(), event)
        return bool(waiting.poll(wait_ms))

    @property
    def awaits_reader(self) -> bool:
        return self.phase is Phase.ANSWER

    @property
    def has_work(self) -> bool:
        return self.phase not in AFTER and self.rfile.has_data()

    @property
    def is_sliced(self) -> bool:
        """Whether its answer has a turn for each of its slices."""
        return self.asked is not None and self.asked.slice_bytes is not None

    @property
    def _has_more_to_send(self) -> bool:
        return self.wfile.is_full or self.answering is not None

    def holds_back(self) -> bool:
        """Whether the answer that is made is to wait, as the refusal of one who asks for too much."""
        if self.asked is None or not self.asked.asks_too_much or not self.server.held.has_room():
            return False
        self.asked.asks_too_much = False
        self.phase = Phase.HELD
        return True

    def _begin_to_answer(self) -> None:
        self.phase = Phase.ANSWER
        self.deadline_s = self._pace.begin(self.wfile, self.server.now_s())

    def _goes_on_answering(self) -> bool:
        """Send what the peer takes now; false where that was the connection's last answer."""
        self.socket.settimeout(0)
        had_to_wait, was_held = self.phase is Phase.SLICE, self.phase is Phase.HELD
        self.phase = Phase.ANSWER
        try:
            if self.wfile.proceed() and self.answering is not None:
                request = self.answering
                request.go_on()
                self._is_kept = not request.close_connection
        except OSError as error:
            log.debug("connection.broken", phase=self.phase.name.lower(), error=str(error))
            return False
        finally:
            self._end_turn()
        if self._has_more_to_send:
            if was_held:
                self._begin_to_answer()
            if had_to_wait:  # that was not the peer's; the rest of its time goes on
                self.deadline_s = self._pace.wait(self.server.now_s() - self.parked_s)
            return True
        self.phase, self.deadline_s = Phase.IDLE, None
        return self._is_kept or (self.lingers and self._begins_to_linger())

    def _is_read_fast_enough(self) -> bool:
        try:
            is_kept = self._pace.is_kept(self.wfile, self.server.now_s())
            self._begin_to_answer()
        except OSError:
            return False
        return is_kept

    def _is_ready(self) -> bool:
        """Whether a whole request is here, as far as it is gathered; else parks it.

        Raises:
            OSError: the connection broke, or its TLS handshake failed.
        """
        if not self._is_secured and not self._proceeds_with_handshake():
            return False
        if self.gathered is None:
            self._enter(Phase.HEAD, self.server.settings.header_timeout_s)
            self.gathered = self.rfile.gather()
            if self.gathered is None:
                if not len(self.rfile):
                    # Nothing but TLS records of its own has come: it is between two requests.
                    self.phase, self.deadline_s = Phase.IDLE, None
                return False
        head = self.gathered.head
        if head is None:
            return True
        if not admission.is_gathered(head):
            if admission.may_be_small(head):
                self._has_small_body = self._has_body(head.length)
            return True
        if head.expects_continue and self.phase is not Phase.BODY:
            # At once: who holds back so little, and would wait for the application's word, would
            # hold a thread meanwhile.
            self.socket.settimeout(0)
            self.socket.send(CONTINUE)
        self._enter(Phase.BODY, self.server.settings.patience.read_timeout_s)
        is_here: bool = self.rfile.gather_body(head.length)
        return is_here

    def _has_body(self, length: int) -> bool:
        """Whether so many bytes are here, or come at once: many clients send them behind their head."""
        is_here: bool = self.rfile.gather_body(length)
        for _ in range(LOOKS):
            if is_here or not self._has(select.POLLIN, NEXT_BYTES_MS):
                break
            is_here = self.rfile.gather_body(length)
        return is_here

    def _enter(self, phase: Phase, timeout_s: float) -> None:
        if self.phase is not phase:
            self.phase, self.deadline_s = phase, self.server.now_s() + timeout_s

    def _proceeds_with_handshake(self) -> bool:
        """Do what can be done of the handshake at once; true when it is complete."""
        if self.server.tls is None:
            raise RuntimeError("a handshake without a certificate")
        self._enter(Phase.HANDSHAKE, self.server.settings.header_timeout_s)
        if not isinstance(self.socket, TlsSocket):
            self.socket.settimeout(0)
            self.socket = self.server.tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.rfile = HeadReader(self.socket)
            self.wfile = AnswerWriter(self.socket)
        try:
            self.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                detail = "this port speaks https only, the request is plain http"
                self.socket.send_plainly(self.refusal("malformed-request", detail))
            log.info("tls.refused", peer=self.remote_addr, error=error.reason or str(error))
            raise
        self._is_secured = True
        self.ssl_env = dict(SECURE_ENVIRON)
        name = self.socket.client_name()
        if name is not None:
            self.ssl_env[CLIENT_NAME] = name
        return True

    def expire(self) -> None:
        """End a connection whose time is over. Called by the acceptor: never waits."""
        if self.phase is Phase.ANSWER and self._is_read_fast_enough():
            self.server.put_conn(self)
            return
        late = _TOO_SLOW.get(self.phase)
        if late is not None:
            self.lingers = True
            self.socket.settimeout(0)
            with contextlib.suppress(OSError):
                self.socket.send(self.refusal("request-timeout", f"{late} did not arrive in time"))
            if self._half_closes():
                self.server.put_conn(self)
                return
        with contextlib.suppress(OSError):
            self.close()

    def send_away(self) -> None:
        """End a connection whose turn has not come, and will not: the server stops. Never waits."""
        if self.phase is Phase.TURN:
            self.socket.settimeout(0)
            detail = "the server is stopping, and the request was not begun"
            with contextlib.suppress(OSError):
                self.socket.send(self.refusal("stopping", detail))
        with contextlib.suppress(OSError):
            self.close()

    def _begins_to_linger(self) -> bool:
        """Let the peer read an early answer before a reset can destroy it (RFC 9112, 9.6)."""
        return self._half_closes() and self._goes_on_lingering()

    def _half_closes(self) -> bool:
        now_s = self.server.now_s()
        self.phase, self.deadline_s = Phase.LINGER, now_s + LINGER_S
        if not self.server.roster.may_linger(self):
            return False
        self.rfile.discard()
        return self._lingering.begin(self.socket, now_s)

    def _goes_on_lingering(self) -> bool:
        deadline_s = self._lingering.go_on(self.socket, self.server.now_s())
        if deadline_s is None:
            return False
        self.deadline_s = deadline_s
        return True

    def refusal(self, code: str, detail: str) -> bytes:
        """Return the answer to a request that the application never gets to see, and tell of it."""
        request_id = secrets.token_hex(8)
        status = problems.PROBLEMS[code].status
        self.server.observer.request_refused(status=status, code=code)
        log.info("request.refused", request_id=request_id, status=status, code=code, error=detail)
        return refusal(code, detail, request_id)

    def close(self) -> None:
        if self._is_secured and isinstance(self.socket, TlsSocket) and not self.lingers:
            self.socket.say_goodbye()
        if self.answering is not None:
            try:
                self.answering.end()
            except Exception as error:  # the application's own, and nobody is left to answer
                log.exception("answer.failed", error=type(error).__name__)
        self.server.roster.forget(self)
        with contextlib.suppress(
            OSError
        ):  # a stop and the thread of the connection may both close it
            super().close()
