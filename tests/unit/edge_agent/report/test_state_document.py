from __future__ import annotations

import pytest

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Current, Wait
from edge_agent.core.upload import Event
from edge_agent.operate.status_text import status_page
from edge_agent.report.in_words import status_line
from edge_agent.report.state_document import LinkUse, percent
from edge_agent.report.waiting import reason_of
from edge_agent.send.waits import Waits
from tests.support.board import Board

KEYS = {
    "v", "ts", "seq", "boot_id", "clock", "state", "blocked_by", "blocked_detail", "paused",
    "limit_bytes_per_s", "rate_bytes_per_s", "eta_s", "queue", "current", "totals", "link", "disk",
    "folders", "problems", "left_out", "held", "notes", "last_completed_at",
}  # fmt: skip


@pytest.fixture
def board(tmp_path):
    made = Board(tmp_path)
    yield made
    made.store.close()


def test_the_link_is_told_as_it_is_and_unknown_figures_are_null(board):
    unknown = board.snapshot()
    board.link = LinkUse(
        "wwan0", True, 100_000, 4, 0.1804, 65536, 0.0213, 1 << 20, is_posted=True, max_segment=1220
    )
    known = board.snapshot()

    assert known["link"] == {
        "iface": "wwan0",
        "metered": True,
        "rtt_ms": 180,
        "lanes": 4,
        "in_flight": 65536,
        "retransmit_percent": 2.1,
        "max_request": 1 << 20,
        "method": "POST",
        "max_segment": 1220,
        "other": None,
        "congestion_control": None,
        "congestion_reason": "",
    }
    assert known["limit_bytes_per_s"] == 100_000
    assert set(unknown["link"]) == set(known["link"])
    assert unknown["link"]["rtt_ms"] is None
    page = status_page({"running": True, "state": known, "files": [], "limits": []}, "d")
    assert (
        "link: wwan0 (metered), limited to 100.0 kB/s, round trip 180 ms, 2.1 % sent again,"
        " 4 connections, something on the way lets 1.0 MB through at once, and no PUT,"
        " packets of 1220 bytes, for fuller ones are lost (MTU)" in page
    )


def test_a_pause_is_told_also_while_nothing_waits(board):
    board.is_paused = True

    document = board.snapshot()

    assert document["paused"]
    assert document["blocked_by"] is None


def test_all_keys_are_there_even_when_nothing_is_known(board):
    document = board.snapshot()

    assert set(document) == KEYS
    assert document["state"] == "idle"
    assert document["blocked_by"] is None
    assert document["current"] is None
    assert document["disk"]["free"] > 0
    assert status_line(document) == "idle, 0 sent so far"


def test_the_document_of_a_busy_agent_is_this_one(board):
    recording = board.store.advance(board.add("a.mp4"), Event.SETTLED)
    board.add("b.mp4")
    board.activity.sending(
        Current(recording.id, "a.mp4", 1000, 420, 30, 2, 0.0), rate_bytes_per_s=99.6, eta_s=5.4
    )
    board.activity.problem(ProblemCode.INSECURE_TRANSPORT, present=True)
    first, document = board.snapshot(), board.snapshot()

    disk = document.pop("disk")
    assert disk["total"] >= disk["free"] > 0
    assert set(disk) == {"free", "total"}
    assert first["seq"] == 1
    assert document == {
        "v": 1,
        "ts": "1970-01-01T00:00:00Z",
        "seq": 2,
        "boot_id": "boot",
        "clock": "unsynced",
        "state": "uploading",
        "blocked_by": None,
        "blocked_detail": None,
        "paused": False,
        "limit_bytes_per_s": 0,
        "rate_bytes_per_s": 100,
        "eta_s": 5,
        "queue": {"files": 2, "bytes": 2000, "oldest_age_s": 0, "failed": 0},
        "current": {
            "file_id": recording.id,
            "name": "a.mp4",
            "length": 1000,
            "acknowledged": 420,
            "in_flight": 30,
            "percent": 42.0,
            "attempt": 2,
        },
        "totals": {
            "bytes_sent": 0,
            "bytes_resent": 0,
            "files_done": 0,
            "files_failed": 0,
            "files_overwritten": 0,
        },
        "link": {
            "iface": None,
            "metered": None,
            "rtt_ms": None,
            "lanes": 0,
            "in_flight": None,
            "retransmit_percent": None,
            "max_request": None,
            "method": "PUT",
            "max_segment": None,
            "other": None,
            "congestion_control": None,
            "congestion_reason": "",
        },
        "folders": [],
        "problems": ["insecure_transport"],
        "left_out": None,
        "held": None,
        "notes": [],
        "last_completed_at": None,
    }


def test_a_folder_that_is_not_there_has_no_room_that_is_known(board):
    board.folder.rmdir()

    assert board.snapshot()["disk"] == {"free": None, "total": None}


def test_the_phases_of_starting_and_stopping_come_before_all_else(board):
    board.snapshot.phase = "stopping"

    assert board.snapshot()["state"] == "stopping"


