"""The container images: what their files promise, and, long, built and run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.debian_roots import debian_root
from tests.support.images import images
from tests.support.processes import wait_for

TREE = Path(__file__).parents[2]
SIDES = {"agent": "edge-agent", "server": "ingest-server"}
OF_THE_AGENT = {
    "DEVICE_ID": "cam",
    "WATCH__FOLDER": "/media",
    "SERVER__URL": "http://127.0.0.1:9",
}


def steps(side: str) -> dict[str, list[str]]:
    """Return the arguments of each instruction of a Containerfile."""
    text = (TREE / f"deploy/containers/Containerfile.{side}").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(rest)
    return found


@pytest.mark.parametrize("side", SIDES)
def test_an_image_runs_as_its_user_is_asked_how_it_is_and_begins_with_a_named_system(side):
    found = steps(side)

    assert found["USER"] == ["10001:10001"]
    assert re.fullmatch(r"debian:[a-z]+-slim", found["FROM"][0])
    assert len(found["FROM"]) == len(found["HEALTHCHECK"]) == 1
    assert json.loads(found["ENTRYPOINT"][0]) == [SIDES[side]]
    assert "ADD" not in found


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("side", SIDES)
def test_an_image_is_built_and_is_well_without_a_right_and_on_a_root_that_cannot_be_written(
    side, tmp_path
):
    context = tmp_path / "context"
    command = [sys.executable, "-m", "release.deb", "--python=3.11", "--arch=amd64"]
    command += [f"--side={side}", f"--out={context / 'dist'}"]
    subprocess.run(command, cwd=TREE, check=True, timeout=900)
    with images(tmp_path / "images") as engine:
        engine.have(f"docker.io/library/{steps(side)['FROM'][0]}", debian_root())
        engine.build(side, TREE / f"deploy/containers/Containerfile.{side}", context)

        options = ["--read-only", "--cap-drop=all", "--network=none"]
        if side == "agent":
            options += [f"--volume={tmp_path}:/media:ro"]
            for name, value in OF_THE_AGENT.items():
                options += [f"--env=EDGE_AGENT_{name}={value}"]
        engine.run("podman", "run", "--detach", "--name=one", *options, f"localhost/{side}")

        wait_for(
            lambda: engine.succeeds("podman", "healthcheck", "run", "one"),
            "it is well",
            90,
            every_s=1,
        )
        assert engine.run("podman", "exec", "one", "id", "-u").strip() == "10001"
        assert "Read-only" in engine.run("podman", "exec", "one", "touch", "/etc/x", code=1)
        rights = engine.run("podman", "exec", "one", "grep", "Cap", "/proc/1/status")
        assert set(re.findall(r"[0-9a-f]{16}", rights)) == {"0" * 16}
        engine.run("podman", "stop", "--time=20", "one")
        ended = engine.run("podman", "inspect", "--format={{.State.ExitCode}}", "one")
        assert ended.split()[-1] == "0"
