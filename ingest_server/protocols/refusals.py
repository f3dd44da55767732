"""The one place where an error becomes an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import falcon
import structlog

from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.protocols.compat import registry
from upload_protocol import headers, problems

log = structlog.get_logger()

NO_RESOURCE = "no resource of this server has that path"

_CODES = {
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported-media-type",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-large",
    HTTPStatus.LENGTH_REQUIRED: "length-required",
}


def answer_refused(
    req: falcon.Request, resp: falcon.Response, error: Refused, _params: dict[str, Any]
) -> None:
    """Answer with a problem document, or in the form of the dialect that was spoken."""
    kind = error.problem
    req.context.refused, req.context.refused_for = kind.code, error.detail
    if error.retry_after_s is not None:
        resp.set_header(headers.RETRY_AFTER, str(max(1, math.ceil(error.retry_after_s))))
    if kind.code == "unauthorized":
        resp.set_header("WWW-Authenticate", 'Bearer realm="edge-uploader"')
    shape = registry.shape_of(req.path)
    if shape is None:
        answer: Mapping[str, Any] = error.document(req.context.request_id)
        resp.status, resp.content_type = error.status, problems.CONTENT_TYPE
    else:
        resp.status, answer = shape(req.method, error)
        resp.content_type = "application/json"
    resp.data = json.dumps(answer).encode("ascii")


def answer_http_error(
    req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: dict[str, Any]
) -> None:
    """Answer what Falcon itself refuses (routing, query) like everything else."""
    code = _CODES.get(HTTPStatus(error.status_code), "malformed-request")
    detail = error.description or problems.PROBLEMS[code].title
    if code == "not-found":
        detail = NO_RESOURCE
    for name, value in dict(error.headers or {}).items():
        resp.set_header(name, value)
    answer_refused(req, resp, Refused(code, detail), params)


def answer_bug(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    """Answer what nobody has foreseen; its traceback is in the log."""
    log.error("request.failed", error=type(error).__name__, exc_info=error)
    detail = "the server's log has the reason under the request id of this answer"
    answer_refused(req, resp, Refused("internal", detail), params)


def answer_disk(
    req: falcon.Request, resp: falcon.Response, error: OSError, params: dict[str, Any]
) -> None:
    """Answer where the disk or the store failed, and nobody nearer has said so."""
    log.error("request.failed", error=str(error))
    answer_refused(req, resp, refused_by_disk(error), params)
