"""Liveness and readiness: what a supervisor or a load balancer asks, without a credential."""

from __future__ import annotations

from collections.abc import Callable

import falcon

from ingest_server.base.health import readiness_answer


class Health:
    """Both, for any front."""

    def __init__(self, readiness: Callable[[], list[str]], is_stopping: Callable[[], bool]) -> None:
        self._readiness = readiness
        self._is_stopping = is_stopping

    def on_get_live(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type, resp.text = "text/plain", "ok\n"

    def on_get_ready(self, _req: falcon.Request, resp: falcon.Response) -> None:
        codes = ["stopping"] if self._is_stopping() else self._readiness()
        resp.status, resp.text = readiness_answer(codes)
        resp.content_type = "text/plain"
