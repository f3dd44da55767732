"""The container images: what their files promise, and, long, their steps run on the system that they begin with."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.debian_roots import debian_root
from tests.support.machine_root import machine_root
from tests.support.processes import wait_for

TREE = Path(__file__).parents[2]
SIDES = {"agent": "edge-agent", "server": "ingest-server"}


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
def test_the_steps_make_what_starts_and_is_well_on_a_root_that_cannot_be_written(side, tmp_path):
    found = steps(side)
    command = [
        sys.executable,
        "-m",
        "release.deb",
        "--python=3.11",
        "--arch=amd64",
        f"--side={side}",
    ]
    subprocess.run([*command, f"--out={tmp_path / 'dist'}"], cwd=TREE, check=True, timeout=900)
    health = json.loads(found["HEALTHCHECK"][0].partition("CMD ")[2])
    with machine_root(tmp_path / "image", debian_root()) as image:
        shutil.copytree(tmp_path / "dist", image.files / "tmp/packages")
        image.use_the_network_of_this_machine()
        for one in found["RUN"]:
            image.run("sh", "-c", one)
        if side == "agent":
            (image.files / "media").mkdir(exist_ok=True)
            (image.files / "etc/edge-uploader").mkdir()
            (image.files / "etc/edge-uploader/agent.toml").write_text(
                'device_id = "cam"\n[watch]\nfolder = "/media"\n[server]\nurl = "http://127.0.0.1:9"\n'
            )
        image.close_root(*found["VOLUME"])

        log = image.start_as(
            SIDES[side], *json.loads(found["ENTRYPOINT"][0]), *json.loads(found["CMD"][0]), log=side
        )

        who = ["setpriv", f"--reuid={SIDES[side]}", f"--regid={SIDES[side]}", "--init-groups"]
        wait_for(
            lambda: image.succeeds(*who, *health),
            f"it is well: {log.read_text()[-400:]}",
            90,
            every_s=1,
        )
        assert image.run("sh", "-c", "touch /etc/x 2>&1", code=1).count("Read-only") == 1
