"""What the agent writes to the device's own disk for a gigabyte that it uploads, counted at the block device."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.file_systems import disk_image
from tests.support.processes import wait_for
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(600)]

MB = 1_000_000
PIECE = random.Random(1).randbytes(4 * MB)


def written_to(mount: Path) -> int:
    """Return the bytes that the device under *mount* was given to write so far, all of what is due."""
    os.sync()
    device = next(
        line.split()[0]
        for line in Path("/proc/mounts").read_text().splitlines()
        if line.split()[1] == str(mount)
    )
    statistics = Path("/sys/block", Path(device).name, "stat").read_text().split()
    return 512 * int(statistics[6])  # sectors, of 512 bytes whatever the disk's are


@pytest.mark.parametrize("patterns", [[], ["*.mp4"]], ids=["finished", "while recording"])
def test_a_gigabyte_costs_the_devices_disk_less_than_a_megabyte(tmp_path, patterns):
    mount = tmp_path / "state-disk"
    with (
        disk_image("ext4", mount),
        site(
            tmp_path,
            watch={"while_recording": patterns},
            retention={"delete": "after_verified"},
            **{"": {"device_id": "drone-1", "state_dir": mount / "state"}},
        ) as here,
    ):
        here.agent.state_dir = mount / "state"
        here.agent.start()
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it has nothing to do")
        before = written_to(mount)
        recording = here.agent.media / "flight.mp4"
        with recording.open("wb", buffering=0) as file:
            for number in range(250):
                file.write(number.to_bytes(8, "big") + PIECE[8:])
        wait_for(lambda: not recording.exists(), "it is sent and let go", 400)
        after = written_to(mount)

    print(f"{(after - before) / MB:.2f} MB written for a gigabyte")
    assert after - before <= MB
