from __future__ import annotations

import json
import os
import socket
import stat
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from edge_agent import cli
from edge_agent.base.activity import Activity
from edge_agent.base.reasons import Reason
from edge_agent.base.settings import WatchSettings
from edge_agent.base.view import Wait
from edge_agent.core.upload import Event, State
from edge_agent.media.folders import Folders
from edge_agent.operate.command_handlers import RecordingHandlers
from edge_agent.operate.commands import Commands
from edge_agent.operate.control_client import ControlError, NotRunningError, ask
from edge_agent.operate.control_socket import MAX_REQUEST_BYTES, ControlServer
from edge_agent.report.state_document import StateDocuments
from edge_agent.store.recordings import Store
from tests.support.processes import wait_for
from tests.support.requirements import require_root
from tests.support.rim import StillClock
from tests.support.small_disk import small_disk


class Echo:
    def answer(self, request, _stopping):
        yield request


class Idle:
    """Nothing is sent, so that nothing is to be steered."""

    def pause(self, paused, *, for_s=None, reason=None): ...

    def obey(self): ...

    def wake(self): ...


class Site:
    """A control socket in front of a real store."""

    def __init__(self, base) -> None:
        self.media = base / "media"
        self.media.mkdir()
        self.path = base / "control.sock"
        clock = StillClock()
        self.store = Store.open(base / "agent.db", clock=clock, boot_id="boot")
        self.activity = Activity()
        self.woken = threading.Event()
        folders = Folders([WatchSettings(folder=self.media)])
        snapshots = StateDocuments(
            self.store,
            self.activity,
            clock,
            boot_id="boot",
            folders=folders,
        )
        self.desk = Commands(
            self.store,
            self.activity,
            snapshots,
            folders=folders,
            wake_watcher=self.woken.set,
            handlers=RecordingHandlers(self.store, Idle(), wake_watcher=self.woken.set).handlers(),
        )
        self.server = ControlServer(self.path, self.desk)
        self.server.start()

    def upload(self, *paths) -> object:
        return ask(self.path, {"do": "upload", "paths": [str(path) for path in paths]})

    def close(self) -> None:
        self.server.stop()
        self.activity.touch()  # who follows looks now, and not in a second
        self.store.close()

    def raw(self, request: bytes) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.path))
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as answers:
                return json.loads(answers.readline() or b"{}")


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.close()


def test_the_socket_is_for_its_owner_only(site):
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600


def test_status_is_the_state_document_and_the_files(site):
    (site.media / "a.mp4").write_bytes(b"x")
    uploading = site.upload(site.media / "a.mp4")
    next(uploading)
    next(uploading)

    (answer,) = ask(site.path, {"do": "status"})

    assert answer["state"]["queue"] == {
        "files": 1,
        "bytes": 1,
        "oldest_age_s": 0,
        "failed": 0,
    }
    (row,) = answer["files"]
    assert (row["name"], row["state"], row["reason"]) == ("a.mp4", "seen", "still_recording")
    uploading.close()


def test_files_handed_over_are_followed_until_each_is_verified_or_failed(site):
    for name in ("a.mp4", "b.mp4"):
        (site.media / name).write_bytes(b"x")

    answers = site.upload(site.media / "a.mp4", site.media / "b.mp4", site.media / "absent")
    first, second = next(answers), next(answers)
    for recording in site.store.in_states(*State):
        site.store.advance(recording, Event.REJECTED, problem="too-large", detail="too large")
    site.activity.touch()
    *_, last = answers

    assert first == {
        "refused": [{"path": f"{site.media}/absent", "why": "No such file or directory"}]
    }
    assert [row["state"] for row in second["files"]] == ["seen", "seen"]
    assert not second["done"]
    assert [row["state"] for row in last["files"]] == ["failed", "failed"]
    assert last["done"]
    assert site.woken.is_set()


def test_a_file_handed_over_is_never_deleted_by_the_retention_rules(site):
    (site.media / "a.mp4").write_bytes(b"x")
    answers = site.upload(site.media / "a.mp4")
    next(answers)

    (recording,) = site.store.in_states(*State)

    assert recording.origin == "command"
    answers.close()


def test_a_file_that_is_on_its_way_already_is_followed_not_added_again(site):
    (site.media / "a.mp4").write_bytes(b"x")
    for _ in range(2):
        answers = site.upload(site.media / "a.mp4", f"{site.media}/../media/a.mp4")
        next(answers)
        answers.close()

    assert len(site.store.in_states(*State)) == 1


