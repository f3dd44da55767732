"""The pages of `edge-agent status`: readable at 80 columns, and nothing cut off unsaid."""

from typing import Any

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import WatchSettings
from edge_agent.base.view import Current
from edge_agent.media.folders import Folders
from edge_agent.operate.file_table import table
from edge_agent.operate.problem_words import IN_WORDS
from edge_agent.operate.status_text import failed_page, status_page
from edge_agent.report.state_document import StateDocuments
from edge_agent.store.recordings import Store
from edge_host.columns import columns
from tests.support.clock import VirtualClock

LONG = "the server takes recordings of at most 10 GB, and this one has more than that by far"


def row(name, **more):
    return {
        "file_id": f"id-{name}",
        "path": f"/m/{name}",
        "folder": "DCIM/100MEDIA",
        "name": name,
        "state": "stable",
        "length": 30_000_000,
        "percent": 0.0,
        "reason": None,
        "detail": None,
        "problem": None,
        "published_as": None,
        "is_done": False,
        **more,
    }


def waiting(name):
    return row(name, reason="queued", detail="other recordings are sent first")


def failed(name, detail=LONG):
    return row(
        name, state="failed", problem="too-large", detail=f"too-large: {detail}", percent=None
    )


@pytest.fixture
def state(tmp_path):
    """Return a function that makes the state document of an agent with so much to do."""
    store = Store.open(tmp_path / "agent.db", clock=VirtualClock(), boot_id="boot")
    activity = Activity()
    documents = StateDocuments(
        store,
        activity,
        VirtualClock(),
        boot_id="boot",
        folders=Folders([WatchSettings(folder=tmp_path)]),
    )

    def made(*, files=0, count=0, failed=0, rate=None):
        documents.phase = None
        if rate is not None:
            current = Current("id", "a.mp4", 30_000_000, 10_000_000, 0, 1, 0.0)
            activity.sending(current, rate_bytes_per_s=rate, eta_s=1.0)
        document = documents()
        document["queue"] |= {"files": files, "bytes": count, "failed": failed}
        return document

    yield made
    store.close()


def page(state, files=(), width=80, **more):
    answer = {"running": True, "state": state, "files": list(files), "limits": [], **more}
    return status_page(answer, "drone-1", width).split("\n")


def test_nobody_is_told_how_long_it_takes_while_nothing_goes(state):
    document = state(files=1, count=30_000_000, rate=2_000_000)
    document |= {"blocked_by": "plan", "blocked_detail": "the plan is used up"}

    assert "1 file, 30.0 MB, 20.0 MB left;" in " ".join(page(document, width=None))


def test_each_problem_is_told_with_what_to_do(state):
    document = state()
    document["problems"] = ["clock_unsynced", "mqtt_auth", "plan_low"]

    lines = page(document, width=None)

    assert "problems: clock_unsynced, mqtt_auth, plan_low" in lines
    [clock] = [line for line in lines if line.startswith("clock_unsynced: ")]
    assert clock.endswith("enable an NTP client")
    assert any(line.startswith("mqtt_auth: the broker refuses the login") for line in lines)


def test_no_problem_is_a_code_alone():
    told_by_another_line = {
        "source_missing", "card_absent", "source_silent", "permission", "source_io", "left_out",
        "rule_unknown", "hold_stale", "plan_low", "deadline_late",
        "direct_unreachable",
    }  # fmt: skip

    assert set(ProblemCode) - set(IN_WORDS) == told_by_another_line


def test_what_is_left_of_the_whole_queue_and_how_long_it_takes(state):
    lines = page(state(files=284, count=8_530_000_000, rate=2_000_000))

    text = " ".join(" ".join(lines).split())
    assert "284 files, 8.5 GB, 8.5 GB left, 1:11:00 at 2.0 MB/s" in text


def test_what_has_arrived_and_waits_to_be_verified_is_not_left_to_send(state):
    document = state(files=3, count=90_000_000, rate=2_000_000)
    rows = [row("a.mp4", file_id="id", state="sent"), row("b.mp4", state="sent"), waiting("c.mp4")]

    text = " ".join(" ".join(page(document, rows)).split())

    assert "3 files, 90.0 MB, 50.0 MB left, 0:25 at 2.0 MB/s" in text


