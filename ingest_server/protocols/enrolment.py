"""How a device gets its next token, or its first: `docs/security.md`, "Tokens"."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import falcon

from ingest_server.auth.gate import AuthenticationGate
from ingest_server.auth.tokens import Issued, TokenIssuer
from ingest_server.core.errors import Refused
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.requests import message
from upload_protocol.enrolment import ClaimRequest, IssuedToken
from upload_protocol.headers import CLAIM_PATH, ROTATE_PATH

MAX_BODY = 4096


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
        wanted = message(req, ClaimRequest.from_json, MAX_BODY)
        try:
            issued = self.desk.claim(wanted.claim_token, wanted.device, wanted.serial)
        except Refused as refused:
            raise self.doorkeeper.refusal(refused, req.remote_addr, wanted.claim_token) from refused
        _send(resp, issued, HTTPStatus.CREATED)


def _send(resp: falcon.Response, issued: Issued, status: HTTPStatus = HTTPStatus.OK) -> None:
    told = IssuedToken(
        token=issued.token,
        token_id=issued.record.token_id,
        device=issued.record.device,
        scopes=issued.record.scopes,
        expires_at=issued.record.expires_at,
    )
    say(resp, told.to_json(), status)
