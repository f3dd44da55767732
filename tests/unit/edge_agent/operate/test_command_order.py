"""Of two commands that contradict each other the later one holds, and each runs once."""

import json
import threading
from contextlib import closing

import pytest

from edge_agent.base.state_lock import DATABASE
from edge_agent.core.command import Command
from edge_agent.media.folders import Folders
from edge_agent.operate import asked
from edge_agent.operate.command_desk import CommandDesk
from edge_agent.operate.command_handlers import Handler, Outcome
from edge_agent.operate.commands import Commands
from tests.support.agent_settings import GOOD, read
from tests.support.agent_store import open_store
from tests.support.command_site import command_site


class Cut(BaseException):
    """The power is gone: nothing after this runs."""


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield made


def interrupt(site, document):
    """The power goes while a command is executed."""

    def cut(_command):
        raise Cut

    site.more = {document["cmd"]: Handler(cut)}
    site.open()
    with pytest.raises(Cut):
        site.take(document)
    site.more = {}
    site.restart()


def test_a_newer_command_does_not_overtake_one_that_a_power_cut_interrupted(site):
    interrupt(site, site.document("pause", id="older"))

    told = site.take(site.document("resume", id="newer"), "server")
    site.desk.step(site.clock.now_s())

    assert site.store.orders.paused() is None
    assert [(one["id"], one["status"]) for one in (*site.tell(), *told)] == [
        ("older", "done"),
        ("newer", "done"),
    ]


class Broker(threading.Thread):
    """What another thread brings meanwhile, one after the other."""

    def __init__(self, site, *documents):
        super().__init__()
        self._site = site
        self._documents = documents

    def run(self):
        for one in self._documents:
            self._site.desk.take(json.dumps(one).encode(), "mqtt")

    def end(self):
        self.join(10)
        assert not self.is_alive()


def test_what_another_thread_executes_meanwhile_the_worker_does_not_execute_once_more(site):
    executed = []
    is_written, may_go = threading.Event(), threading.Event()
    documents = [site.document("pause", id="older"), site.document("resume", id="newer")]
    broker = Broker(site, *documents)

    def is_rescan_long():
        if site.store.commands.find("long") is not None and not is_written.is_set():
            broker.start()  # the worker has read what is short, and not yet what is long
            assert is_written.wait(10)
        return True

    def rescan(_command):
        may_go.set()
        broker.end()
        return Outcome("looked through")

    def is_pause_long():
        if threading.current_thread() is broker:
            is_written.set()
            assert may_go.wait(10)
        return False

    def noting(cmd, is_long):
        real = site.handlers[cmd]

        def do(command):
            executed.append((cmd, threading.current_thread() is broker))
            return real.do(command)

        return Handler(do, is_long)

    site.more = {
        "rescan": Handler(rescan, lambda: True),
        "pause": noting("pause", is_pause_long),
        "resume": noting("resume", lambda: False),
    }
    site.open()
    site.take(site.document("rescan", id="long"))
    site.more["rescan"] = Handler(rescan, is_rescan_long)
    site.open()

    site.desk.step(site.clock.now_s())

    assert executed == [("pause", True), ("resume", True)]
    assert site.store.orders.paused() is None
    assert {one["id"]: one["status"] for one in site.tell()} == dict.fromkeys(
        ("long", "older", "newer"), "done"
    )


class LooksAtOnce:
    """The log of commands; the worker looks at it the moment that one is written down."""

    def __init__(self, site):
        self._site = site
        self._commands = site.store.commands

    def __getattr__(self, name):
        return getattr(self._commands, name)

    def add(self, command, via):
        is_written = self._commands.add(command, via)
        worker = threading.Thread(target=self._site.desk.step, args=(self._site.clock.now_s(),))
        worker.start()
        worker.join(10)
        return is_written


def test_what_takes_long_is_not_accepted_once_more_after_it_was_done(site):
    executed = []

    def rescan(command):
        executed.append(command.id)
        return Outcome("whole")

    site.more = {"rescan": Handler(rescan, lambda: True)}
    site.store.commands = LooksAtOnce(site)
    site.open()

    (accepted,) = site.take(site.document("rescan", id="long"))
    site.desk.step(site.clock.now_s())
    site.desk.step(site.clock.now_s())

    assert executed == ["long"]
    assert accepted["status"] == "accepted"
    assert [one["status"] for one in site.tell()] == ["done"]


def test_what_takes_long_is_begun_by_a_worker_that_looks_the_moment_it_is_woken(site):
    handlers = {"rescan": Handler(lambda _: Outcome("whole"), lambda: True)}
    site.desk = CommandDesk(
        site.store,
        handlers,
        site.settings,
        clock=site.clock,
        boot_id="boot",
        wake=lambda: site.desk.step(site.clock.now_s()),
    )

    assert [one["status"] for one in site.take(site.document("rescan"))] == ["done"]


def test_what_becomes_short_while_the_worker_is_at_it_is_the_workers_still(site):
    """As `retry_failed` does, once it has moved so many that few are left."""
    executed = []
    broker = Broker(site, site.document("report", id="meanwhile"))

    def rescan(_command):
        executed.append(threading.current_thread() is broker)
        if not broker.ident:
            broker.start()
            broker.end()
        return Outcome("all of it")

    site.more = {"rescan": Handler(rescan, lambda: not executed)}
    site.open()
    site.take(site.document("rescan", id="long"))

    site.desk.step(site.clock.now_s())

    assert executed == [False]
    assert {one["id"]: one["message"] for one in site.tell()} == {
        "long": "all of it",
        "meanwhile": "everything is told anew",
    }


def test_what_a_person_at_the_device_says_is_not_undone_by_what_was_interrupted(site):
    interrupt(site, site.document("pause"))
    here = Commands(
        site.store,
        site.lane.activity,
        dict,
        folders=Folders([]),
        wake_watcher=lambda: None,
        handlers=site.handlers,
        do=site.desk.do_here,
    )

    list(here.answer({"do": "resume"}, threading.Event()))
    site.desk.step(site.clock.now_s())

    assert site.store.orders.paused() is None
    assert [one["status"] for one in site.tell()] == ["done"]


@pytest.mark.parametrize("cmd", ["pause", "rotate_token"])
def test_what_a_person_says_while_no_agent_runs_comes_after_what_was_interrupted(tmp_path, cmd):
    """What only an agent can do waits for the next start."""
    settings = read(tmp_path, f'state_dir = "{tmp_path}"\n{GOOD}').settings
    with closing(open_store(tmp_path / DATABASE)) as store:
        store.commands.add(Command("older", cmd, {}), "mqtt")

    answer, is_running = asked.do(settings, "resume")

    assert (answer["message"], is_running) == ("sending goes on", False)
    with closing(open_store(tmp_path / DATABASE)) as store:
        assert store.orders.paused() is None
        assert [one.command.cmd for one in store.commands.unfinished()] == (
            [] if cmd == "pause" else [cmd]
        )
