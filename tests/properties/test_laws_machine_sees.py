"""Each law is broken in the code on purpose: the machine that holds the code to it must say which.

Hooks of the code are replaced, one rule for each law. An invariant that none of these wakes proves nothing.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.stability import Writer as WhoWrites
from edge_agent.media import beneath, folder_look, removal
from edge_agent.media.identity import identity_of
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.source import Source
from edge_agent.send.permission import Permission
from edge_agent.send.upload_progress import UploadProgress
from ingest_server.core import names
from ingest_server.storage.memory.blobs import MemoryBlobs
from ingest_server.uploads.writers import Writer
from tests.properties.test_laws_machine import Laws
from tests.support import mortal_server
from upload_protocol.ranges import RangeSet

ENDS_WITHIN_S = 60.0
"""A request that nobody ends ends by its own idle time, in real seconds."""

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1800)]


def a_range_is_recorded_and_never_synced(monkeypatch):
    monkeypatch.setattr(mortal_server.SyncedHand, "sync", lambda self: None)


def a_file_that_is_written_to_is_let_go(monkeypatch):
    @contextmanager
    def nobody(self, fd):
        yield WhoWrites.NOBODY

    monkeypatch.setattr(LeaseProbe, "while_unwritten", nobody)


def a_file_is_let_go_whatever_it_is_by_now(monkeypatch):
    def unchecked(path, source, expected):
        hidden = removal.hidden_path(path)
        with beneath.folder(path.rpartition(b"/")[0]) as fd:
            os.rename(path, hidden)
            moved = identity_of(os.stat(hidden, dir_fd=fd))
        return removal.Aside(path, hidden, moved)

    monkeypatch.setattr(removal, "move_aside", unchecked)
    monkeypatch.setattr(Source, "check", lambda *_, **__: None)


def a_file_that_changes_while_it_is_sent_is_completed(monkeypatch):
    monkeypatch.setattr(Source, "check", lambda *_, **__: None)


def a_published_name_is_given_twice(monkeypatch):
    def overwrite(self, upload_id, target):
        self.published.pop(target, None)
        return publish(self, upload_id, target)

    publish = MemoryBlobs.publish
    monkeypatch.setattr(MemoryBlobs, "publish", overwrite)
    monkeypatch.setattr(MemoryBlobs, "is_taken", lambda *_: False)


def what_the_server_holds_is_not_believed(monkeypatch):
    learn = UploadProgress.learn_status

    def forget(self, status, flight):
        learn(self, status, flight)
        if flight.task.kind.name != "SEND":
            self.received = RangeSet()
        return 0

    monkeypatch.setattr(UploadProgress, "learn_status", forget)


def a_wait_is_not_said(monkeypatch):
    monkeypatch.setattr(Activity, "block", lambda *_: None)


def sending_waits_for_a_clock_that_is_right(monkeypatch):
    may_send = Permission.may_send

    def wait(self, now_s):
        found = may_send(self, now_s)
        is_right = self._policy._clock.is_synchronised()
        return found if is_right else Wait(Reason.CLOCK, "the clock is wrong")

    monkeypatch.setattr(Permission, "may_send", wait)


def a_name_is_what_the_device_says(monkeypatch):
    monkeypatch.setattr(folder_look, "printable", lambda name: name.decode("latin-1"))
    monkeypatch.setattr("edge_agent.media.folder.printable", lambda name: name.decode("latin-1"))
    monkeypatch.setattr(names, "component", lambda raw: raw)


def a_dead_request_is_left_to_itself(monkeypatch):
    monkeypatch.setattr(Writer, "cancel", lambda self, why: None)


def a_retry_waits_for_a_dead_request(monkeypatch):
    cancel = Writer.cancel

    def wait(self, why):
        while not self._is_closed:
            time.sleep(0.01)
        cancel(self, why)

    monkeypatch.setattr(Writer, "cancel", wait)


FAULTS = {
    "L1": [a_range_is_recorded_and_never_synced],
    "L2": [a_file_that_is_written_to_is_let_go, a_file_is_let_go_whatever_it_is_by_now],
    "L3": [a_file_that_changes_while_it_is_sent_is_completed, a_published_name_is_given_twice],
    "L4": [what_the_server_holds_is_not_believed],
    "L5": [a_wait_is_not_said],
    "L6": [sending_waits_for_a_clock_that_is_right],
    "L7": [a_name_is_what_the_device_says],
    "L8": [a_dead_request_is_left_to_itself, a_retry_waits_for_a_dead_request],
}


@pytest.mark.parametrize(
    ("law", "fault"),
    [pytest.param(law, one, id=one.__name__) for law, all_ in FAULTS.items() for one in all_],
)
def test_a_law_that_is_broken_is_seen_to_be(monkeypatch, law, fault):
    before = set(threading.enumerate())
    fault(monkeypatch)
    searching = settings(
        max_examples=400,
        derandomize=True,
        phases=[Phase.generate],
        stateful_step_count=30,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    with pytest.raises(AssertionError, match=law):
        run_state_machine_as_test(Laws, settings=searching)
    for dead in set(threading.enumerate()) - before:
        dead.join(ENDS_WITHIN_S)
