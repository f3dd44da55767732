"""What is mounted where, read from what the kernel says."""

from pathlib import Path

import pytest

from edge_agent.media.mounts import (
    kind_at,
    mount_of,
    mount_points_below,
    mounts_near,
    read_mountinfo,
)

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


def test_only_what_is_mounted_below_a_folder_is_below_it():
    card = b"90 22 0:70 / /media/cam\\0401 rw - vfat /dev/sdc1 rw\n"

    assert mount_points_below(Path("/media"), _BEFORE + card) == (b"/media/cam 1",)
    assert mount_points_below(Path("/media/cam 1"), _BEFORE + card) == ()
    assert mount_points_below(Path("/"), _BEFORE) == (b"/run", b"/media")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/media-x", "ext4"), ("/media/a/b", "exfat"), ("/media/caf\udce9 1/x", "9p")],
)
def test_a_file_system_is_that_of_the_innermost_mount_above_and_of_two_the_later(path, kind):
    later = (
        b"90 41 0:71 / /media/caf\xe9\\0401 rw shared:7 master:1 - vfat /dev/sdc1 rw\n"
        b"91 90 0:72 / /media/caf\xe9\\0401 rw - 9p share rw\n"
    )

    assert kind_at(Path(path), _BEFORE + later) == kind


def test_where_no_mount_is_named_nothing_is_said():
    assert kind_at(Path("/a"), b"") is None
    assert kind_at(Path("/a"), b"a line of another kind\n") is None


def test_the_kernel_names_the_file_system_of_proc():
    assert kind_at(Path("/proc/self"), read_mountinfo()) == "proc"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"/", b"22"),
        (b"/media-x", b"22"),
        (b"/media", b"41"),
        (b"/media/a/b.mkv", b"41"),
        (b"/media/cam 1/b.mkv", b"91"),
    ],
)
def test_a_file_lies_on_the_mount_nearest_above_it_and_of_two_at_one_place_on_the_later(
    path, number
):
    hidden = b"90 22 0:70 / /media/cam\\0401 rw - tmpfs tmpfs rw\n"
    above = b"91 22 0:71 / /media/cam\\0401 rw - tmpfs tmpfs rw\n"

    assert mount_of(path, _BEFORE + hidden + above) == b"mount " + number
