"""Reports to the server, over a connection of their own. Knows HTTP, and no HTTP library."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

from edge_agent.base.errors import ReportRefusedError
from edge_agent.net import tcp_info
from edge_agent.net.busy_connections import BusyConnection
from edge_agent.net.endpoint import Endpoint
from edge_agent.report.server.port import ReportAnswer
from edge_agent.send.clients import responses
from edge_agent.send.clients.exchange import Exchange
from upload_protocol import headers
from upload_protocol.messages import MessageError

T = TypeVar("T")

_LONGEST_ID = 128
_TAKES_NONE = frozenset({404, 405})
"""Whoever answers so does not know reports: an older server, or a proxy that lets uploads through alone."""
_REFUSES = frozenset({400, 413, 422})
"""Whoever answers so does not like what the report says."""
_UNKNOWN_BYTES = 2048
"""What a request is taken to have cost beside its body where the kernel cannot be asked any more."""


class Meter:
    """Counts what one lane's connections carry, both ways, as the kernel does."""

    def __init__(self) -> None:
        self.used_bytes = 0
        self.body_bytes = 0
        """Of the request that runs, for where nobody else knows."""
        self._live: socket.socket | None = None
        self._counted = 0

    def begin(self, line: BusyConnection) -> None: ...

    def end(self, line: BusyConnection, *, was_answered: bool | None) -> None:  # noqa: ARG002 - the protocol's
        live = line.live_socket()
        found = None if live is None else tcp_info.read(live)
        if found is None:
            self.used_bytes += self.body_bytes + _UNKNOWN_BYTES
            self._live = None
            return
        total = found.acked_bytes + found.received_bytes
        if live is not self._live:
            self._live, self._counted = live, 0
        self.used_bytes += max(0, total - self._counted)
        self._counted = total


class ReportsClient:
    """A `ReportServer` at one endpoint. One thread at a time, but for `abort`.

    Args:
        token: as for `Exchange`.
        utc: wall time, only to read dates in answers.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        token: Callable[[], str | None],
        utc: Callable[[], datetime],
    ) -> None:
        self._utc = utc
        self._meter = Meter()
        self._exchange = Exchange(endpoint, token=token, watch=self._meter)
        self.rest = self._exchange.rest
        self.abort = self._exchange.abort
        self.close = self._exchange.close

    @property
    def used_bytes(self) -> int:
        return self._meter.used_bytes

    def report(self, document: bytes) -> ReportAnswer | None:
        return self._tell(headers.REPORT_PATH, document, _answer)

    def holds(self, packed: bytes) -> tuple[str, int] | None:
        return self._tell(headers.HOLDS_PATH, packed, _standing, {"Content-Encoding": "gzip"})

    def _tell(
        self,
        path: str,
        body: bytes,
        form: Callable[[object], T],
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> T | None:
        self._meter.body_bytes = len(body)
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **more}
        answer = self._exchange.ask("POST", path, body=iter((body,)), fields=fields)
        if answer.status in _TAKES_NONE:
            return None
        if answer.status in _REFUSES or responses.is_foreign_refusal(answer):
            raise ReportRefusedError(responses.words_of(answer))
        return responses.read(answer, form, now=self._utc())


def _answer(document: object) -> ReportAnswer:
    if not isinstance(document, dict):
        raise MessageError("a report is answered by an object")
    commands = _list(document, "commands")
    desired = document.get("desired")
    if desired is not None and not isinstance(desired, dict):
        raise MessageError("'desired' is not an object")
    return ReportAnswer(
        now=_moment(document.get("now")),
        commands=tuple(_encoded(one) for one in commands),
        desired=None if desired is None else _encoded(desired),
        want=frozenset(one for one in _list(document, "want") if isinstance(one, str)),
        through=_number(document.get("through")),
        holds=None if document.get("holds") is None else _standing(document["holds"]),
        is_contested=document.get("contested") is True,
        run=_run(document.get("run")),
    )


def _run(found: object) -> str | None:
    return found if isinstance(found, str) and len(found) <= _LONGEST_ID else None


def _standing(document: object) -> tuple[str, int]:
    if not isinstance(document, dict):
        raise MessageError("how far the list is here is not an object")
    epoch, through = document.get("epoch"), _number(document.get("through"))
    if not isinstance(epoch, str) or len(epoch) > _LONGEST_ID or through is None:
        raise MessageError("'epoch' and 'through' say how far the list is here")
    return epoch, through


def _list(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        msg = f"'{key}' is not a list"
        raise MessageError(msg)
    return found


def _number(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MessageError("'through' is not the number of an event")
    return value


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise MessageError("'now' is no time") from None
    if moment.tzinfo is None:
        raise MessageError("'now' is a time without its zone")
    return moment


def _encoded(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )
