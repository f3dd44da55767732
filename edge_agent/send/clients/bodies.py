"""The bytes of recordings as they go to the server itself: asked for first where that is wise, as PUT or POST.

What breaks off here, and how much of it the server has afterwards, tells what a connection carries.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import ForeignRefusalError, LinkDownError
from edge_agent.core.short_connections import Broken
from edge_agent.net.way import Way
from edge_agent.send.clients import responses
from edge_agent.send.clients.exchange import Exchange
from upload_protocol import headers
from upload_protocol.headers import ContentRange
from upload_protocol.ranges import ByteRange, RangeSet

log = structlog.get_logger()

_CLOCK = SystemClock()
"""Connections break in real time, whatever clock the agent goes by."""

NO_SUCH_METHOD = frozenset({"method-not-allowed", "not-found"})
_BROKE_OFF = frozenset({"request-timeout", "body-truncated"})
"""The server, too, may say that nothing came any more."""


class Bodies:
    """Sends them over one exchange, one after the other."""

    def __init__(self, exchange: Exchange, way: Way) -> None:
        self._exchange = exchange
        self._way = way
        self._may_expect = True

    def send(
        self, upload_id: str, content: ContentRange, body: Iterator[bytes]
    ) -> responses.Answer:
        """Return the answer to *body*, which is the bytes of *content*.

        Raises:
            TransportError: nobody of ours has answered.
        """
        where = content.where
        fields = {
            headers.CONTENT_RANGE: str(content),
            "Content-Length": str(where.length),
            "Content-Type": "application/octet-stream",
        }
        if self._exchange.is_in_doubt and self._may_expect:
            fields["Expect"] = "100-continue"  # ask before a body is sent that may be refused again
        if self._way.learned.max_connection is not None:
            fields["Connection"] = "close"
        method, overridden = self._put()
        answer = self._sent(upload_id, where, method, fields | overridden, body)
        self._exchange.is_in_doubt = not 200 <= answer.status < 300
        if answer.status == 417:
            self._may_expect = False
            raise LinkDownError("something on the way does not know Expect: 100-continue")
        if responses.is_foreign_refusal(answer):
            raise ForeignRefusalError(answer.status, where.length)
        if overridden and responses.problem_code(answer) in NO_SUCH_METHOD:
            self._way.does_not_know_post()
            raise LinkDownError("the server is too old to take POST in place of PUT: upgrade it")
        return answer

    def arrived(self, upload_id: str, received: RangeSet) -> None:
        """Take in what the server says it has of an upload."""
        most = self._way.arrived(upload_id, received)
        if most is not None:
            log.warning(
                "link.limited",
                max_connection=most,
                action="connections stand still once they have carried more (a firewall or a proxy on the"
                " way): requests are smaller for a day, each over a connection of its own",
            )

    def _put(self) -> tuple[str, dict[str, str]]:
        """Return what goes as PUT, and with which header, where that itself does not pass."""
        if not self._way.learned.as_post:
            return "PUT", {}
        return "POST", {headers.METHOD_OVERRIDE: "PUT"}

    def _sent(
        self,
        upload_id: str,
        where: ByteRange,
        method: str,
        fields: dict[str, str],
        body: Iterator[bytes],
    ) -> responses.Answer:
        """Return the answer, and let the way know what the connection has carried."""
        exchange, began_s = self._exchange, _CLOCK.now_s()
        try:
            answer = exchange.ask(method, headers.content_path(upload_id), body=body, fields=fields)
        except LinkDownError:
            self._broke(upload_id, where, began_s)
            raise
        if 200 <= answer.status < 300:
            exchange.carried += where.length
            self._way.carried(exchange.carried)
        elif responses.problem_code(answer) in _BROKE_OFF:
            self._broke(upload_id, where, began_s)
        return answer

    def _broke(self, upload_id: str, where: ByteRange, began_s: float) -> None:
        carried, self._exchange.carried = self._exchange.carried, 0
        self._way.broke(Broken(upload_id, where, carried, began_s, _CLOCK.now_s()))
