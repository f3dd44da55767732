"""What can be known of the files in the watched folder, tried there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.operate.checks.folders import check_open_files


@contextmanager
def as_another_user() -> Iterator[Path]:
    """Yield a folder that another user may write to, and be that user meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        Path(folder, "camera.mp4").write_bytes(b"x")
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_the_kernel_says_of_ones_own_files_is_not_taken_for_the_cameras():
    with as_another_user() as folder:
        found = check_open_files(folder, may_write=True, recursive=True)

    assert found.level == "WARN"
    assert "they belong to another user" in found.text


def test_without_a_recording_and_without_write_access_leases_cannot_be_tried(tmp_path):
    found = check_open_files(tmp_path, may_write=False, recursive=True)

    assert found.level == "WARN"
    assert "check again when there is one" in found.text
