"""``/files/``: which of two protocols a request speaks, and what holds for both."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import falcon

from ingest_server.core.errors import Refused
from ingest_server.protocols import cors, digest_fields, ietf, tus, tus_request
from ingest_server.protocols.requests import device_of, overriding
from ingest_server.protocols.resumable import (
    IETF,
    PATH,
    PROTOCOL,
    Resumable,
)

_METHODS = frozenset({"POST", "GET", "HEAD", "PATCH", "DELETE", "OPTIONS"})


class Files:
    """The resources below `PATH`, for the application to mount."""

    def __init__(
        self,
        resumable: Resumable,
        *,
        speaks_tus: bool,
        speaks_ietf: bool,
        cors_origins: Iterable[str] = (),
    ) -> None:
        self.resumable = resumable
        self._speaks_tus = speaks_tus
        self._speaks_ietf = speaks_ietf
        self._origins = frozenset(origin.lower() for origin in cors_origins)

    def add_routes(self, app: falcon.App[falcon.Request, falcon.Response]) -> None:
        if not (self._speaks_tus or self._speaks_ietf):
            return
        app.add_route(PATH, _Creating(self))
        app.add_route(f"{PATH}/{{upload_id}}", _Uploading(self))

    def begin(self, req: falcon.Request, resp: falcon.Response) -> bool:
        """Do what comes before anything can be refused.

        Returns:
            Whether this is a browser's preflight, which carries no credential and needs none.
        """
        is_spoken = self._speaks_tus or self._speaks_ietf
        if not is_spoken or (req.path != PATH and not req.path.startswith(f"{PATH}/")):
            return False
        cors.allow(req, resp, self._origins, cors.FILES)
        # Not on preflights: they ask with the method in a header of another name.
        override = overriding(req)
        if override in _METHODS:
            req.context.sent_method = req.method
            req.method = override
        if self._speaks_tus and not (self._speaks_ietf and self._is_ietf(req)):
            resp.set_header(tus_request.RESUMABLE, tus_request.VERSION)
        elif self._speaks_ietf and req.method == "POST":
            ietf.begin_creating(resp)
        return cors.is_preflight(req)

    def end(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Say which digests are wanted; drop content that only the override says must not be."""
        digest_fields.tell_wanted(req, resp)
        if req.method == "HEAD" and req.context.get("sent_method", "HEAD") != "HEAD":
            resp.data = resp.text = None

    @staticmethod
    def _is_ietf(req: falcon.Request) -> bool:
        return req.get_header(tus_request.RESUMABLE) is None and ietf.is_spoken_in(req)

    def is_ietf(self, req: falcon.Request, upload_id: str | None = None) -> bool:
        """Return which protocol to answer in.

        A request of the draft may carry nothing of its own (HEAD, DELETE); then it is that of the
        protocol which made the upload.
        """
        if not (self._speaks_tus and self._speaks_ietf):
            return self._speaks_ietf
        if self._is_ietf(req):
            return True
        if upload_id is None or req.get_header(tus_request.RESUMABLE) is not None:
            return False
        try:
            record = self.resumable.receiver.records.find(device_of(req), upload_id)
        except Refused:
            return False
        return bool(record.metadata.get(PROTOCOL) == IETF)

    def options(self, resp: falcon.Response) -> None:
        taken = []
        if self._speaks_tus:
            tus.options(self.resumable, resp)
            taken.append(tus_request.CONTENT_TYPE)
        if self._speaks_ietf:
            ietf.options(self.resumable, resp)
            taken.append(ietf.CONTENT_TYPE)
        resp.set_header("Accept-Patch", ", ".join(taken))
        resp.status = HTTPStatus.OK


class _Creating:
    def __init__(self, files: Files) -> None:
        self._files = files

    def on_options(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.set_header("Allow", "OPTIONS, POST")
        self._files.options(resp)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        protocol = ietf if self._files.is_ietf(req) else tus
        protocol.create(self._files.resumable, req, resp)


class _Uploading:
    def __init__(self, files: Files) -> None:
        self._files = files

    def on_options(self, _req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:  # noqa: ARG002 # each has the same
        resp.set_header("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH")
        self._files.options(resp)

    def on_head(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        protocol = ietf if self._files.is_ietf(req, upload_id) else tus
        protocol.head(self._files.resumable, req, resp, upload_id)

    def on_get(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        if not self._files.is_ietf(req, upload_id):
            resp.set_header("Allow", "DELETE, HEAD, OPTIONS, PATCH")
            raise Refused("method-not-allowed", "tus asks for the offset by HEAD")
        ietf.head(self._files.resumable, req, resp, upload_id)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        protocol = ietf if self._files.is_ietf(req, upload_id) else tus
        protocol.patch(self._files.resumable, req, resp, upload_id)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, upload_id: str) -> None:
        protocol = ietf if self._files.is_ietf(req, upload_id) else tus
        protocol.delete(self._files.resumable, req, resp, upload_id)
