"""The paths of the page, as far as they are more than its files."""

from __future__ import annotations

from ingest_server.openapi.json_schema import Schema
from ingest_server.openapi.operations import refusals

_SHOWN: Schema = {"description": "The page, for a browser."}


def paths() -> dict[str, Schema]:
    return {
        "/": {
            "get": {
                "operationId": "page",
                "summary": "The page that a browser is shown; its files are below /page/",
                "security": [],
                "responses": {
                    "200": {**_SHOWN, "content": {"text/html": {"schema": {"type": "string"}}}},
                    "304": {"description": "The browser has it."},
                    **refusals(("not-found",)),
                },
            },
            "head": {
                "operationId": "pageHead",
                "summary": "The same without a body",
                "security": [],
                "responses": {
                    "200": _SHOWN,
                    "304": {"description": "The browser has it."},
                    "404": {"description": "The page is off."},
                },
            },
        }
    }