def test_a_failed_file_that_is_named_again_is_tried_again(site):
    (site.media / "a.mp4").write_bytes(b"x")
    answers = site.upload(site.media / "a.mp4")
    next(answers)
    (recording,) = site.store.in_states(*State)
    site.store.advance(recording, Event.REJECTED, problem="too-large")
    answers.close()

    again = site.upload(site.media / "a.mp4")
    next(again)

    assert next(again)["files"][0]["state"] == "seen"
    again.close()


def test_what_failed_is_tried_again_on_a_word_and_the_watcher_is_woken(site):
    (site.media / "a.mp4").write_bytes(b"x")
    answers = site.upload(site.media / "a.mp4")
    next(answers)
    answers.close()
    (recording,) = site.store.in_states(*State)
    site.store.advance(recording, Event.REJECTED, problem="too-large")
    site.woken.clear()

    assert list(ask(site.path, {"do": "retry", "ids": []})) == [
        {"retried": 1, "away": 0, "unknown": []}
    ]

    assert site.store.get(recording.id).state is State.SEEN
    assert site.woken.is_set()


def test_a_name_that_is_no_text_survives_the_way_through_json(site):
    path = os.fsencode(site.media) + b"/caf\xe9.mp4"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))

    answers = site.upload(os.fsdecode(path))
    next(answers)

    assert next(answers)["files"][0]["name"] == "caf%E9.mp4"
    answers.close()


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b"[]\n", "must be an object"),
        (b"{}\n", "unknown request"),
        (b'{"do": "erase"}\n', "unknown request"),
        (b'{"do": ["status"]}\n', "unknown request"),
        (b'{"do": "upload"}\n', "must be a list"),
        (b'{"do": "upload", "paths": []}\n', "must be a list"),
        (b'{"do": "upload", "paths": "abc"}\n', "must be a list"),
        (b'{"do": "upload", "paths": [1]}\n', "must be absolute"),
        (b'{"do": "upload", "paths": ["relative"]}\n', "must be absolute"),
        (b'{"do": "upload", "paths": ["/a\\u0000b"]}\n', "must be absolute"),
        (b'{"do": "upload", "paths": ["/\\ud800"]}\n', "no text that stands for a file"),
    ],
)
def test_nonsense_gets_a_sentence_and_the_next_request_is_answered(site, request_line, expected):
    answer = site.raw(request_line)

    assert expected in answer["error"]
    assert "state" in site.raw(b'{"do": "status"}\n')


def test_a_request_without_end_is_cut_off(site):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(site.path))
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 4 * MAX_REQUEST_BYTES:
                sent += client.send(b"x" * 65_536)

    assert sent < 2 * MAX_REQUEST_BYTES
    assert "state" in site.raw(b'{"do": "status"}\n')


@contextmanager
def crowd(site, count):
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(site.path))
        yield


@pytest.mark.parametrize("paths", [1, 10_000])
def test_who_comes_in_a_crowd_is_told_so_whether_its_request_was_read_or_not(site, paths):
    request = {"do": "upload", "paths": ["/" + "x" * 300] * paths}

    with crowd(site, 8), pytest.raises(ControlError, match=r"8 clients .* ask again"):
        list(ask(site.path, request))


