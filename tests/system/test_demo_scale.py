"""`make run-scale` as a newcomer starts it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import wait_for

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
