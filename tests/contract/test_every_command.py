"""Every command of the registry, by every way in, with bad input: one clear answer, and nothing changes.

The cases are made from the registry of commands itself, so that no new command, argument or setting is
forgotten: one of a kind that this file has no good value for fails here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from falcon import testing

from edge_agent.base.settings import AgentSettings, CommandSettings
from edge_agent.core.command import (
    AT_DEVICE,
    MAX_BYTES,
    SETTINGS,
    VOCABULARY,
    WITHOUT_CLOCK,
    Arg,
)
from edge_agent.media.folders import Folders
from edge_agent.operate.command_handlers import RecordingHandlers
from edge_agent.operate.commands import Commands
from edge_agent.operate.control_client import ControlError, ask
from edge_agent.operate.control_socket import ControlServer
from edge_agent.operate.fetch_handler import FetchHandler
from edge_agent.operate.guarded_handlers import GuardedHandlers
from ingest_server.fleet.members import MOST_A_MINUTE
from tests.support.command_site import command_site
from tests.support.fleet import Site as Fleet
from tests.support.fleet import give, info
from tests.support.ingest import ingest
from tests.support.report_server import ReportServer
from tests.support.reports import Reports

EVERY = {**VOCABULARY, **AT_DEVICE}
NOBODYS = "f" * 32
GOOD = (NOBODYS, True, 60, {"name": "*.mp4"})
"""Values of which each argument takes one."""
BAD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    10**18,
    "",
    "../../etc/passwd",
    "http://example.org/x",
    "a\nb",
    "\ud800",
    "x" * 300,
    [],
    [1],
    {},
    {"path": "/etc"},
    {"name": "*", "to": "yesterday"},
    {"from": "2026-11-30", "to": "2026-11-29"},
)
SERVER_S = 1795919215.0
"""By the clock of a `ReportServer`."""
FORMS = ("rejected", "malformed"), ("rejected", "unsupported")
"""How what is out of form is answered: status and code."""


def takes(arg: Arg, value: Any) -> bool:
    try:
        arg.read(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def good(args: Mapping[str, Arg]) -> dict[str, Any]:
    """Return what each of *args* takes."""
    return {name: next(one for one in GOOD if takes(arg, one)) for name, arg in args.items()}


def wrong(args: Mapping[str, Arg]) -> Iterator[dict[str, Any]]:
    """Yield arguments of which one is not what it must be, is lacking, or is none."""
    right = good(args)
    for name, arg in args.items():
        refused = [one for one in BAD if not takes(arg, one)]
        assert len(refused) > 5, f"what would {name} refuse?"
        yield from ({**right, name: one} for one in refused)
        if arg.is_needed:
            yield {key: one for key, one in right.items() if key != name}
    yield {**right, "nobody": 1}
    yield {**right, "path": "/etc/passwd"}
    yield {**right, "x" * 400: 1}


class Site:
    """A device that allows everything."""

    def __init__(self, made: Any) -> None:
        self.made = made
        lane = made.lane
        made.settings = CommandSettings(allowed=tuple(VOCABULARY))
        settings = AgentSettings(
            device_id="cam",
            state_dir=lane.base,
            watch={"folder": lane.media},
            server={"url": "http://127.0.0.1:1"},
        )
        recordings = RecordingHandlers(lane.store, lane.sender, wake_watcher=lambda: None)
        guarded = GuardedHandlers(
            settings,
            lane.store,
            lane.sender,
            recordings,
            clock=lane.clock,
            folders=Folders(settings.watch),
            wake_watcher=lambda: None,
            reload=lambda: made.called.append("reload"),
        )
        fetching = FetchHandler(lane.store, lane.activity, lane.sender, wake_watcher=lambda: None)
        made.more = {**guarded.handlers(), **fetching.handlers()}
        made.open()
        lane.record("a.mp4", b"a" * 1000)
        self.before = self.all_of_it()

    def all_of_it(self) -> tuple[list[str], list[str]]:
        """Return everything that a command could have changed."""
        self.made.desk.step(self.made.clock.now_s())
        with closing(sqlite3.connect(self.made.lane.base / "agent.db")) as database:
            rows = [one for one in database.iterdump() if "running" not in one]
        return rows, list(self.made.called)

    def has_changed(self) -> bool:
        return self.all_of_it() != self.before

    def by_mqtt(self, documents: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Have the broker bring *documents*; return the answers to each id."""
        acks = [ack for one in documents for ack in self.made.take(one, "mqtt")]
        return _by_id(acks)

    def by_server(self, documents: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Have a server's answers to reports bring *documents*; return the answers to each id."""
        acks: list[dict[str, Any]] = []
        with ReportServer() as server, self._reporting(server) as agent:
            for at in range(0, len(documents), MOST_A_MINUTE):
                server.commands = documents[at : at + MOST_A_MINUTE]
                for _ in range(20):  # its telemetry budget holds here, too
                    agent.worker.hurry()
                    agent.run_for(30)
                    if not server.commands:
                        break
                assert server.commands == [], "it did not answer some"
                acks, server.acks = acks + server.acks, []
        return _by_id(acks)

    def _reporting(self, server: ReportServer) -> Reports:
        return Reports(self.made.lane.base / "reports", server.url, desk=self.made.desk)


def _by_id(acks: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in acks:
        found.setdefault(one["id"], []).append(one)
    return found


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield Site(made)


@pytest.fixture
def fleet():
    with ingest(mode="token") as server:
        made = Fleet(server)
        made.report(info=info(commands=list(VOCABULARY), settings=list(SETTINGS)))
        yield made


def send(fleet: Fleet, method: str, path: str, document: object) -> testing.Result:
    return fleet.operator.simulate_request(
        method,
        f"/v1/fleet/devices/drone-1/{path}",
        body=json.dumps(document),
        headers={"Content-Type": "application/json"},
    )


def bad_documents(epoch_s: float) -> list[tuple[dict[str, Any], Any]]:
    """Return commands with which something is wrong, and how each is to be answered."""
    return [one for cmd in VOCABULARY for one in _bad_documents(cmd, epoch_s)]


def _bad_documents(cmd: str, epoch_s: float) -> list[tuple[dict[str, Any], Any]]:
    right = {"v": 1, "cmd": cmd, "args": good(VOCABULARY[cmd]), "expires_at": epoch_s + 120}
    found: list[tuple[dict[str, Any], Any]] = [
        ({**right, "args": args}, FORMS) for args in wrong(VOCABULARY[cmd])
    ]
    no_objects: tuple[Any, ...] = ([], "x", 1, True)
    found += [({**right, "args": one}, FORMS) for one in no_objects]
    versions: tuple[Any, ...] = (2, "1", None, True)
    found += [({**right, "v": one}, FORMS) for one in versions]
    found += [({**right, "cmd": one}, FORMS) for one in (f"{cmd} ", cmd.upper(), f"../{cmd}")]
    found += [({**right, "padding": "x" * MAX_BYTES}, FORMS)]
    found += [({**right, "expires_at": None}, (("rejected", "no_expiry"),))]
    moments: tuple[Any, ...] = ("soon", True, [], 10**400)
    found += [({**right, "expires_at": one}, FORMS) for one in moments]
    found += [({**right, "expires_at": one}, (("expired", "expired"),)) for one in (0, epoch_s - 1)]
    found += [({**right, "expires_at": epoch_s + 4000}, (("rejected", "expiry_too_far"),))]
    return [({**one, "id": f"{cmd}-{n}"}, how) for n, (one, how) in enumerate(found)]


def check(answers: dict[str, list[dict[str, Any]]], documents: list[tuple[Any, Any]]) -> None:
    for document, how in documents:
        said = answers.get(document["id"], [])
        assert len(said) == 1, (document, said)
        assert (said[0]["status"], said[0]["code"]) in how, (document, said)
        assert 0 < len(said[0]["message"]) < 400, said


def test_every_command_has_a_handler_and_every_handler_a_command(site):
    assert set(site.made.handlers) == set(EVERY)


def test_whatever_is_wrong_with_a_command_of_the_broker_it_gets_one_answer(site):
    documents = bad_documents(site.made.now_s())

    answers = site.by_mqtt([one for one, _ in documents])

    check(answers, documents)
    assert not site.has_changed()


def test_whatever_is_wrong_with_a_command_of_a_server_it_gets_one_answer(site):
    documents = bad_documents(SERVER_S)

    answers = site.by_server([one for one, _ in documents])

    check(answers, documents)
    assert not site.has_changed()


def test_whatever_is_wrong_with_a_command_at_the_control_socket_it_gets_one_sentence(site):
    made = site.made
    path = made.lane.base / "control.sock"
    here = Commands(
        made.store,
        made.lane.activity,
        dict,
        folders=Folders([]),
        wake_watcher=lambda: None,
        handlers=made.handlers,
    )
    server = ControlServer(path, here)
    server.start()
    try:
        for cmd, known in EVERY.items():
            for args in wrong(known):
                with pytest.raises(ControlError) as refused:
                    next(iter(ask(path, {"do": cmd, **args})))
                assert 0 < len(str(refused.value)) < 400, (cmd, args)
    finally:
        server.stop()

    assert not site.has_changed()


@pytest.mark.parametrize("cmd", EVERY)
def test_whatever_is_wrong_with_a_command_of_an_operator_it_is_refused_in_one_sentence(fleet, cmd):
    right = good(EVERY[cmd])
    bad: list[dict[str, Any]] = [{"cmd": cmd, "args": args} for args in wrong(EVERY[cmd])]
    bad += [{"cmd": cmd, "args": args} for args in ([1], "x", 1, True, {"nobody": "x" * 9000})]
    bad += [{"cmd": cmd, "args": right, "expires_in_s": one} for one in (0, 10**9, "60", True)]
    bad += [{"cmd": cmd, "args": right, more: 1} for more in ("v", "id", "expires_at", "for_s")]
    bad += [{"cmd": one, "args": right} for one in (f"{cmd} ", cmd.upper(), [cmd])]
    bad += [{"cmd": cmd, "args": right}] if cmd in AT_DEVICE else []

    for document in bad:
        answer = send(fleet, "POST", "commands", document)
        assert 400 <= answer.status_code < 500, document
        assert 0 < len(answer.json["detail"]) < 400, document

    assert fleet.get("/devices/drone-1").json["commands"] == []
    assert fleet.report(seq=2)["commands"] == []


def test_a_command_that_a_device_does_not_allow_is_refused_by_every_way_in(site, fleet):
    for seq, cmd in enumerate(VOCABULARY, 2):
        others = tuple(one for one in VOCABULARY if one != cmd)
        site.made.desk.reconfigure(CommandSettings(allowed=others))
        site.made.clock.pass_s(60)
        fleet.report(seq=seq, info=info(commands=list(others)))
        args = good(VOCABULARY[cmd])
        right: dict[str, Any] = {"v": 1, "id": "c", "cmd": cmd, "args": args}

        by_mqtt = site.by_mqtt([{**right, "expires_at": site.made.now_s() + 60}])["c"]
        by_server = site.by_server([{**right, "expires_at": SERVER_S + 60}])["c"]
        by_operator = give(fleet, cmd, args)

        assert [one["code"] for one in (*by_mqtt, *by_server)] == ["forbidden"] * 2, cmd
        assert (by_operator.status_code, by_operator.json["code"]) == (409, "command-refused"), cmd

    assert not site.has_changed()


def test_without_a_clock_what_could_do_harm_is_refused(site):
    site.made.clock.synchronised = False

    for cmd in set(VOCABULARY) - WITHOUT_CLOCK:
        ack = site.made.do(cmd, good(VOCABULARY[cmd]))
        assert (ack["status"], ack["code"]) == ("rejected", "clock_unsynced"), cmd

    assert not site.has_changed()


def test_a_recording_of_nobody_is_a_failure_that_says_so(site):
    for cmd, args in VOCABULARY.items():
        if "file_id" in args:
            ack = site.made.do(cmd, good(args))
            assert (ack["status"], ack["code"]) == ("failed", "unknown_file"), cmd
            assert NOBODYS in ack["message"]


def test_a_command_that_comes_again_is_executed_once_and_each_way_is_told(site):
    documents = {cmd: site.made.document(cmd, good(args)) for cmd, args in VOCABULARY.items()}
    for cmd, document in documents.items():
        site.made.clock.pass_s(60)
        site.made.take({**document, "expires_at": site.made.now_s() + 60})
        site.made.desk.step(site.made.clock.now_s())
        site.made.tell()
        called = list(site.made.called)

        again = [ack for _ in range(2) for ack in site.made.take(document)]

        assert [one["status"] for one in again] == ["duplicate"] * 2, cmd
        assert {one["cmd"] for one in again} == {cmd}
        assert site.made.called == called, cmd
    called = list(site.made.called)
    elsewhere = site.by_server(list(documents.values()))

    assert {one[0]["cmd"]: len(one) for one in elsewhere.values()} == dict.fromkeys(documents, 1)
    assert {one[0]["status"] for one in elsewhere.values()} == {"duplicate"}
    assert site.made.called == called


def test_what_only_a_person_at_the_device_may_say_is_no_command_from_far_away(site):
    for cmd in AT_DEVICE:
        assert site.made.do(cmd)["code"] == "unsupported"
    assert not site.has_changed()


def wrong_settings() -> Iterator[tuple[str, Any]]:
    for name, arg in SETTINGS.items():
        yield from ((name, one) for one in BAD if not takes(arg, one))
    yield from (("exec", 1), ("server.url", "http://example.org"), ("x" * 400, 1))


def test_whatever_is_wrong_with_a_wanted_setting_is_reported_by_name_and_nothing_holds(site):
    site.made.desk.desire(b'{"v": 1, "version": 1, "settings": {}}', "mqtt")
    before = site.made.desk.reported()["settings"]

    for version, (name, value) in enumerate(wrong_settings(), 2):
        site.made.clock.pass_s(60)
        document = {"v": 1, "version": version, "settings": {name: value}}
        site.made.desk.desire(json.dumps(document).encode(), "mqtt")

        told = site.made.desk.reported()
        assert (told["version"], told["status"]) == (version, "rejected"), document
        assert 0 < len(told["errors"][name[:64]]) < 400
        assert told["settings"] == before


def test_whatever_is_wrong_with_settings_of_an_operator_is_refused_in_one_sentence(fleet):
    for name, value in wrong_settings():
        answer = send(fleet, "PUT", "desired", {"settings": {name: value}})
        assert 400 <= answer.status_code < 500, (name, value)
        assert 0 < len(answer.json["detail"]) < 400

    assert fleet.get("/devices/drone-1").json["desired"] is None
