"""What moves, or why nothing does, in one line or page for a person at a terminal."""

from __future__ import annotations

import os
import pty

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.operate.figures import size
from edge_agent.operate.status_text import status_page
from edge_agent.operate.upload_display import show
from edge_agent.operate.upload_text import change_line, progress_line
from edge_agent.report.in_words import status_line
from tests.support.board import Board


@pytest.fixture
def board(tmp_path):
    made = Board(tmp_path)
    yield made
    made.store.close()


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

    assert page.startswith("The agent is not running. To start it: systemctl start edge-agent, or ")
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
