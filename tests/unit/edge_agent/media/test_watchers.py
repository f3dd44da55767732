"""Watchers come and go with the settings, each in a thread of its own."""

import threading

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.settings import WatchSettings
from edge_agent.base.view import Wait
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.media.folders import Folders
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.media.watcher import Watcher
from edge_agent.media.watchers import Watchers
from edge_agent.store.recordings import Store
from tests.support.processes import wait_for
from tests.support.rim import StillClock


class Refused(WorkerThread):
    """One that the system has no room for."""

    def start(self):
        raise RuntimeError("can't start new thread")


class Device:
    def __init__(self, base):
        self.base, self.clock = base, StillClock()
        self.store = Store.open(base / "agent.db", clock=self.clock, boot_id="boot")
        self.activity = Activity()
        self.folders = Folders(self.settings("front"))
        self.has_threads = True
        self.may_end = threading.Event()
        self.may_end.set()
        self.watchers = Watchers(
            self.folders, self.store, self.activity, new=self.new, thread=self.thread
        )
        self.watchers.start()

    def settings(self, *names):
        return [WatchSettings(name=name, folder=self.base / name) for name in names]

    def new(self, folder):
        settler = StabilityCheck(folder, self.store, self.activity, LeaseProbe())
        return Watcher(folder, self.store, self.activity, settler, probe=LeaseProbe())

    def thread(self, name, step):
        def at_last(now_s):
            wait_s = step(now_s)
            assert self.may_end.wait(30)
            return wait_s

        kind = WorkerThread if self.has_threads else Refused
        return kind(name, at_last, clock=self.clock)

    def follow(self, *names):
        self.folders.reconfigure(self.settings(*names))
        self.watchers.follow()

    def threads(self):
        names = {one.name for one in threading.enumerate()}
        return {name for name in names if name.startswith("watcher-")}


@pytest.fixture
def device(tmp_path):
    made = Device(tmp_path)
    yield made
    made.watchers.stop()
    for runner in made.watchers.runners:
        runner.join(20)
    made.watchers.end_hints()
    made.store.close()


def test_a_folder_that_is_added_has_a_thread_and_one_that_goes_has_none(device):
    device.follow("front", "rear")
    assert device.threads() == {"watcher-front", "watcher-rear"}

    device.follow("rear")

    assert device.threads() == {"watcher-rear"}


def test_what_was_said_of_a_folder_that_goes_is_said_no_more(device):
    device.follow("front", "rear")
    device.activity.miss_folder(Wait(Reason.CARD_ABSENT, "rear: out"), watch="rear")
    device.activity.problem(ProblemCode.DISK_LOW, present=True, by="watcher-rear")
    assert device.activity.problems >= {ProblemCode.CARD_ABSENT, ProblemCode.DISK_LOW}

    device.follow("front")

    assert "rear" not in device.activity.view().folders
    assert not device.activity.problems & {ProblemCode.CARD_ABSENT, ProblemCode.DISK_LOW}


def test_so_it_is_once_its_last_step_is_over_however_long_that_takes(device):
    device.follow("front", "rear")
    rear = next(one for one in device.watchers.runners if one.name == "watcher-rear")
    device.may_end.clear()
    device.watchers.wake()
    wait_for(lambda: rear.busy_since_s is not None, "it takes a step")
    device.follow("front")
    device.activity.miss_folder(Wait(Reason.CARD_ABSENT, "rear: out"), watch="rear")
    before = device.activity.view().away("rear")
    device.may_end.set()
    rear.join(20)

    assert before is not None
    assert "rear" not in device.activity.view().folders


def test_a_folder_for_which_there_is_no_thread_is_watched_from_the_next_reload_on(device):
    device.has_threads = False
    device.follow("front", "rear")
    assert [one.name for one in device.watchers.runners] == ["watcher-front"]

    device.has_threads = True
    device.follow("front", "rear")

    assert device.threads() == {"watcher-front", "watcher-rear"}
