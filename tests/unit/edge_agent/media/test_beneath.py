"""What a path names is opened, and nothing that a link leads to, whatever the kernel offers for that."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import pytest

from edge_agent.media import beneath


@pytest.fixture
def place(tmp_path):
    """A file in a folder, and three links that lead to it."""
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "real/sub/clip.mp4").write_bytes(b"a recording")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real/over").symlink_to("sub")
    (tmp_path / "real/sub/link.mp4").symlink_to("clip.mp4")
    return tmp_path


READABLE = ["real/sub/clip.mp4"]
BEHIND_A_LINK = ["linked/sub/clip.mp4", "real/over/clip.mp4", "real/sub/link.mp4"]


def read(path) -> bytes:
    fd = beneath.open_file(os.fsencode(path))
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_a_file_in_real_folders_is_opened(place):
    assert read(place / "real/sub/clip.mp4") == b"a recording"


@pytest.mark.parametrize("name", BEHIND_A_LINK)
def test_a_link_anywhere_on_the_way_is_refused_as_such(place, name):
    with pytest.raises(OSError, match="symbolic") as refusal:
        read(place / name)

    assert refusal.value.errno == errno.ELOOP


@pytest.mark.parametrize("name", ["linked/sub", "real/over"])
def test_a_folder_behind_a_link_is_not_opened_and_has_no_status(place, name):
    with pytest.raises(OSError, match="symbolic"), beneath.folder(os.fsencode(place / name)):
        pass
    assert not beneath.is_there(os.fsencode(place / name / "clip.mp4"))


def test_a_link_itself_is_there_and_is_seen_to_be_one(place):
    path = os.fsencode(place / "real/sub/link.mp4")

    assert beneath.status(path) == os.lstat(path)
    assert beneath.is_there(path)


def test_a_folder_that_may_only_be_searched_is_passed_through(place):
    # As another user, for whom the rights count; the folders of pytest itself are not in the way.
    code = textwrap.dedent("""
        import os, sys
        from edge_agent.media import beneath
        os.chdir(sys.argv[1])
        for path, mode in ((b".", 0o755), (b"real", 0o711), (b"real/sub", 0o711)):
            os.chmod(path, mode)
        os.chmod(b"real/sub/clip.mp4", 0o644)
        os.setuid(65534)
        for opened in (beneath.open_file, lambda path: beneath.open_by_component(path, os.O_RDONLY)):
            print(os.read(opened(b"real/sub/clip.mp4"), 100).decode())
    """)
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")

    answer = subprocess.run(
        [sys.executable, "-c", code, place], capture_output=True, text=True, check=False, timeout=30
    )

    assert answer.stdout.splitlines() == ["a recording"] * 2, answer.stderr


_WITHOUT_OPENAT2 = """
import ctypes, os, struct, sys
from edge_agent.media import beneath

def forbid(number, code):
    '''Have the kernel refuse the system call, as an old one or a container's filter does.'''
    load, equal, give = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | code
    program = b"".join(
        struct.pack("HBBI", *line)
        for line in ((load, 0, 0, 0), (equal, 0, 1, number), (give, 0, 0, refuse), (give, 0, 0, allow))
    )
    held = ctypes.create_string_buffer(program)
    libc = ctypes.CDLL(None, use_errno=True)
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(held)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, fprog, 0, 0) == 0

forbid(437, int(sys.argv[1]))
for path in sys.argv[2:]:
    try:
        fd = beneath.open_file(os.fsencode(path))
    except OSError as error:
        print(error.errno)
    else:
        print(os.read(fd, 100).decode())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.maxsize < 2**32, reason="the filter is written for 64 bits")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_the_kernel_lacks_the_call_the_same_is_opened_and_the_same_refused(place, code):
    names = [*READABLE, *BEHIND_A_LINK, "real/absent/clip.mp4", "real/sub/clip.mp4/below"]
    command = [sys.executable, "-c", _WITHOUT_OPENAT2, str(code)]

    answer = subprocess.run(
        [*command, *(place / name for name in names)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    loop, absent, no_folder = str(errno.ELOOP), str(errno.ENOENT), str(errno.ENOTDIR)
    expected = ["a recording", loop, loop, loop, absent, no_folder]
    assert answer.stdout.splitlines() == expected, answer.stderr


def test_what_is_opened_is_closed_again(place):
    before = set(os.listdir("/proc/self/fd"))

    read(place / "real/sub/clip.mp4")
    beneath.status(os.fsencode(place / "real/sub/clip.mp4"))
    for name in (*READABLE, *BEHIND_A_LINK):
        os.close(beneath.open_by_component(os.fsencode(place / "real/sub/clip.mp4"), os.O_RDONLY))
        beneath.is_there(os.fsencode(place / name))

    assert set(os.listdir("/proc/self/fd")) == before
