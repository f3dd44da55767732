"""What an operator sees and asks of devices over HTTP: all below ``/v1/fleet``, for the page and for scripts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import falcon

from ingest_server.auth.audit import Audit
from ingest_server.fleet import queries
from ingest_server.fleet.operations import Operations
from ingest_server.protocols.json_answer import say
from ingest_server.protocols.packing import pack, tagged
from ingest_server.protocols.query import number_of, text_of
from ingest_server.protocols.requests import message
from upload_protocol.headers import FLEET_PATH
from upload_protocol.members import object_of, only, optional, required

MOST_JSON = 8 * 1024
DEVICE = FLEET_PATH + "/devices/{device}"


def add_routes(
    app: falcon.App[falcon.Request, falcon.Response], operations: Operations, audit: Audit
) -> None:
    desk = Desk(operations, audit)
    app.add_route(FLEET_PATH, Fleet(desk))
    app.add_route(FLEET_PATH + "/events", Events(desk))
    app.add_route(DEVICE, Device(desk))
    app.add_route(DEVICE + "/history", History(desk))
    app.add_route(DEVICE + "/commands", CommandsOf(desk))
    app.add_route(DEVICE + "/commands/{command_id}", CommandOf(desk))
    app.add_route(DEVICE + "/desired", Desired(desk))
    app.add_route(DEVICE + "/holds", Holds(desk))
    app.add_route(DEVICE + "/fetch", Fetch(desk))


@dataclass(frozen=True, slots=True)
class Desk:
    """What every resource needs; who may ask was asked before (`auth.operators`)."""

    operations: Operations
    audit: Audit


@dataclass(frozen=True, slots=True)
class Fleet:
    desk: Desk

    @falcon.after(pack)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        fleet = self.desk.operations.fleet
        if tagged(req, resp, fleet.board.cursor):
            return
        resp.content_type = "application/json"
        resp.data = fleet.view(req.get_param("since"))


@dataclass(frozen=True, slots=True)
class Device:
    desk: Desk

    @falcon.after(pack)
    def on_get(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        body = self.desk.operations.document(device)
        if tagged(req, resp, hashlib.sha256(body).hexdigest()[:32]):
            return
        resp.content_type, resp.data = "application/json", body

    def on_delete(self, _req: falcon.Request, resp: falcon.Response, device: str) -> None:
        with self.desk.audit.action("device.forget", device):
            self.desk.operations.forget(device)
        resp.status = HTTPStatus.NO_CONTENT


@dataclass(frozen=True, slots=True)
class History:
    desk: Desk

    @falcon.after(pack)
    def on_get(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        hours = number_of(req, "hours", 24, most=744)
        say(resp, self.desk.operations.past.history(device, hours))


@dataclass(frozen=True, slots=True)
class CommandsOf:
    desk: Desk

    @falcon.after(pack)
    def on_get(self, _req: falcon.Request, resp: falcon.Response, device: str) -> None:
        say(resp, {"commands": self.desk.operations.commands(device)})

    def on_post(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        by = req.context.operator.name
        _give(self.desk, resp, device, message(req, _command, MOST_JSON), by)


@dataclass(frozen=True, slots=True)
class CommandOf:
    desk: Desk

    @falcon.after(pack)
    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, device: str, command_id: str
    ) -> None:
        say(resp, self.desk.operations.command(device, command_id))


@dataclass(frozen=True, slots=True)
class Fetch:
    desk: Desk

    def on_post(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        by = req.context.operator.name
        _give(self.desk, resp, device, message(req, _fetch, MOST_JSON), by)


@dataclass(frozen=True, slots=True)
class Desired:
    desk: Desk

    def on_put(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        settings = message(
            req,
            lambda given: required(only(object_of(given), "settings"), "settings", dict),
            MOST_JSON,
        )
        with self.desk.audit.action("device.desire", device, json.dumps(settings)[:200]):
            version = self.desk.operations.desire(device, settings, queries.versions(req))
        resp.set_header("ETag", f'"{version}"')
        say(resp, {"version": version})


@dataclass(frozen=True, slots=True)
class Holds:
    desk: Desk

    @falcon.after(pack)
    def on_get(self, req: falcon.Request, resp: falcon.Response, device: str) -> None:
        say(
            resp,
            self.desk.operations.past.holds(
                device,
                like=(text_of(req, "q") or "")[:200],
                since_s=queries.moment(req, "from"),
                until_s=queries.moment(req, "to"),
                after=queries.place(req, "cursor"),
                limit=number_of(req, "limit", 100, most=1000),
            ),
        )


@dataclass(frozen=True, slots=True)
class Events:
    desk: Desk

    @falcon.after(pack)
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        after = text_of(req, "after")
        say(
            resp,
            self.desk.operations.past.events(
                text_of(req, "device"),
                after=None if after is None else number_of(req, "after", 0, least=0, most=2**62),
                limit=number_of(req, "limit", 100, most=1000),
            ),
        )


@dataclass(frozen=True, slots=True)
class _Wanted:
    cmd: str
    args: Mapping[str, Any]
    expires_in_s: int | None


def _command(source: object) -> _Wanted:
    given = only(object_of(source), "cmd", "args", "expires_in_s")
    return _Wanted(
        required(given, "cmd", str),
        optional(given, "args", dict) or {},
        optional(given, "expires_in_s", int),
    )


def _fetch(source: object) -> _Wanted:
    given = object_of(source)
    args = {key: one for key, one in given.items() if key != "expires_in_s"}
    return _Wanted("fetch", args, optional(given, "expires_in_s", int))


def _give(desk: Desk, resp: falcon.Response, device: str, wanted: _Wanted, by: str) -> None:
    with desk.audit.action(f"command.{wanted.cmd[:40]}", device) as entry:
        made = desk.operations.give(device, wanted.cmd, wanted.args, wanted.expires_in_s, by)
        entry.object = made["id"]
    say(resp, made, HTTPStatus.ACCEPTED)
