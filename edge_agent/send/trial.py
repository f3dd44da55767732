"""A request as uploads make it, tried without a recording: for a person who asks whether it gets through."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator

from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConfigError, TransportError
from edge_agent.base.settings import AgentSettings
from edge_agent.core.pacing import Pace
from edge_agent.net.way import Way
from edge_agent.send.wiring import hasty, make_transport
from upload_protocol.messages import CHECK_NAME, CreateRequest
from upload_protocol.ranges import ByteRange

_PIECE_BYTES = 256 * 1024


class Trial:
    """One upload that comes to nothing. Close it.

    Args:
        max_rate: in bytes/s; None: as fast as it goes.
    """

    def __init__(
        self,
        settings: AgentSettings,
        clock: Clock,
        way: Way,
        *,
        max_rate: int | None = None,
    ) -> None:
        self._settings = hasty(settings)
        self._clock = clock
        self.way = way
        self._pace = None if max_rate is None else Pace(max_rate)
        self._pause = threading.Event().wait
        self.rate: float | None = None
        self.server_max: int | None = None
        self._upload_id: str | None = None
        self._at = 0
        self.left: dict[str, str] = {}
        """The upload, if it could not be given up, and why; once it is closed."""

    def send(self, length: int) -> None:
        """Send one request of *length* bytes, over a connection of its own.

        Raises:
            TransportError: it did not arrive.
        """
        with make_transport(self._settings, self._clock, way=self.way) as client:
            if self._upload_id is None:
                # Without a length, so that all tries are pieces of one upload.
                request = CreateRequest(
                    name=CHECK_NAME, length=None, device=self._settings.device_id
                )
                status = client.create(request, secrets.token_hex(16))
                self.server_max = status.limits.max_request_bytes
                self._upload_id = status.id
            began_s = self._clock.now_s()
            where = ByteRange(self._at, self._at + length)
            client.send(self._upload_id, where, None, self._body(length))
        self._at += length
        self.rate = length / max(1e-3, self._clock.now_s() - began_s)
        if self._pace is not None:
            self.rate = min(self.rate, self._pace.bytes_per_s)

    def close(self) -> None:
        """Give the upload up: at the end, when it is known which method passes."""
        upload_id = self._upload_id
        if upload_id is None:
            return
        try:
            with make_transport(self._settings, self._clock, way=self.way) as client:
                if client.abort_upload(upload_id):
                    return
                why = "something on the way lets no DELETE through, nor a POST for it"
        except (ConfigError, TransportError) as error:
            why = str(error)
        self.left[upload_id] = why

    def _body(self, length: int) -> Iterator[bytes]:
        most = _PIECE_BYTES if self._pace is None else self._pace.piece_bytes(_PIECE_BYTES)
        for at in range(0, length, most):
            count = min(most, length - at)
            if self._pace is not None:
                self._pause(self._pace.delay_s(count, self._clock.now_s()))
            yield os.urandom(count)  # nothing that a modem could compress