def test_without_a_rate_nothing_is_said_of_the_time(state):
    assert "left" not in page(state(files=3, count=10**9))[1]


@pytest.mark.parametrize("width", [40, 80, 100])
def test_no_line_is_wider_than_the_terminal_and_no_word_of_a_reason_is_lost(state, width):
    files = [
        row("a" * 90 + ".mp4", percent=43.0, state="sending"),
        *map(waiting, ("b.mp4", "c.mp4")),
        failed("d.mp4"),
        row("e.mp4", state="kept", percent=100.0, is_done=True, published_as="cam/e.mp4"),
    ]

    lines = page(state(files=3, count=10**8, failed=1, rate=5e5), files, width, limits=[LONG])

    assert [line for line in lines if len(line) > width] == []
    text = " ".join(" ".join(lines).split())
    assert f"too-large: {LONG}" in text
    assert f"open files: {LONG}" in text
    assert text.count("other recordings are sent first") == 1
    assert "all 2: queued" in text
    assert "published as cam/e.mp4" in text


def test_a_name_of_wide_letters_leaves_the_columns_and_the_lines_as_they_are():
    wide, marked = (
        row("映像_第一回目の飛行_2026年11月30日_午前九時_滑走路の端から.mp4"),
        row("e\u0301" * 20 + ".mp4"),
    )
    plain = {**row("DJI_0042.MP4"), "reason": "queued", "detail": "other recordings are sent first"}

    lines = table([wide, marked, plain], 80)

    assert max(map(columns, lines)) <= 80
    assert "..." in lines[1]
    assert lines[2].endswith("e\u0301" * 20 + ".mp4")


def test_a_long_name_keeps_its_end_which_tells_it_from_others():
    lines = table([row("x" * 200 + "-0042.mp4")], 80)

    assert lines[1].endswith("-0042.mp4")
    assert "..." in lines[1]
    assert len(lines[1]) <= 80


def test_of_many_some_are_shown_and_the_others_counted(state):
    files = [*(waiting(f"{n}.mp4") for n in range(298)), *(failed(f"f{n}.mp4") for n in range(12))]

    lines = page(state(files=298, count=1, failed=112), files)

    assert "... and 283 more waiting" in lines
    assert "... and 107 more failed: edge-agent status --failed" in lines


def test_what_is_being_sent_comes_first(state):
    files = [waiting("a.mp4"), row("b.mp4", state="sending", percent=3.0)]

    shown = [line for line in page(state(files=2, count=1), files) if ".mp4" in line]

    assert "b.mp4" in shown[0]


def test_where_no_terminal_is_each_recording_is_one_line(state):
    files = [waiting(f"{n}.mp4") for n in range(100)]

    lines = page(state(files=100, count=1), files, None)

    assert sum("queued: other recordings" in line for line in lines) == 100


def test_what_failed_is_listed_with_why_and_how_to_try_it_again(state):
    answer = {
        "state": state(failed=120),
        "files": [failed("a.mp4"), waiting("w.mp4"), failed("b.mp4", "no")],
    }

    lines = failed_page(answer, 80).split("\n")

    assert [line for line in lines if len(line) > 80] == []
    assert lines[0] == "DCIM/100MEDIA/b.mp4  (30.0 MB)"
    assert lines[1:3] == ["    too-large: no", "    edge-agent retry id-b.mp4"]
    assert "w.mp4" not in "\n".join(lines)
    assert "... and 118 more that failed earlier" in lines
    assert failed_page({"state": state(), "files": []}) == "nothing has failed"


HOSTILE = "\x1b[2J\r\nok\u202e"


def test_what_a_server_said_does_nothing_on_a_terminal():
    answer: dict[str, Any] = {
        "state": {"queue": {"failed": 1}},
        "files": [failed("a.mp4", HOSTILE)],
    }

    for width in (None, 30, 80):
        lines = [*failed_page(answer, width).split("\n"), *table(answer["files"], width)]
        assert [line for line in lines if not line.isprintable()] == []
