"""Which protocols of other upload servers there are, and their mounting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType, ModuleType
from typing import Any

import falcon

from ingest_server.core.errors import Refused
from ingest_server.protocols import cors
from ingest_server.protocols.compat import django_chunked, django_init, drf_chunked, frago, turbo
from ingest_server.protocols.compat.dialect import CompatSettings, DialectUploads
from ingest_server.protocols.compat.multipart import read_away
from ingest_server.uploads.service import UploadService

DIALECTS: Mapping[str, ModuleType] = MappingProxyType(
    {
        "frago": frago,
        "drf": drf_chunked,
        "django": django_chunked,
        "django-init": django_init,
        "turbo": turbo,
    }
)
ROOT = "/compat/"


def add_routes(
    app: falcon.App[falcon.Request, falcon.Response],
    receiver: UploadService,
    dialects: Iterable[str],
    settings: CompatSettings,
    *,
    public_url: str | None,
) -> None:
    """Mount *dialects*.

    Raises:
        KeyError: there is no such dialect.
    """
    for name in dialects:
        uploads = DialectUploads(name, receiver, settings, public_url)
        DIALECTS[name].add_routes(app, uploads)


@dataclass(frozen=True, slots=True)
class Pages:
    """Which web pages may use which dialects from a browser."""

    dialects: tuple[str, ...]
    origins: frozenset[str]

    def begin(self, req: falcon.Request, resp: falcon.Response) -> bool:
        """Do what comes before anything can be refused.

        Returns:
            Whether this is a browser's preflight, which carries no credential and needs none.
        """
        if not req.path.startswith(tuple(DIALECTS[name].PREFIX for name in self.dialects)):
            return False
        cors.allow(req, resp, self.origins, cors.COMPAT)
        return cors.is_preflight(req)


def end(req: falcon.Request, resp: falcon.Response) -> None:
    """Do what comes last before an answer is sent.

    Not for a body that broke off or was superseded, nor for callers whom nobody knows.
    """
    is_ours = req.path.startswith(ROOT) and req.context.caller is not None
    if is_ours and HTTPStatus(resp.status_code) not in _BROKEN and resp.status_code >= 400:
        read_away(req)


_BROKEN = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE}
)

Shape = Callable[[str, Refused], tuple[int, Mapping[str, Any]]]


def shape_of(path: str) -> Shape | None:
    """Return how refusals below *path* are worded; None: as problems, like everywhere else."""
    if not path.startswith(ROOT):
        return None
    for module in DIALECTS.values():
        if path.startswith(module.PREFIX):
            shape: Shape = module.shape
            return shape
    return None
