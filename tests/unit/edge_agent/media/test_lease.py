from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
import textwrap

import pytest

from edge_agent.core.stability import Writer
from edge_agent.media import lease
from edge_agent.media.lease import LeaseProbe


def test_a_closed_file_has_no_writer(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")

    assert LeaseProbe().writer(os.fsencode(path)) is Writer.NOBODY


def test_an_open_file_has_a_writer_until_it_is_closed(tmp_path):
    path = tmp_path / "a"
    probe = LeaseProbe()

    with path.open("wb"):
        while_open = probe.writer(os.fsencode(path))

    assert while_open is Writer.SOMEBODY
    assert probe.writer(os.fsencode(path)) is Writer.NOBODY


def test_an_open_descriptor_is_asked_about_its_file_whatever_its_name_leads_to_by_now(tmp_path):
    path = tmp_path / "a"
    probe = LeaseProbe()
    with path.open("wb"), path.open("rb") as reader:
        path.rename(tmp_path / "b")
        path.write_bytes(b"another file")

        while_open = probe.writer_of(reader.fileno())
        of_the_name = probe.writer(os.fsencode(path))

    with (tmp_path / "b").open("rb") as reader:
        assert (while_open, of_the_name) == (Writer.SOMEBODY, Writer.NOBODY)
        assert probe.writer_of(reader.fileno()) is Writer.NOBODY


def test_a_reader_is_no_writer(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")

    with path.open("rb"):
        assert LeaseProbe().writer(os.fsencode(path)) is Writer.NOBODY


def test_a_writer_that_closed_the_file_and_kept_it_mapped_is_seen(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 4096)
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4096)

    try:
        assert LeaseProbe().writer(os.fsencode(path)) is Writer.SOMEBODY
    finally:
        mapped.close()


def test_what_cannot_be_opened_is_unknown(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "fifo")
    probe = LeaseProbe()

    assert probe.writer(os.fsencode(tmp_path / "absent")) is Writer.UNKNOWN
    assert probe.writer(os.fsencode(tmp_path / "link")) is Writer.UNKNOWN
    assert probe.writer(os.fsencode(tmp_path / "fifo")) is Writer.UNKNOWN
    assert probe.limits == (), "that says nothing of other files"


def test_a_kernel_that_grants_no_leases_is_told_with_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"x")

    def refuse(fd):  # as with fs.leases-enable = 0, which holds for the whole machine
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(lease, "_take", refuse)
    probe = LeaseProbe()

    assert probe.writer(os.fsencode(path)) is Writer.UNKNOWN
    [limit] = probe.limits
    assert "fs.leases-enable" in limit


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_another_users_file_is_unknown_without_the_capability(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    path.chmod(0o644)
    tmp_path.chmod(0o755)

    # As another user, in a process of its own, by a path that needs none of the folders above.
    code = textwrap.dedent(f"""
        import os
        from edge_agent.media.lease import LeaseProbe
        os.chdir({str(tmp_path)!r})
        os.setuid(65534)
        probe = LeaseProbe()
        print(probe.writer(b"a").value, *probe.limits)
    """)
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )

    assert answer.stdout.startswith("unknown this user may not ask who writes to recordings")
    assert "give the agent CAP_LEASE" in answer.stdout


@pytest.mark.slow
def test_a_writer_that_opens_the_file_while_it_is_probed_does_not_end_the_process(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    # SIGIO, the default sign of a broken lease, ends a process; here it keeps its default action.
    code = textwrap.dedent(f"""
        import os, threading
        from edge_agent.media.lease import LeaseProbe
        path, probe, stop = {os.fsencode(path)!r}, LeaseProbe(), threading.Event()
        def write():
            while not stop.is_set():
                os.close(os.open(path, os.O_WRONLY))
        writer = threading.Thread(target=write)
        writer.start()
        seen = {{probe.writer(path) for _ in range(3000)}}
        stop.set()
        writer.join()
        print(len(seen))
    """)
    answer = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=50
    )

    assert answer.returncode == 0, answer.stderr
