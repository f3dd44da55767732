"""`make run-scale` as a newcomer starts it."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import wait_for

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.alone, pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_recording_arrives_through_any_of_three_servers_and_ctrl_c_leaves_nothing(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    said = tmp_path / "said"
    command = [sys.executable, "-m", "demo.scale", "--media", media, "--port", "0"]
    with said.open("wb") as output:
        demo = subprocess.Popen(command, stdout=output, stderr=output)

    def runs() -> bool:
        assert demo.poll() is None, said.read_text()
        return "Ctrl-C here stops everything" in said.read_text()

    try:
        wait_for(runs, "all of it runs", 90.0)
        [folder] = re.findall(r"full logs +(\S+)", said.read_text())
        (media / "a.mp4").write_bytes(os.urandom(300_000))
        listed = [sys.executable, "-m", "ingest_server", "list", "--json"]
        config = ["--config", str(Path(folder) / "b.toml")]

        def arrived():
            found = json.loads(subprocess.check_output([*listed, *config]))
            return [one for one in found if one["state"] == "complete"]

        [upload] = wait_for(arrived, "it arrives", 60.0, every_s=0.5)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)

    assert demo.returncode == 0, said.read_text()
    assert (upload["device"], upload["name"], upload["length"]) == ("drone-1", "a.mp4", 300_000)
    assert not Path(folder).exists()


def _running(folder: Path) -> dict[int, bytes]:
    """Return the programs that have *folder* in their command line, by process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if bytes(folder) in (command := path.read_bytes()):
                found[int(path.parent.name)] = command
    return found


@pytest.mark.parametrize("whom", ["make", "the demo itself"])
def test_who_is_killed_leaves_none_of_its_programs(tmp_path, whom):
    folder = tmp_path / "its own"
    said, arguments = tmp_path / "said", f"--media {tmp_path / 'media'} --port 0"
    # -o: this environment is installed; a test installs nothing.
    make = ["make", "-o", f"{sys.prefix}/.installed", f"VENV={sys.prefix}", "run-scale"]
    with said.open("wb") as output:
        demo = subprocess.Popen(
            [*make, f"ARGS={arguments}"], cwd=ROOT, stdout=output, stderr=output
        )
    try:
        wait_for(lambda: "Ctrl-C here stops everything" in said.read_text(), "all of it runs", 90.0)
        folder = Path(re.findall(r"full logs +(\S+)", said.read_text())[0])
        assert len(_running(folder)) > 6

        if whom == "make":
            demo.kill()
            wait_for(lambda: "everything has stopped" in said.read_text(), "it ends", 30.0)
        else:
            [launcher] = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
            os.kill(int(launcher), signal.SIGKILL)

        wait_for(lambda: not _running(folder), "no program is left", 30.0)
        assert folder.exists() == (whom != "make")
    finally:
        for pid in _running(tmp_path):
            os.kill(pid, signal.SIGKILL)
        demo.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