def test_sending_is_told_with_rate_and_what_waits(board):
    recording = board.store.advance(board.add("a.mp4"), Event.SETTLED)
    board.store.advance(board.add("b.mp4"), Event.SETTLED)
    current = Current(recording.id, "a.mp4", 1000, 420, 0, 1, 0.0)
    board.activity.sending(current, rate_bytes_per_s=1.2e6, eta_s=7.4)

    document = board.snapshot()

    assert document["state"] == "uploading"
    assert document["current"]["percent"] == 42.0
    assert document["eta_s"] == 7
    assert status_line(document) == "sending a.mp4 42 % at 1.2 MB/s, 1 waiting"


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.LINK, "waiting_network"),
        (Reason.BACKOFF, "waiting_network"),
        (Reason.METERED, "waiting_window"),
        (Reason.SCHEDULE, "waiting_window"),
        (Reason.PAUSED, "paused"),
        (Reason.AUTH, "blocked"),
        (Reason.QUOTA, "blocked"),
        (Reason.SERVER_BUSY, "blocked"),
        (Reason.SERVER_FULL, "blocked"),
        (Reason.DISK, "blocked"),
        (Reason.CLOCK, "blocked"),
        (Reason.SOURCE_MISSING, "blocked"),
        (Reason.VERIFYING, "uploading"),
        (Reason.BANDWIDTH, "uploading"),
    ],
)
def test_every_reason_has_a_state(board, reason, state):
    board.store.advance(board.add("a.mp4"), Event.SETTLED)
    board.activity.block(Wait(reason, "because"))

    document = board.snapshot()

    assert (document["state"], document["blocked_by"]) == (state, str(reason))
    assert status_line(document) == f"waiting ({reason}): because, 1 waiting"


def test_a_recording_that_is_still_written_is_the_reason_when_nothing_else_is(board):
    board.add("a.mp4")

    document = board.snapshot()

    assert (document["state"], document["blocked_by"]) == ("idle", "still_recording")
    assert document["blocked_detail"] == "a.mp4: it is being written, or was a moment ago"


def test_the_one_recording_that_is_waited_for_is_named_with_its_own_reason(board):
    one = board.add("a.mp4")
    board.activity.wait(one.id, Wait(Reason.STILL_RECORDING, "a program has it open"))

    alone = board.snapshot()["blocked_detail"]
    board.add("b.mp4")

    assert alone == "a.mp4: a program has it open"
    assert board.snapshot()["blocked_detail"] == (
        "2 recordings are being written, or were a moment ago"
    )


def test_a_wait_of_another_recording_does_not_name_the_one_that_is_written(board):
    board.store.advance(board.add("a.mp4"), Event.SETTLED)
    board.add("b.mp4")
    board.activity.block(Wait(Reason.PERMISSION, "it may not be read"))

    assert board.snapshot()["blocked_detail"] == "it may not be read"


def test_what_waits_while_nothing_is_sent_is_not_said_to_wait_for_other_recordings(board):
    waiting = board.store.advance(board.add("a.mp4"), Event.SETTLED)

    why, line = reason_of(waiting, board.activity.view()), status_line(board.snapshot())

    assert why == Wait(
        Reason.QUEUED, "its turn is next, or the server is just being asked about it"
    )
    assert line == "idle, 0 sent so far, 1 waiting"


def test_a_missing_folder_is_the_reason_of_what_was_waiting_in_it(board):
    board.store.advance(board.add("a.mp4"), Event.SETTLED)
    board.activity.miss_folder(Wait(Reason.SOURCE_MISSING, "it is not there"))

    document = board.snapshot()

    assert (document["state"], document["blocked_by"]) == ("blocked", "source_missing")
    assert document["problems"] == ["source_missing"]


def test_what_holds_all_up_is_the_reason_of_each_recording_whatever_it_waited_for_before(board):
    waiting = board.store.advance(board.add("a.mp4"), Event.SETTLED)
    growing = board.add("b.mp4")
    own = Wait(Reason.BACKOFF, "the server lost it")
    written = Wait(Reason.STILL_RECORDING, "a program has it open")
    board.activity.wait(waiting.id, own)
    board.activity.wait(growing.id, written)
    for_itself = reason_of(waiting, board.activity.view())

    link = Wait(Reason.LINK, "no route", holds_all=True)
    board.activity.block(link)
    view = board.activity.view()

    assert for_itself == own
    assert reason_of(waiting, view) == link
    assert reason_of(growing, view) == written


def test_where_each_waits_for_itself_each_has_its_own_reason(board):
    first, second = (
        board.store.advance(board.add(name), Event.SETTLED) for name in ("a.mp4", "b.mp4")
    )
    soon, late = Wait(Reason.BACKOFF, "the server lost it"), Wait(Reason.VERIFYING, "it verifies")
    board.activity.wait(first.id, soon)
    board.activity.wait(second.id, late)
    board.activity.block(soon)

    view = board.activity.view()

    assert [reason_of(one, view) for one in (first, second)] == [soon, late]


def test_a_wait_that_is_over_is_told_no_more_though_others_are_sent_first(board):
    waits = Waits(board.activity, board.clock)
    waits.hold("a", Reason.BACKOFF, "", 5.0)
    waits.hold("b", Reason.BACKOFF, "", 50.0)

    waits.release_over(board.clock.now + 6.0)

    assert list(board.activity.waits) == ["b"]
    assert waits.is_held("b", board.clock.now + 6.0)


def test_a_file_that_could_not_be_read_is_no_problem_once_it_is_out_of_the_lane(board):
    waits = Waits(board.activity, board.clock)
    for one in ("a", "b", *(f"more-{number}" for number in range(20))):
        waits.hold(one, Reason.PERMISSION, "", 5.0)
    waits.release_over(board.clock.now + 6.0)
    raised = []

    for pending in ({"a", "b"}, {"b"}, set()):
        for _ in range(3):
            waits.end_troubles(pending.__contains__)
        raised.append(board.activity.problems)

    assert raised == [{ProblemCode.PERMISSION}, {ProblemCode.PERMISSION}, set()]


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 0, 0.0), (0, 9, 0.0), (999_999, 1_000_000, 99.9), (5, 5, 100.0)],
)
def test_a_hundred_percent_means_all_of_it(part, whole, shown):
    assert percent(part, whole) == shown
