"""The demo as a newcomer starts it: in a terminal or not, stopped by Ctrl-C or by force."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.processes import wait_for
from tests.support.recordings import make_recording, sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

ROOT = Path(__file__).parents[2]


_IN_TERMINAL = (
    sys.executable,
    "-c",
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])",
)
"""Make standard input the terminal of this session, with its Ctrl-C, and become the command."""


class Demo:
    """``python -m demo``, its output in a file (or a terminal's)."""

    def __init__(
        self,
        folder: Path,
        *more: str,
        terminal: int | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "demo"),
    ) -> None:
        self.var, self.media = folder / "var", folder / "media"
        self.output = folder / f"output-{time.monotonic_ns()}"
        arguments = ["--var", str(self.var), "--media", str(self.media), *more]
        arguments += ["--server-port", "0", "--mqtt-port", "0"]
        if command[0] == "make":
            arguments = [f"ARGS={' '.join(arguments)}"]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*(() if terminal is None else _IN_TERMINAL), *command, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=output if terminal is None else terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def wait_for_text(self, text: str) -> None:
        try:
            wait_for(lambda: text in self.text, text)
        except TimeoutError as error:
            error.add_note(self.text)
            raise

    def children(self) -> list[int]:
        return _children(self.process.pid)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def demo(tmp_path):
    one = Demo(tmp_path)
    one.wait_for_text("is online")
    yield one
    one.close()


