from __future__ import annotations

import itertools
import os
import pty
from datetime import timedelta

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.settings import WatchSettings
from edge_agent.base.view import Current, Wait
from edge_agent.core.recording import Found, Identity
from edge_agent.core.upload import Event
from edge_agent.media.folders import Folders
from edge_agent.operate.figures import size
from edge_agent.operate.status_text import status_page
from edge_agent.operate.upload_display import show
from edge_agent.operate.upload_text import change_line, progress_line
from edge_agent.report.in_words import status_line
from edge_agent.report.state_document import LinkUse, StateDocuments, percent
from edge_agent.report.waiting import reason_of
from edge_agent.send.waits import Waits
from edge_agent.store.recordings import Store
from tests.support.rim import StillClock

KEYS = {
    "v", "ts", "seq", "boot_id", "clock", "state", "blocked_by", "blocked_detail", "paused",
    "limit_bytes_per_s", "rate_bytes_per_s", "eta_s", "queue", "current", "totals", "link", "disk",
    "folders", "problems", "left_out", "held", "notes", "last_completed_at",
}  # fmt: skip


class Board:
    def __init__(self, base) -> None:
        self.clock, self.folder = StillClock(), base / "media"
        self.folder.mkdir()
        self.link, self.is_paused = LinkUse(), False
        self.store = Store.open(base / "agent.db", clock=self.clock, boot_id="boot")
        self.activity = Activity()
        self.inodes = itertools.count(1)
        self.snapshot = StateDocuments(
            self.store,
            self.activity,
            self.clock,
            boot_id="boot",
            folders=Folders([WatchSettings(folder=self.folder)]),
            link=lambda: self.link,
            is_paused=lambda: self.is_paused,
        )
        self.snapshot.phase = None

    def add(self, name: str):
        identity = Identity(1, next(self.inodes), 1000, 1, 1)
        found = Found(path=b"/m/" + name.encode(), folder="", name=name, identity=identity)
        return self.store.add([found])[0]


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


def oldest_age_s(board, clock=None, boot_id="boot"):
    """Return the age that an agent tells: this one, or another one that is started later."""
    if clock is None:
        return board.snapshot()["queue"]["oldest_age_s"]
    later = Store.open(board.folder.parent / "agent.db", clock=clock, boot_id=boot_id)
    folders = Folders([WatchSettings(folder=board.folder)])
    told = StateDocuments(later, Activity(), clock, boot_id=boot_id, folders=folders)()
    later.close()
    return told["queue"]["oldest_age_s"]


def test_the_oldest_one_gets_older_though_nobody_has_set_the_clock(board):
    board.add("a.mp4")
    new = oldest_age_s(board)
    board.clock.now += 7200.0

    assert (new, oldest_age_s(board)) == (0, 7200)


def test_an_age_is_not_told_by_a_clock_that_was_set_only_after_the_recording_was_seen(board):
    board.add("a.mp4")
    board.clock.now += 60.0
    board.clock.synchronised = True
    board.clock.wall = board.clock.wall.replace(year=2026)

    assert oldest_age_s(board) == 60


def test_where_the_clock_is_right_the_time_that_the_device_was_off_counts_too(board):
    board.clock.synchronised = True
    board.add("a.mp4")
    off_since = board.clock.wall
    later = StillClock(now=3.0, synchronised=True, wall=off_since + timedelta(days=3))

    assert oldest_age_s(board, later, "next boot") == 3 * 86_400


def test_where_no_clock_is_right_the_time_counts_that_the_device_is_known_to_have_run(board):
    board.add("a.mp4")
    board.clock.now += 3600.0
    board.store.running.keep()
    same_boot = StillClock(now=board.clock.now + 500.0)
    next_boot = StillClock(now=10.0)

    assert oldest_age_s(board, same_boot) == 4100
    assert oldest_age_s(board, next_boot, "next boot") == 3600


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 0, 0.0), (0, 9, 0.0), (999_999, 1_000_000, 99.9), (5, 5, 100.0)],
)
def test_a_hundred_percent_means_all_of_it(part, whole, shown):
    assert percent(part, whole) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_123_456_789, "4.1 GB"), (1e19, "10000.0 PB")],
)
def test_sizes_are_for_people(count, shown):
    assert size(count) == shown


def row(name: str, **more: object) -> dict[str, object]:
    base = {
        "file_id": name, "path": f"/m/{name}", "folder": "", "name": name, "state": "sending",
        "length": 1000, "acknowledged": 400, "in_flight": 20, "percent": 40.0, "reason": None, "detail": None,
        "problem": None, "published_as": None, "is_done": False,
    }  # fmt: skip
    return base | more