@contextmanager
def for_hooks(site, **limits):
    """Listen at an address at which recorders of several users are heard."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{site.path}.hooks")
        listener.listen(64)
        server = ControlServer(None, site.desk, passed=listener, **limits)
        server.start()
        try:
            yield listener.getsockname()
        finally:
            server.stop()
            listener.shutdown(socket.SHUT_RDWR)


def connected(address, stack, user=None):
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.settimeout(10)
    before = os.geteuid()
    try:
        if user is not None:
            os.seteuid(user)
        client.connect(address)
    finally:
        os.seteuid(before)
    return client


def said(client):
    with client.makefile("rb") as answers:
        return json.loads(answers.readline() or b"{}")


def test_one_user_keeps_no_other_from_saying_what_is_finished(site):
    require_root()
    with for_hooks(site, most_each=4) as hooks, ExitStack() as stack:
        for _ in range(4):
            connected(hooks, stack)
        turned_away = said(connected(hooks, stack))
        other = connected(hooks, stack, user=65534)
        other.sendall(b'{"do": "status"}\n')

        assert "of this user" in turned_away["error"]
        assert "state" in said(other)


def test_who_sends_a_byte_now_and_then_is_cut_off(site):
    with for_hooks(site, request_s=1.0) as hooks, ExitStack() as stack:
        client = connected(hooks, stack)

        def is_over():
            try:
                client.sendall(b" ")
            except OSError:
                return True
            return False

        wait_for(is_over, "it is cut off")


def test_who_always_has_another_byte_ready_is_cut_off_as_well_when_the_time_is_over(site):
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
        listener.bind(f"\0{site.path}.flood")
        listener.listen()
        stack.callback(listener.shutdown, socket.SHUT_RDWR)
        client = connected(listener.getsockname(), stack)
        client.sendall(b'{"do": "status"}\n')
        server = ControlServer(None, site.desk, passed=listener, request_s=0.0)
        server.start()
        stack.callback(server.stop)

        with pytest.raises(ConnectionResetError):  # what it has sent is not read
            client.recv(1)


def test_after_a_crowd_the_agent_answers_again(site):
    with crowd(site, 20):
        pass

    def answer():
        with suppress(ControlError):  # the places of those who left are free again soon
            return list(ask(site.path, {"do": "status"}))

    assert len(wait_for(answer, "a free place")) == 1


def test_status_in_a_crowd_prints_the_sentence_and_what_to_do(site, tmp_path, capsys):
    settings = ["device_id=cam", "server.url=http://127.0.0.1"]
    settings += [f"state_dir={tmp_path}", f"watch.folder={site.media}"]
    command = ["status", *(word for one in settings for word in ("--set", one))]

    with crowd(site, 8):
        code = cli.main(command)

    assert code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edge-agent: 8 clients are with the agent already")
    assert "end an `edge-agent upload`" in line


@contextmanager
def no_room_for_a_thread():
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_without_a_thread_to_answer_with_the_client_is_told_and_the_next_is_served(site):
    for _ in range(9):  # more than there are places: a refusal takes none
        with no_room_for_a_thread(), pytest.raises(ControlError, match="can start no thread"):
            list(ask(site.path, {"do": "status"}))

    assert len(list(ask(site.path, {"do": "status"}))) == 1


def test_an_agent_that_ends_without_an_answer_went_away(tmp_path):
    path = tmp_path / "control.sock"
    with socket.create_server(str(path), family=socket.AF_UNIX) as listener:

        def hang_up():
            listener.accept()[0].close()

        hangs_up = threading.Thread(target=hang_up)
        hangs_up.start()
        with pytest.raises(ControlError, match=r"went away .* ask again"):
            list(ask(path, {"do": "status"}))
        hangs_up.join()


def test_a_refusal_and_an_absent_agent_are_errors_of_their_own(site, tmp_path):
    with pytest.raises(ControlError, match="unknown request"):
        list(ask(site.path, {"do": "erase"}))
    with pytest.raises(NotRunningError):
        list(ask(tmp_path / "absent.sock", {"do": "status"}))
    with pytest.raises(NotRunningError):
        list(ask(tmp_path / "no/such/folder/control.sock", {"do": "status"}))


def test_a_socket_for_which_there_was_no_room_is_made_once_there_is(tmp_path):
    with small_disk(tmp_path / "disk", size="1m", inodes=2) as disk:
        (disk.path / "last").touch()
        server = ControlServer(disk.path / "control.sock", Echo())
        server.start()
        with pytest.raises(NotRunningError):
            list(ask(disk.path / "control.sock", {"do": "status"}))

        (disk.path / "last").unlink()
        server.start()
        server.start()
        assert list(ask(disk.path / "control.sock", {"do": "status"})) == [{"do": "status"}]
        server.stop()


def test_a_socket_left_by_a_killed_agent_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))

    with pytest.raises(NotRunningError):
        list(ask(tmp_path / "control.sock", {"do": "status"}))
    site = Site(tmp_path)
    answers = list(ask(site.path, {"do": "status"}))
    site.close()

    assert len(answers) == 1
    assert not site.path.exists()


def test_a_state_folder_far_down_has_a_socket_too(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    site = Site(deep)

    answers = list(ask(site.path, {"do": "status"}))
    site.close()

    assert len(answers) == 1


def test_a_follower_is_let_go_when_the_agent_stops(site):
    (site.media / "a.mp4").write_bytes(b"x")
    answers = site.upload(site.media / "a.mp4")
    next(answers)
    told = [next(answers)]

    site.server.stop()
    told += answers  # it may have looked at the stop between two lines: then there is no other

    assert not told[-1]["done"]


def test_every_pending_file_has_a_reason(site):
    for name in ("a.mp4", "b.mp4"):
        (site.media / name).write_bytes(b"x")
    answers = site.upload(site.media / "a.mp4", site.media / "b.mp4")
    next(answers)
    first, _ = site.store.in_states(*State)
    site.store.advance(first, Event.SETTLED)
    settled = [row["reason"] for row in site.desk.files()]
    site.activity.block(Wait(Reason.LINK, "no answer from the server"))

    blocked = [row["reason"] for row in site.desk.files()]

    assert settled == ["queued", "still_recording"]
    assert blocked == ["link", "still_recording"]
    answers.close()