def _children(parent: int) -> list[int]:
    """Return the processes whose parent is *parent*."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_dropped_file_is_published_and_told_of_and_ctrl_c_leaves_no_process(demo):
    recording = make_recording(demo.media / "flight.mp4")

    demo.wait_for_text("  published  ")
    children = demo.children()
    demo.process.send_signal(signal.SIGINT)
    code = demo.process.wait(30)

    assert code == 0
    assert len(children) == 3
    assert not any(map(_is_running, children))
    published = [path for path in (demo.var / "server/published").rglob("*") if path.is_file()]
    assert [sha256(path) for path in published] == [sha256(recording)]
    verbs = re.findall(r"^\d\d:\d\d:\d\d  (\w+)", demo.text, re.MULTILINE)
    told = [verb for verb in verbs if verb in {"finished", "sending", "verified"}]
    assert told == ["finished", "sending", "verified"]
    assert "Traceback" not in demo.text
    assert "was killed" not in demo.text, demo.text[-300:]


def test_whoever_reads_the_first_lines_can_sign_in_at_the_page(demo):
    demo.wait_for_text("Ctrl-C here stops everything")
    [page] = re.findall(r"the page +(http://\S+/)", demo.text)
    [(user, password)] = re.findall(r"sign in there as +(\w+), with (\w+)", demo.text)
    own = {"X-Requested-With": "edge-uploader"}

    with httpx.Client(base_url=page, headers=own) as browser:
        answer = browser.post("v1/session", json={"user": user, "password": password})
        devices = browser.get("v1/fleet").json()["devices"]

    assert answer.status_code == 204
    assert [one["device"] for one in devices] == ["drone-1"]
    assert (demo.var / "page-password").stat().st_mode & 0o777 == 0o600


def test_make_run_in_a_terminal_ends_by_ctrl_c_with_all_its_processes(tmp_path):
    # -o: this environment is installed; a test installs nothing.
    make = ("make", "-o", f"{sys.prefix}/.installed-run", f"VENV={sys.prefix}", "run")
    demo = Demo(tmp_path, command=make)
    try:
        demo.wait_for_text("is online")
        [launcher] = demo.children()
        children = _children(launcher)

        os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does: make gets it, too
        demo.process.wait(30)

        assert len(children) == 3
        assert not any(map(_is_running, [launcher, *children]))
        assert "everything has stopped" in demo.text
    finally:
        demo.close()


def test_a_make_that_is_killed_takes_the_demo_with_it(tmp_path):
    make = ("make", "-o", f"{sys.prefix}/.installed-run", f"VENV={sys.prefix}", "run")
    demo = Demo(tmp_path, command=make)
    try:
        demo.wait_for_text("is online")
        [launcher] = demo.children()
        children = _children(launcher)

        demo.process.kill()

        demo.wait_for_text("everything has stopped")
        wait_for(lambda: not any(map(_is_running, [launcher, *children])), "no process is left", 20)
        assert len(children) == 3
    finally:
        demo.close()


def test_ctrl_c_with_an_upload_under_way_ends_in_ten_seconds_and_it_goes_on_next_time(tmp_path):
    demo = Demo(tmp_path, "--max-rate", "300KB")
    try:
        demo.wait_for_text("is online")
        recording = make_recording(demo.media / "flight.mp4", seconds=4)
        demo.wait_for_text("sending")
        wait_for(lambda: " %" in demo.text, "progress is told")
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(30) == 0
        assert "was killed" not in demo.text, demo.text[-300:]

        demo = Demo(tmp_path, "--max-rate", "300KB")
        demo.wait_for_text("verified")

        told = [verb for verb in _verbs(demo) if verb in {"goes on", "verified"}]
        assert told == ["goes on", "verified"]
        published = [path for path in (demo.var / "server/published").rglob("*") if path.is_file()]
        assert [sha256(path) for path in published] == [sha256(recording)]
    finally:
        demo.close()


def test_a_demo_that_nobody_reads_any_more_ends_and_says_nothing_of_itself(tmp_path):
    media = tmp_path / "media"
    command = [sys.executable, "-m", "demo", "--var", tmp_path / "var", "--media", media]
    demo = subprocess.Popen(
        [*command, "--server-port", "0", "--mqtt-port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        while b"is online" not in (line := demo.stdout.readline()):
            assert line
        children = _children(demo.pid)

        demo.stdout.close()  # as `| head` does, and Ctrl-C with `| cat`
        make_recording(media / "flight.mp4")
        said = demo.stderr.read()

    assert (demo.returncode, said) == (0, b"")
    assert len(children) == 3
    assert not any(map(_is_running, children))


@pytest.mark.parametrize("module", ["demo", "demo.scale"])
def test_a_port_that_cannot_be_is_refused_in_a_sentence(module):
    option = "--server-port" if module == "demo" else "--port"
    done = subprocess.run(
        [sys.executable, "-m", module, option, "80000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.endswith(f"{option}: a port is a number from 0 to 65535, not '80000'\n")


def test_a_second_demo_in_the_same_folder_is_refused_in_a_sentence(demo, tmp_path):
    second = Demo(tmp_path)

    code = second.process.wait(20)

    assert code == 1
    assert f"process {demo.process.pid}" in second.text
    assert "Traceback" not in second.text
    assert demo.process.poll() is None


def test_killing_the_launcher_ends_its_children(demo):
    children = demo.children()

    demo.process.kill()
    demo.process.wait()

    assert len(children) == 3
    wait_for(lambda: not any(map(_is_running, children)), "no child is left", 20)


def _named(demo: Demo, part: bytes) -> int:
    """Return the child whose command line has *part* in it."""
    return next(pid for pid in demo.children() if part in Path(f"/proc/{pid}/cmdline").read_bytes())


def _sending(demo: Demo, recording: Path) -> None:
    """Wait until some of *recording* is at the server, as the demo tells it."""
    progress = re.compile(rf"{re.escape(recording.name)} [1-9]\d? %")
    wait_for(lambda: progress.search(demo.text), f"{recording.name} is under way")


def _verbs(demo: Demo) -> list[str]:
    return re.findall(r"^\d\d:\d\d:\d\d  ([A-Za-z]+(?: [a-z]+)?)", demo.text, re.MULTILINE)


def _is_whole(demo: Demo, recording: Path) -> None:
    published = [path for path in (demo.var / "server/published").rglob("*") if path.is_file()]
    assert [sha256(path) for path in published] == [sha256(recording)]
    assert demo.process.poll() is None
    assert "Traceback" not in demo.text


@pytest.fixture
def slow(tmp_path):
    one = Demo(tmp_path, "--max-rate=700KB")
    one.wait_for_text("is online")
    yield one
    one.close()


@pytest.mark.parametrize("program", ["server", "agent"])
def test_what_is_killed_in_mid_upload_is_started_again_and_the_upload_goes_on(slow, program):
    recording = make_recording(slow.media / "flight.mp4", seconds=5)
    _sending(slow, recording)

    if program == "server":
        assert _steer(slow, "kill").returncode == 0
    else:
        os.kill(_named(slow, b"edge_agent"), signal.SIGKILL)
    slow.wait_for_text("  verified  ")

    told = [verb for verb in _verbs(slow) if verb in {"gone", "back", "goes on", "verified"}]
    assert told == ["gone", "back", "goes on", "verified"]
    assert re.search(r"goes on    flight.mp4 at \d+ %: what the server holds", slow.text)
    assert bool(re.search(r"verified   flight.mp4 in ", slow.text)) == (program == "server")
    slow.wait_for_text("  published  ")
    _is_whole(slow, recording)


def test_a_broker_that_is_killed_is_started_again_and_what_happened_meanwhile_is_told(slow):
    recording = make_recording(slow.media / "flight.mp4", seconds=5)
    _sending(slow, recording)

    os.kill(_named(slow, b"mqtt" if b"mqtt" in _commands(slow) else b"mosquitto"), signal.SIGKILL)
    slow.wait_for_text("  published  ")

    told = [verb for verb in _verbs(slow) if verb in {"gone", "back", "verified"}]
    assert sorted(told) == ["back", "gone", "verified"]
    _is_whole(slow, recording)


def _commands(demo: Demo) -> bytes:
    return b" ".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in demo.children())


def _steer(demo: Demo, what: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo.steer", what, "--var", str(demo.var)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_link_that_is_cut_from_another_terminal_and_mended_shows_a_resume(slow):
    recording = make_recording(slow.media / "flight.mp4", seconds=5)
    _sending(slow, recording)

    assert _steer(slow, "cut").returncode == 0
    slow.wait_for_text("link lost")
    _steer(slow, "cut")
    slow.wait_for_text("nothing to do: the link is cut")
    _steer(slow, "mend")
    slow.wait_for_text("  published  ")

    told = [
        verb
        for verb in _verbs(slow)
        if verb in {"cut", "link lost", "mended", "goes on", "verified"}
    ]
    assert told == ["cut", "link lost", "cut", "mended", "goes on", "verified"]
    _is_whole(slow, recording)


def test_to_cut_where_no_demo_runs_is_answered_in_a_sentence(tmp_path):
    never = Demo.__new__(Demo)
    never.var = tmp_path / "var"

    done = _steer(never, "cut")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"No demo runs with {never.var}: start one with `make run`.\n"


def test_a_program_that_never_comes_up_ends_the_demo_with_its_last_words(tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var/server").write_text("a file where the server's folder should be")

    demo = Demo(tmp_path)

    assert demo.process.wait(40) == 1
    assert "Traceback" not in demo.text
    assert "server" in demo.text.splitlines()[-1]


class Terminal:
    """A terminal that the demo runs in, as a person sees it."""

    def __init__(self, folder: Path, *more: str) -> None:
        self._ours, theirs = pty.openpty()
        self.demo = Demo(folder, *more, terminal=theirs)
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._seen = b""

    def read(self) -> bytes:
        with contextlib.suppress(OSError):  # nothing new, or nobody there any more
            self._seen += os.read(self._ours, 65536)
        return self._seen

    def wait_for(self, pattern: bytes) -> None:
        try:
            wait_for(lambda: re.search(pattern, self.read()), pattern.decode())
        except TimeoutError as error:
            error.add_note(self._seen.decode("utf-8", "replace"))
            raise

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def ends(self) -> int:
        wait_for(lambda: (self.read(), self.demo.process.poll() is not None)[1], "it ends", 10)
        return self.demo.process.returncode

    def close(self) -> None:
        self.demo.close()
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path):
    one = Terminal(tmp_path, "--max-rate=500KB")
    one.wait_for(b"is online")
    yield one
    one.close()


def test_on_a_terminal_the_progress_is_one_line_that_changes(terminal):
    make_recording(terminal.demo.media / "flight.mp4", seconds=5)

    terminal.wait_for(rb"(?s)\r\x1b\[K +flight.mp4 \d+ %.*\r\x1b\[K +flight.mp4 \d+ %")
    terminal.wait_for(rb"verified   flight")
    os.kill(terminal.demo.process.pid, signal.SIGTERM)

    assert terminal.ends() == 0
    assert b"flight.mp4" not in terminal.read().partition(b"published  ")[2].partition(b"\n")[2]


def test_on_a_terminal_a_key_cuts_the_link_and_another_mends_it(terminal):
    make_recording(terminal.demo.media / "flight.mp4", seconds=5)
    terminal.wait_for(rb"flight.mp4 [1-9]\d? %")

    terminal.press(b"c")
    terminal.wait_for(rb"link lost")
    terminal.press(b"m")
    terminal.wait_for(rb"goes on    flight.mp4 at \d+ %")
    terminal.wait_for(rb"verified")
    terminal.press(b"\x03")

    assert terminal.ends() == 0
