"""`ingest-server devices`, `events` and `fetch`, as a person types them, beside a running server."""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import replace

import pytest

from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from ingest_server.assembly.relocated import Mark
from ingest_server.operate import commands
from tests.support.console import Operator
from tests.support.fleet import Site, state
from tests.support.ingest import ingest


@pytest.fixture
def operator(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, "LOOK_S", 0.02)
    return Operator(tmp_path, capsys)


@pytest.fixture
def site(operator):
    with ingest(operator.data_dir, mode="token") as server:
        yield Site(server)


def queue(**more):
    return {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 0, **more}


def written(site):
    site.server.fleet.service.write()


def test_devices_are_shown_worst_first_within_80_columns(operator, site):
    long = "drone-0123456789"
    site.report("camera", state=state())
    busy = queue(files=1204, bytes=48_211_234_567)
    site.report(long, state=state(state="waiting_network", blocked_by="link", queue=busy))
    site.report("roof-cam", state=state(queue=queue(failed=12)))
    site.server.token("spare")
    written(site)

    code, out, _ = operator.run("devices")

    assert code == EXIT_DONE
    head, *rows = out.splitlines()
    assert head.split() == [
        "DEVICE",
        "SEEN",
        "THERE",
        "DOING",
        "WAITS",
        "FAILED",
        "OPEN",
        "COMPLETE",
    ]
    assert [row.split()[0] for row in rows] == ["roof-cam", long, "camera", "spare"]
    assert "online  no link  1204, 48.2 GB  0" in rows[1]
    assert "spare             never  -" in rows[3]
    assert max(len(line) for line in out.splitlines()) <= 80


@contextlib.contextmanager
def terminal_of(columns):
    """Let what is printed go to a terminal of so many columns; yield what reads it."""
    outside, inside = os.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with (
        open(outside, "rb", buffering=0) as screen,
        open(inside, "w") as out,
        contextlib.redirect_stdout(out),
    ):
        yield lambda: screen.read(65536).decode().splitlines()


def test_in_a_window_without_room_for_the_table_each_figure_has_its_name(operator, site):
    site.report("drone-0123456789", state=state(queue=queue(files=1204, bytes=48_211_234_567)))
    site.report("camera", state=state())
    written(site)

    with terminal_of(40) as read:
        operator.run("devices")
        shown = read()

    assert shown == [
        "camera",
        "    SEEN 0 s, THERE online, DOING idle,",
        "    WAITS 0, FAILED 0, OPEN 0,",
        "    COMPLETE 0",
        "drone-0123456789",
        "    SEEN 0 s, THERE online, DOING idle,",
        "    WAITS 1204, 48.2 GB, FAILED 0,",
        "    OPEN 0, COMPLETE 0",
    ]


def test_what_a_device_reported_is_in_the_json_too(operator, site):
    site.report(state=state(queue=queue(files=2)))
    site.server.token("spare")
    written(site)

    found = {one["device"]: one for one in json.loads(operator.run("devices", "--json")[1])}

    assert found["drone-1"]["reported"]["presence"] == "online"
    assert found["drone-1"]["reported"]["pending_files"] == 2
    assert found["spare"]["reported"] is None


def test_events_are_shown_a_line_each_safe_for_a_terminal(operator, site):
    told = [
        {"id": f"e{n}", "type": "edgeup.file.failed", "seq": n, "data": {"name": f"{n}\x1b[2J.mp4"}}
        for n in range(3)
    ]
    site.report(events=told)

    code, out, _ = operator.run("events", "--device", "drone-1", "--limit", 2)
    raw = operator.run("events", "--json")[1].splitlines()

    assert code == EXIT_DONE
    assert [line.split("  ")[1:] for line in out.splitlines()] == [
        ["drone-1", "file.failed", f"{n}\\x1b[2J.mp4"] for n in (1, 2)
    ]
    assert [json.loads(one)["id"] for one in raw] == ["e0", "e1", "e2"]


def test_the_code_of_a_failure_stands_once_in_its_line(operator, site):
    data = {"name": "a.mp4", "code": "too-large", "detail": "too-large: 9 bytes; the limit is 8"}
    site.report(events=[{"id": "e1", "type": "edgeup.file.failed", "seq": 1, "data": data}])

    out = operator.run("events")[1]

    assert out.endswith("  drone-1  file.failed  a.mp4  too-large  9 bytes; the limit is 8\n")


def test_where_no_event_was_told_it_is_said_where_they_are(operator, site):
    site.report()

    code, out, err = operator.run("events")

    assert (code, out) == (EXIT_DONE, "")
    assert "A device that has a broker tells its events there: [fleet] mqtt_url" in err


@contextlib.contextmanager
def answering(site, answer, then=lambda _store: None):
    """A device beside a program that asks it something: the first command is answered with *answer*.

    Args:
        then: called with the server's store after that.
    """
    site.report()
    written(site)
    done = threading.Event()

    def device():
        seq = 1
        while not done.is_set():
            site.server.fleet.service.adopt()
            seq += 1
            for one in site.report(seq=seq)["commands"]:
                site.report(seq=seq, acks=[{"id": one["id"], **answer(one["args"])}])
                then(site.server.fleet.service.store)
                return
            done.wait(0.05)

    thread = threading.Thread(target=device)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_fetch_is_told_the_device_and_waited_for(operator, site):
    with answering(site, lambda args: {"status": "done", "message": json.dumps(args)}):
        code, out, err = operator.run(
            "fetch", "drone-1", "DJI_*", "--from", "2026-11-29", "--metered"
        )

    assert code == EXIT_DONE
    assert re.search(
        r"^drone-1 hears of it by \d{4}-\d\d-\d\dT\S+Z \(command \w+\)\.$", err, re.MULTILINE
    )
    query = {"name": "DJI_*", "from": "2026-11-29T00:00:00Z"}
    assert out.splitlines()[-1] == f"done: {json.dumps({'query': query, 'metered': True})}"


