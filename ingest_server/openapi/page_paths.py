"""The paths of the page, as far as they are more than its files."""

from __future__ import annotations

from ingest_server.auth.operators import ROLES, SESSION_PATH
from ingest_server.openapi.json_schema import Schema
from ingest_server.openapi.operations import OF_BODY, operation, refusals

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
        },
        SESSION_PATH: _session(),
    }


_TEXT: Schema = {"type": "string"}
_MAYBE: Schema = {"type": ["string", "null"]}
_MEANT: Schema = {
    "description": "Asked from a page of this server (Origin, Sec-Fetch-Site), or with "
    "X-Requested-With: edge-uploader; with a session its X-CSRF-Token too."
}


def _session() -> Schema:
    told = {
        "mode": {"enum": ["open", "user", "none"]},
        "user": _MAYBE,
        "role": {"enum": [*ROLES, None]},
        "csrf": _MAYBE,
        "has_users": {"type": "boolean"},
    }
    login: Schema = {
        "type": "object",
        "required": ["user", "password"],
        "properties": {"user": _TEXT, "password": _TEXT},
    }
    who = {"type": "object", "required": list(told), "properties": told}
    return {
        "get": operation(
            "session",
            "Who is in front of this browser",
            {"200": {"description": "Who.", "content": {"application/json": {"schema": who}}}},
            security=[],
        ),
        "post": operation(
            "logIn",
            "Begin a session; the cookie is in the answer",
            {"204": {"description": "Logged in."}},
            (*OF_BODY, "not-found", "storage-full", "storage-failed"),
            security=[],
            **_MEANT,
            requestBody={"required": True, "content": {"application/json": {"schema": login}}},
        ),
        "delete": operation(
            "logOut",
            "End the session, if there is one",
            {"204": {"description": "Nobody is logged in here any more."}},
            ("storage-full", "storage-failed"),
            security=[],
            **_MEANT,
        ),
    }