def test_the_progress_line_shows_what_moves_or_why_nothing_does():
    waiting = row("b.mp4", reason="queued", detail="other recordings are sent first")
    moving = {"files": [waiting, row("a.mp4")], "rate_bytes_per_s": 100.0, "eta_s": 6.0}
    stuck = {
        "files": [row("a.mp4", reason="link", detail="no route")],
        "rate_bytes_per_s": 100.0,
        "eta_s": None,
    }

    assert progress_line(moving, 200) == (
        "a.mp4  [########............] 42 %  420 B of 1.0 kB, 100 B/s  0:06 left  0 of 2 done",
        None,
    )
    assert "waiting (link): no route" in progress_line(stuck, 200)[0]
    assert len(progress_line(moving, 40)[0]) == 40


def test_a_reason_that_the_progress_line_has_no_room_for_is_shown_in_full_and_once():
    detail = "the kernel cannot tell who writes to it: it must be quiet for 60 s"
    waiting = {
        "files": [row("a.mp4", state="seen", reason="still_recording", detail=detail)],
        "rate_bytes_per_s": None,
        "eta_s": None,
        "done": False,
    }
    done = {**waiting, "files": [row("a.mp4", state="kept", is_done=True)], "done": True}
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as out:
        show([{"refused": []}, waiting, waiting, done], out)
        shown = ""
        while "verified" not in shown:
            shown += os.read(ours, 65_536).decode()
    os.close(ours)

    assert progress_line(waiting, 200)[1] is None
    assert len(detail) > 60
    assert shown.count(f"/m/a.mp4: waiting (still_recording): {detail}\r\n") == 1


def test_the_status_page_names_each_file_and_its_reason(board):
    board.add("a.mp4")
    files = [
        row("a.mp4", reason="still_recording", detail="it is open", percent=0.0),
        row("b.mp4", state="failed", problem="too-large", detail="too-large: 10 GB at most"),
        row("c.mp4", state="kept", published_as="d/c.mp4", is_done=True, percent=100.0),
        row("l.csv", state="kept", published_as="d/l-2.csv", supersedes="d/l.csv", is_done=True),
    ]

    page = status_page(
        {"running": False, "state": board.snapshot(), "files": files, "limits": ["a limit"]}, "d"
    )

    assert page.startswith("The agent is not running.")
    assert "still_recording: it is open" in page
    assert "too-large: 10 GB at most" in page
    assert "too-large: too-large" not in page, "the server's words begin with the code"
    assert "published as d/c.mp4" in page
    assert "published as d/l-2.csv, after d/l.csv" in page
    assert "open files: a limit" in page


def test_an_endless_name_does_not_push_the_reasons_off_the_screen(board):
    files = [row("%FF" * 251 + ".mp4", reason="link", detail="no route"), row("a.mp4")]

    page = status_page(
        {"running": False, "state": board.snapshot(), "files": files, "limits": ["a limit"]}, "d"
    )

    (line,) = [one for one in page.splitlines() if "no route" in one]
    assert len(line) < 120
    assert line.split()[-4].endswith(".mp4")


HOSTILE = "../\x1b]0;owned\x07\x1b[2J\r\ndrone-1: idle\u202e\x9b1A\udc80"


@pytest.mark.parametrize("said", ["published_as", "detail", "problem"])
def test_what_a_server_has_said_does_nothing_on_a_terminal(board, said):
    hostile = row("a.mp4", **{"state": "failed", "problem": "x", "detail": "", said: HOSTILE})
    waiting = row("b.mp4", reason="link", detail=HOSTILE)
    board.activity.block(Wait(Reason.LINK, HOSTILE))
    state = board.snapshot()
    answer = {"running": True, "state": state, "files": [hostile, waiting], "limits": []}

    page = status_page(answer, "d")
    lines = [
        *page.split("\n"),
        change_line(hostile),
        change_line({**hostile, "state": "released", "is_done": True}),
        change_line(waiting),
        status_line(state),
        progress_line({"files": [waiting], "rate_bytes_per_s": None, "eta_s": None}, 500)[0],
    ]

    assert [line for line in lines if not line.isprintable()] == []
    assert r"../\x1b]0;owned\x07\x1b[2J\r\ndrone-1: idle\u202e\x9b1A\udc80" in page
    assert "drone-1: idle" not in lines
