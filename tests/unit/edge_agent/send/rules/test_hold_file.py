"""A hold file, whatever lies there."""

import os
import time

import pytest

from edge_agent.send.rules.hold_file import folders_of_its_own, look


@pytest.fixture
def path(tmp_path):
    return tmp_path / "armed"


def found(path, now_s=None):
    return look(os.fsencode(path), now_s)


@pytest.mark.parametrize("make", ["touch", "mkdir"])
def test_whatever_is_there_holds(path, make):
    assert found(path) is None

    getattr(path, make)()

    assert found(path).maker.pid is None


def test_a_pipe_and_a_link_that_leads_nowhere_hold_and_are_not_opened(path, tmp_path):
    os.mkfifo(path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    assert found(path).maker.pid is None
    assert found(tmp_path / "link").maker.pid is None


def test_a_folder_that_is_not_there_holds_nothing(path, tmp_path):
    (tmp_path / "file").touch()

    assert found(path / "deeper") is None
    assert found(tmp_path / "file" / "armed") is None


def test_a_process_that_it_names_is_looked_for(path):
    path.write_text(f"{os.getpid()}\n")
    assert found(path).maker.is_running is True

    path.write_text("4194304\n" * 100_000)
    assert (found(path).maker.pid, found(path).maker.is_running) == (4194304, False)


def test_one_from_before_the_start_of_the_device_is_known_by_its_date_if_a_clock_is_right(path):
    path.touch()
    assert found(path, time.time()).maker.is_before_boot is False

    os.utime(path, (1000, 1000))

    assert found(path, time.time()).maker.is_before_boot is True
    assert found(path, None).maker.is_before_boot is False


def test_a_name_that_is_too_long_cannot_be_looked_at(path):
    with pytest.raises(OSError, match="File name too long"):
        found(path.with_name("x" * 300))


def test_a_folder_that_a_unit_has_for_itself_is_told_from_one_that_all_see():
    mounts = (
        b"452 451 0:45 / /tmp rw,nosuid shared:139 master:7 - tmpfs tmpfs rw\n"
        b"490 452 0:45 /systemd-private-19904-edge-agent.service-wD2DQ2/tmp /tmp rw - tmpfs tmpfs rw\n"
        b"492 451 0:42 /var/tmp/systemd-private-19904-edge-agent.service-bt/tmp /var/tmp rw - ext4 / rw\n"
        b"473 451 0:49 / /run rw,nosuid,nodev - tmpfs tmpfs rw\nbroken\n"
    )

    assert folders_of_its_own(mounts) == (b"/tmp", b"/var/tmp")
    assert folders_of_its_own(mounts.splitlines()[0]) == ()