def test_a_fetch_after_ten_commands_says_for_how_many_it_waits_and_no_time(operator, site):
    site.report()
    written(site)
    for _ in range(10):
        site.post("/devices/drone-1/commands", {"cmd": "pause", "args": {}})

    code, _, err = operator.run("fetch", "drone-1", "DJI_*", "--no-wait")

    assert code == EXIT_DONE
    said = "drone-1 hears of it after 10 others: the device takes 10 commands in a minute (command "
    assert said in err


@pytest.mark.parametrize(
    ("ack", "code", "told"),
    [
        ({"first_status": "failed", "code": "disk"}, EXIT_FAILED, "failed: as said before"),
        ({"first_status": "done", "code": "ok"}, EXIT_DONE, "done: as said before"),
        ({"code": "timeout"}, EXIT_FAILED, "duplicate: as said before"),
        ({"code": "ok"}, EXIT_DONE, "duplicate: as said before"),
    ],
    ids=["failed", "done", "failed, an older agent", "done, an older agent"],
)
def test_a_fetch_that_the_device_knew_already_ends_as_it_did(operator, site, ack, code, told):
    said = {"status": "duplicate", "message": "as said before", **ack}
    with answering(site, lambda _args: said):
        found = operator.run("fetch", "drone-1", "DJI_*")

    assert (found[0], found[1].splitlines()[-1]) == (code, told)


def test_a_fetch_that_its_device_knows_no_more_ends_and_says_what_to_do(operator, site):
    long_ago = "2026-01-01T00:00:00Z"

    def lose(store):
        [taken] = store.commands("drone-1")
        store.put_command(replace(taken, answered_at=long_ago))

    with answering(site, lambda _args: {"status": "accepted"}, then=lose):
        code, out, err = operator.run("fetch", "drone-1", "DJI_*")

    assert code == EXIT_FAILED
    last = out.splitlines()[-1]
    assert last.startswith("expired: the device took it and has said no more of it for 14 days")
    assert "the same fetch again asks it anew" in err


def test_who_breaks_a_fetch_off_is_told_how_to_look_later(operator, site):
    site.report()
    written(site)
    words = [sys.executable, "-m", "ingest_server", "fetch", "--config", operator.config]
    command = [*map(str, words), "drone-1", "DJI_*"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)

    assert "drone-1 hears of it" in first
    assert process.returncode == 130
    assert "The page of drone-1 says under Control what comes of it" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["fetch", "drone-1"], EXIT_USAGE, "say what is to be fetched"),
        (["fetch", "drone-9", "x"], EXIT_FAILED, "no device 'drone-9'"),
        (["fetch", "drone-2", "x"], EXIT_FAILED, "does not allow fetch"),
    ],
)
def test_a_fetch_that_cannot_be_says_why(operator, site, words, code, told):
    site.report("drone-2", info={"commands": ["pause"]})
    written(site)

    found = operator.run(*words)

    assert (found[0], told in found[2]) == (code, True)


def test_a_fetch_while_no_server_runs_says_what_it_waits_for(operator, site):
    site.report("drone-1", info={"commands": ["fetch"]})
    written(site)
    with socket.create_server(("127.0.0.1", 0)) as served:
        port = served.getsockname()[1]
        operator.config.write_text(operator.config.read_text().replace(":0", f":{port}"))
        before = operator.run("fetch", "drone-1", "x", "--no-wait")

    code, _, err = operator.run("fetch", "drone-1", "y", "--no-wait")

    assert (before[0], "no server runs" in before[2]) == (EXIT_DONE, False)
    assert code == EXIT_DONE
    assert "no server runs here at the moment: the device hears of it once one does" in err


@pytest.mark.parametrize("words", [["events"], ["fetch", "drone-1", "x"]])
def test_where_no_device_has_reported_that_is_said(operator, words):
    operator.data_dir.mkdir()
    code, _, err = operator.run(*words)

    assert code == EXIT_FAILED
    assert "no device has reported here yet" in err


def test_a_damaged_database_is_left_to_the_server(operator):
    operator.data_dir.mkdir(exist_ok=True)
    (operator.data_dir / "fleet.db").write_bytes(b"no database" * 1000)

    code, _, err = operator.run("events")

    assert code == EXIT_FAILED
    assert "fleet.db" in err
    assert [one.name for one in operator.data_dir.glob("fleet*")] == ["fleet.db"]


@pytest.mark.parametrize("words", [["events"], ["fetch", "drone-1", "x"], ["devices"]])
def test_a_folder_that_was_moved_knows_no_device_any_more(operator, site, words):
    moved = Mark("1", "there", "postgresql://db/x", None, "2026-11-29T00:00:00Z")
    moved.write(operator.data_dir)

    code, out, err = operator.run(*words)

    assert (code, out) == (EXIT_CONFIG, "")
    assert "was moved to postgresql://db/x" in err
