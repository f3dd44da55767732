"""A request as uploads make it, tried without a recording: for a person who asks whether it gets through."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from edge_agent.base.clock import Clock
from edge_agent.base.errors import AgentError, TransportError
from edge_agent.base.settings import AgentSettings
from edge_agent.net.way import Way
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.wiring import hasty, make_transport
from upload_protocol.messages import CreateRequest
from upload_protocol.ranges import ByteRange

_NAME = "edge-agent-check"
_PIECE_BYTES = 256 * 1024


class Trial:
    """Uploads that come to nothing. Close it."""

    def __init__(self, settings: AgentSettings, clock: Clock, way: Way) -> None:
        self._settings = hasty(settings)
        self._clock = clock
        self.way = way
        self.rate: float | None = None
        self.server_max: int | None = None
        self._begun: list[str] = []
        self.left: dict[str, str] = {}
        """Uploads that could not be given up, and why; once it is closed."""

    def send(self, length: int) -> None:
        """Send one request of *length* bytes, over a connection of its own.

        Raises:
            TransportError: it did not arrive.
        """
        with make_transport(self._settings, self._clock, way=self.way) as client:
            request = CreateRequest(name=_NAME, length=length, device=self._settings.device_id)
            status = client.create(request, secrets.token_hex(16))
            self.server_max = status.limits.max_request_bytes
            self._begun.append(status.id)
            self._put(client, status.id, length)

    def close(self) -> None:
        """Give the uploads up: at the end, when it is known which method passes."""
        self.left = dict.fromkeys(self._begun, "the server cannot be asked any more")
        with (
            suppress(AgentError),
            make_transport(self._settings, self._clock, way=self.way) as client,
        ):
            for upload_id in self._begun:
                try:
                    is_told = client.abort_upload(upload_id)
                except TransportError as error:
                    self.left[upload_id] = str(error)
                else:
                    self.left[upload_id] = (
                        "something on the way lets no DELETE through, nor a POST for it"
                    )
                    if is_told:
                        del self.left[upload_id]

    def _put(self, client: NativeClient, upload_id: str, length: int) -> None:
        began_s = self._clock.now_s()
        piece = os.urandom(_PIECE_BYTES)  # nothing that a modem could compress
        body = (piece[: length - at] for at in range(0, length, _PIECE_BYTES))
        client.send(upload_id, ByteRange(0, length), length, body)
        self.rate = length / max(1e-3, self._clock.now_s() - began_s)
