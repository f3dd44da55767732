"""What people are told of a hold, and who made it."""

from datetime import datetime, timedelta, timezone

import pytest

from edge_agent.core.durations import seconds
from edge_agent.core.hold import Hold, Maker, pid_in

SINCE = datetime(2026, 11, 29, 14, 2, tzinfo=timezone(timedelta(hours=1)))
FILE, ENDS = "the hold file /run/robot/armed", "it is removed"


def test_a_hold_says_what_holds_since_when_why_and_what_ends_it():
    assert (
        Hold(FILE, ENDS, SINCE).detail
        == f"{FILE} holds everything since 2026-11-29 14:02, until it is removed"
    )
    assert Hold(FILE, ENDS, None, reason="armed").detail == (
        f"{FILE} holds everything (armed), until it is removed"
    )


@pytest.mark.parametrize(
    ("maker", "why"),
    [
        (Maker(), None),
        (Maker(812, is_running=True), None),
        (Maker(812, is_running=False), "no process 812, which made it, is there"),
        (Maker(is_before_boot=True), "it is dated before this device last started"),
    ],
)
def test_one_that_may_have_been_left_behind_says_why(maker, why):
    stale = Hold(FILE, ENDS, SINCE, maker).stale

    assert stale == (
        None
        if why is None
        else f"{FILE} may have been left behind: {why}. It holds since 2026-11-29 14:02, until it is removed"
    )


@pytest.mark.parametrize(
    ("content", "pid"),
    [
        (b"812\n", 812),
        (b" pid: 812 \nmission 7", 812),
        (b"PID=4194303", 4194303),
        (b"", None),
        (b"0", None),
        (b"-1", None),
        (b"armed by 812", None),
        (b"9" * 64, None),
        (b"\xff\0\n812", None),
    ],
)
def test_a_hold_file_may_name_its_process_as_lock_files_do(content, pid):
    assert pid_in(content) == pid


@pytest.mark.parametrize(
    ("text", "length_s"), [("90", 90), ("90s", 90), (" 10m ", 600), ("2h", 7200), ("30d", 2592000)]
)
def test_a_time_is_read_as_people_write_it(text, length_s):
    assert seconds(text) == length_s


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "1.5h", "31d", "10 minutes", "9" * 40, "\u0661m", "1e3"]
)
def test_what_is_no_time_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="is no time: write 90s, 10m, 2h or 1d, at most 30d"):
        seconds(text)
