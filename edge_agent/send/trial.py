"""Requests as uploads make them, tried without a recording: for a person who asks whether they get through."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress

from edge_agent.base.clock import Clock
from edge_agent.base.errors import AbortedError, ConfigError, LinkDownError, TransportError
from edge_agent.base.settings import AgentSettings
from edge_agent.core.pacing import Pace
from edge_agent.net.way import Way
from edge_agent.send.clients.interface import UploadClient
from edge_agent.send.wiring import hasty, make_transport
from upload_protocol.digests import Digest
from upload_protocol.direct import Part
from upload_protocol.messages import CHECK_NAME, CreateRequest, UploadStatus
from upload_protocol.ranges import ByteRange

_PIECE_BYTES = 256 * 1024


class Trial:
    """Uploads that come to nothing. Close it.

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
        self._made: list[str] = []
        self._unanswered: list[tuple[CreateRequest, str]] = []
        """What the server was asked to make, with its key, and nobody has answered: it may be made."""
        self._at = self._received = 0
        self.left: dict[str, str] = {}
        """The uploads that could not be given up, and why; once it is closed."""

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
                status = self._create(client, request)
                self.server_max = status.limits.max_request_bytes
                self._upload_id = status.id
            began_s = self._clock.now_s()
            where = ByteRange(self._at, self._at + length)
            self._at += length  # whatever becomes of it: what arrives of the next one is its own
            client.send(self._upload_id, where, None, self._body(length))
        self._received += length
        self.rate = length / max(1e-3, self._clock.now_s() - began_s)
        if self._pace is not None:
            self.rate = min(self.rate, self._pace.bytes_per_s)

    def arrived_in_part(self) -> bool:
        """Ask what the server has; return whether some of the last request is among it.

        Raises:
            TransportError: it does not say.
        """
        if self._upload_id is None:
            return False
        with make_transport(self._settings, self._clock, way=self.way) as client:
            received = client.status(self._upload_id).received.total
        before, self._received = self._received, received
        return received > before

    def send_direct(self, length: int, folder: str, metadata: Mapping[str, str]) -> bool:
        """Send *length* bytes straight to the server's store; return whether that is offered.

        Args:
            folder: what the recordings of one folder are told to be in, by which the server may choose.
            metadata: what is told of them, likewise.

        Raises:
            NotDirectError: they did not get there.
            TransportError: of a request to the server.
        """
        data = os.urandom(length)
        part = Part(ByteRange(0, length), Digest.of(data))
        with make_transport(self._settings, self._clock, way=self.way) as client:
            request = CreateRequest(
                name=CHECK_NAME,
                length=length,
                folder=folder,
                metadata=metadata,
                device=self._settings.device_id,
            )
            status = self._create(client, request)
            if status.limits.direct_part_bytes is None:
                return False
            for signed in client.sign_parts(status.id, [part]):
                client.put_part(signed, iter([data]))
                client.report_parts(status.id, [signed.sent])
        return True

    def _create(self, client: UploadClient, request: CreateRequest) -> UploadStatus:
        before = [key for asked, key in self._unanswered if asked == request]
        key = before[0] if before else secrets.token_hex(16)  # the one that there is, if so
        if not before:
            self._unanswered.append((request, key))
        try:
            status = client.create(request, key)
        except (AbortedError, LinkDownError):
            raise
        except TransportError:
            self._unanswered.remove((request, key))
            raise
        self._made.append(status.id)
        self._unanswered.remove((request, key))
        return status

    def close(self) -> None:
        """Give the uploads up: at the end, when it is known which method passes."""
        for request, key in self._unanswered:
            with (
                suppress(ConfigError, TransportError),
                make_transport(self._settings, self._clock, way=self.way) as client,
            ):
                self._made.append(client.create(request, key).id)  # the one that there is, if so
        for upload_id in dict.fromkeys(self._made):
            try:
                with make_transport(self._settings, self._clock, way=self.way) as client:
                    if client.abort_upload(upload_id):
                        continue
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
