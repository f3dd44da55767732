"""The protocols as an OpenAPI 3.1 document, the native one in full: what ``/v1/openapi.json`` serves.

Made from the names, limits and problems that the code itself uses; the copy in ``docs/openapi.json``
and every route are held to it by a test. The words are in `docs/protocol.md`; here is the form.

``python -m ingest_server.openapi`` prints it.
"""

from __future__ import annotations

import json
from functools import cache

import falcon

from ingest_server.openapi import direct, fleet, groups, native_paths, other_protocols, page_paths
from ingest_server.openapi.json_schema import Schema
from ingest_server.openapi.operations import with_heads
from ingest_server.openapi.schemas import schemas
from upload_protocol import headers

PATH = native_paths.DOCUMENT_PATH


def document() -> Schema:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edge-uploader: the upload protocols",
            "version": f"{headers.PROTOCOL_VERSION}.0",
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": "An upload is a resource with a length, a set of received byte ranges "
            "and a digest. Any range may come in any order, in parallel, and again; what arrived "
            "of a broken request is kept. docs/protocol.md says the rest.",
        },
        "servers": [{"url": "/"}],
        # Either a token, or none where the server is open to its own machine.
        "security": [{"token": []}, {}],
        "paths": with_heads(
            native_paths.paths()
            | direct.paths()
            | groups.paths()
            | fleet.paths()
            | page_paths.paths()
            | other_protocols.paths()
        ),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "edt_<device>_<43 characters>",
                }
            },
        },
    }


def text() -> str:
    """Return the document as it is checked in."""
    return json.dumps(document(), indent=2) + "\n"


@cache
def _compact() -> bytes:
    """Return the document as it is served: the same one all the time, and made for who asks first."""
    return json.dumps(document(), separators=(",", ":")).encode("ascii")


class Resource:
    """Serves the document."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "application/json"
        resp.data = _compact()
