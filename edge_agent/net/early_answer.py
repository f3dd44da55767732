"""The answer to a request, read also while the request's body is still being sent.

A final answer that comes early ends the sending and is kept for the reader; informational ones (1xx)
are told and cut off; a 100 lets a body go that waited for it. Knows HTTP/1.1's status line and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import httpcore

from edge_agent.base.clock import SystemClock
from edge_agent.net.idle_socket import IdleSocket

OnInformational = Callable[[int, bytes], None]
"""Told the status of a 1xx answer and its raw head."""

_CLOCK = SystemClock()
"""httpcore hands no clock down."""

_LONGEST_HEAD = 64 * 1024
_MOST_INFORMATIONAL = 100
"""1xx answers to one request; each ends the idle time anew, so that without end they would hold us."""
_ANSWER_S, _ANSWER_BYTES_PER_S = 60.0, 64
"""An answer that has begun comes at that rate at least, after the first minute."""
_CONTINUE_S = 1.0
"""Then the body is sent without a 100 (RFC 9110, 10.1.1: never wait indefinitely)."""

_EXPECTS = re.compile(rb"\r\nexpect: *100-continue\r\n", re.IGNORECASE)
_BEGIN = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])")
_BEGIN_BYTES = 12


class EarlyAnswer:
    """Reads what arrives on one connection, one answer per request.

    For each request: `begin`, then `look` as often as bytes go out, then `read` until the answer ends.
    """

    def __init__(self, connection: IdleSocket, on_informational: OnInformational) -> None:
        self._connection = connection
        self._on_informational = on_informational
        self._ahead = bytearray()
        """Read and not yet asked for."""
        self._is_awaited = False
        """A request has begun whose final answer has not."""
        self._awaits_continue = False
        self._informational = 0
        """1xx answers to the request at hand."""
        self._began_s = 0.0
        self._bytes = 0

    def begin(self) -> None:
        """The head of a request is about to be sent."""
        self._is_awaited = True
        self._awaits_continue = False
        self._informational = self._bytes = 0

    def head_sent(self, head: bytes) -> None:
        """Hold the body back if *head* asks for a 100 first."""
        self._awaits_continue = _EXPECTS.search(head) is not None

    def wait_for_continue(self) -> None:
        """Wait until the body may go, if it has to wait at all.

        Raises:
            httpcore.WriteError: it need not go: the final answer is there.
        """
        until_s = _CLOCK.now_s() + _CONTINUE_S
        while self._awaits_continue and (left_s := until_s - _CLOCK.now_s()) > 0:
            if not self._connection.is_readable(left_s):
                break
            self.look()
        self._awaits_continue = False

    def look(self) -> None:
        """Take in what has arrived.

        Raises:
            httpcore.WriteError: a final answer has begun to arrive, or the other side hung up.
        """
        while self._is_awaited and (data := self._connection.receive_now()) is not None:
            self._ahead += data
            self._take_informational()
            if not data or not self._is_awaited:
                raise httpcore.WriteError("answered before the body was sent")

    def read(self, max_bytes: int, timeout: float | None) -> bytes:
        """Return the next bytes of the final answer; none: the other side has ended."""
        while self._is_awaited or not self._ahead:
            data = self._connection.receive(timeout)
            self._ahead += data
            self._take_informational()
            self._demand_pace(len(data))
            if not data:
                self._is_awaited = False
                break
        taken = bytes(self._ahead[:max_bytes])
        del self._ahead[:max_bytes]
        return taken

    def _take_informational(self) -> None:
        """Cut 1xx answers off the beginning, and notice when the final one begins."""
        while self._is_awaited and len(self._ahead) >= _BEGIN_BYTES:
            begin = _BEGIN.match(self._ahead)
            if begin is None or not begin[1].startswith(b"1") or begin[1] == b"101":
                self._is_awaited = False  # the final one, or none of ours: the reader will see
                return
            end = self._ahead.find(b"\r\n\r\n")
            if end < 0:
                self._is_awaited = len(self._ahead) < _LONGEST_HEAD
                return
            status, head = int(begin[1]), bytes(self._ahead[:end])
            del self._ahead[: end + 4]
            self._awaits_continue = False
            self._informational += 1
            self._bytes = 0
            if self._informational > _MOST_INFORMATIONAL:
                msg = f"{_MOST_INFORMATIONAL} informational answers and no final one"
                raise httpcore.RemoteProtocolError(msg)
            self._on_informational(status, head)

    def _demand_pace(self, count: int) -> None:
        """Refuse an answer that trickles: a byte a minute keeps every idle time from running out."""
        if self._bytes == 0:
            self._began_s = _CLOCK.now_s()
        self._bytes += count
        allowed_s = _ANSWER_S + self._bytes / _ANSWER_BYTES_PER_S
        if _CLOCK.now_s() - self._began_s > allowed_s:
            raise httpcore.ReadTimeout("the answer trickles in")
