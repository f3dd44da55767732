"""Telling the server of uploads that are given up: their bytes and their place are free at once then."""

from __future__ import annotations

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConflictError, RejectedError, TransportError, UploadLostError
from edge_agent.send.clients.interface import CanAbort, LaneClient
from edge_agent.send.lane_lock import LaneLock
from edge_agent.store.given_up import GivenUp

log = structlog.get_logger()

_AGAIN_S = 60.0


class GivingUp:
    """Of one lane; called with the lanes' lock held, which a request opens."""

    def __init__(
        self, given_up: GivenUp, client: LaneClient, *, clock: Clock, lock: LaneLock
    ) -> None:
        self._given_up = given_up
        self._client = client
        self._clock = clock
        self._lock = lock
        self._again_s = 0.0

    def tell_of_one(self) -> None:
        """Tell the server of one upload, if there is any; a failure is tried again in a minute.

        Raises:
            StoreError: what there is cannot be read, or that it is told not written.
        """
        if self._clock.now_s() < self._again_s or (upload_id := self._given_up.next()) is None:
            return
        try:
            if isinstance(self._client, CanAbort):
                with self._lock.opened():
                    is_told = self._client.abort_upload(upload_id)
                log.info("upload.given_up", upload_id=upload_id, is_told=is_told)
        except (UploadLostError, ConflictError, RejectedError):
            pass  # it has ended there, however that was
        except TransportError as error:
            log.debug("request.failed", upload_id=upload_id, error=str(error))
            self._again_s = self._clock.now_s() + _AGAIN_S
            return
        self._given_up.forget(upload_id)
