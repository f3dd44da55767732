"""How a device gets its next token, or its first: `docs/security.md`, "Tokens"."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import falcon

from ingest_server.auth.gate import AuthenticationGate
from ingest_server.auth.tokens import Issued, TokenIssuer
from ingest_server.core.errors import Refused
from ingest_server.front.body import body_of, read_all
from upload_protocol.headers import CLAIM_PATH, ROTATE_PATH, is_device_id

MAX_BODY = 4096
MAX_SERIAL = 128
MAX_TOKEN = 128


def add_routes(
    app: falcon.App[falcon.Request, falcon.Response],
    desk: TokenIssuer,
    doorkeeper: AuthenticationGate,
) -> None:
    app.add_route(ROTATE_PATH, _Rotate(desk))
    app.add_route(CLAIM_PATH, _Claim(desk, doorkeeper))


@dataclass(frozen=True, slots=True)
class _Rotate:
    desk: TokenIssuer

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        _send(resp, self.desk.rotate(req.context.caller))


@dataclass(frozen=True, slots=True)
class _Claim:
    desk: TokenIssuer
    doorkeeper: AuthenticationGate

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = _document(req)
        claim_token = _text(wanted, "claim_token", MAX_TOKEN)
        device = _text(wanted, "device", 63)
        serial = _text(wanted, "serial", MAX_SERIAL)
        if not is_device_id(device):
            raise Refused(
                "malformed-request", "device is not 1 to 63 of a-z, 0-9, _ and -, a letter first"
            )
        try:
            issued = self.desk.claim(claim_token, device, serial)
        except Refused as refused:
            raise self.doorkeeper.refusal(refused, req.remote_addr, claim_token) from refused
        _send(resp, issued, HTTPStatus.CREATED)


def _document(req: falcon.Request) -> dict[str, Any]:
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refused("unsupported-media-type", "send Content-Type: application/json")
    length = req.get_header("Content-Length") or ""
    if req.get_header("Transfer-Encoding") is not None or not (
        length.isascii() and length.isdigit()
    ):
        raise Refused("length-required", "send a Content-Length")
    body = body_of(req.env, int(length[:19]))
    req.context.body = body
    try:
        content = read_all(body, MAX_BODY)
    except TimeoutError as error:
        raise Refused("request-timeout", str(error)) from error
    except OSError as error:
        raise Refused("body-truncated", str(error)) from error
    if content is None:
        raise Refused("too-large", f"the body has at most {MAX_BODY} bytes")
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused("malformed-request", "the body is not JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise Refused("malformed-request", "the body is not a JSON object")
    return found


def _text(document: dict[str, Any], name: str, most: int) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
        raise Refused("malformed-request", f"{name} is not a text of 1 to {most} characters")
    return value


def _send(resp: falcon.Response, issued: Issued, status: HTTPStatus = HTTPStatus.OK) -> None:
    resp.status = status
    resp.content_type = "application/json"
    document = {
        "token": issued.token,
        "token_id": issued.record.token_id,
        "device": issued.record.device,
        "scopes": list(issued.record.scopes),
        "expires_at": issued.record.expires_at,
    }
    resp.data = json.dumps(document, separators=(",", ":")).encode("ascii")
