"""Which mounts concern a watched folder."""

from pathlib import Path

import pytest

from edge_agent.media.mounts import mounts_near

_BEFORE = b"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /run rw,nosuid shared:5 - tmpfs tmpfs rw
41 22 8:17 / /media rw,relatime shared:9 - exfat /dev/sdb1 rw
"""


@pytest.mark.parametrize(
    "line",
    [
        b"90 30 0:70 / /run/containers/a rw - overlay overlay rw\n",
        b"90 22 0:70 / /media-of-another rw - tmpfs tmpfs rw\n",
        b"90 22 0:70 / /media/other rw - tmpfs tmpfs rw\n",
    ],
)
def test_a_mount_elsewhere_does_not_concern_the_folder(line):
    folder = Path("/media/cam 1")

    assert mounts_near(folder, _BEFORE + line) == mounts_near(folder, _BEFORE)


@pytest.mark.parametrize(
    "line",
    [
        b"90 22 0:70 / /media/cam\\0401 rw - tmpfs tmpfs rw\n",
        b"90 22 0:70 / /media/cam\\0401/DCIM rw - tmpfs tmpfs rw\n",
        b"90 22 0:70 / /media rw - tmpfs tmpfs rw\n",
    ],
)
def test_a_mount_at_below_or_above_the_folder_does(line):
    folder = Path("/media/cam 1")

    assert mounts_near(folder, _BEFORE + line) != mounts_near(folder, _BEFORE)


def test_a_mount_that_goes_is_noticed():
    without = b"".join(_BEFORE.splitlines(keepends=True)[:-1])

    assert mounts_near(Path("/media/cam"), without) != mounts_near(Path("/media/cam"), _BEFORE)
