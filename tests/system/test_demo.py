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

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import make_recording, sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

ROOT = Path(__file__).parents[2]


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
                [*command, *arguments],
                cwd=ROOT,
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


def test_make_run_in_a_terminal_ends_by_ctrl_c_with_all_its_processes(tmp_path):
    # -o: this environment is installed; a test installs nothing.
    make = ("make", "-o", f"{sys.prefix}/.installed", f"VENV={sys.prefix}", "run")
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

        demo = Demo(tmp_path)
        demo.wait_for_text("verified")

        published = [path for path in (demo.var / "server/published").rglob("*") if path.is_file()]
        assert [sha256(path) for path in published] == [sha256(recording)]
    finally:
        demo.close()


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


def test_a_child_that_dies_ends_the_demo_and_its_last_lines_are_shown(demo):
    children = demo.children()
    server = next(
        pid for pid in children if b"ingest_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )

    os.kill(server, signal.SIGKILL)
    code = demo.process.wait(15)

    assert code == 1
    assert "The server ended by signal 9" in demo.text
    assert "server.log" in demo.text
    assert not any(map(_is_running, children))


def test_on_a_terminal_the_progress_is_one_line_that_changes(tmp_path):
    ours, theirs = pty.openpty()
    demo = Demo(tmp_path, "--max-rate", "500KB", terminal=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = b""

    def read() -> bytes:
        nonlocal seen
        with contextlib.suppress(OSError):  # nothing new, or nobody there any more
            seen += os.read(ours, 65536)
        return seen

    try:
        wait_for(lambda: b"is online" in read(), "the demo is up")
        make_recording(demo.media / "flight.mp4", seconds=5)
        wait_for(lambda: len(re.findall(rb"\r\x1b\[K +flight.mp4 \d+ %", read())) >= 2, "progress")
        wait_for(lambda: b"verified" in read(), "it is verified")
        os.kill(demo.process.pid, signal.SIGTERM)
        wait_for(lambda: (read(), demo.process.poll() is not None)[1], "it ends", 10)

        assert demo.process.returncode == 0
    finally:
        demo.close()
        os.close(ours)
