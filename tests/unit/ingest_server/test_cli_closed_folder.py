"""`ingest-server` given by a user who may not look into the data folder: one sentence, whatever the command."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.console import Operator

NOBODY = 65534
COMMANDS = (
    "token add cam",
    "token list",
    "token revoke cam",
    "claim add --devices 3 --expires 7d",
    "claim list",
    "claim revoke x",
    "webhook list",
    "user list",
    "list",
    "groups",
    "devices",
    "events",
    "fetch cam x",
    "abort cam",
    "prune",
    "verify",
    "restore",
    "migrate",
)


@contextmanager
def as_another_user(folder: Path) -> Iterator[None]:
    """Be somebody to whom *folder* is closed."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    else:
        folder.chmod(0)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(0)
        else:
            folder.chmod(0o700)


@pytest.fixture
def operator(capsys):
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are closed to others
        folder = Path(made)
        folder.chmod(0o755)
        operator = Operator(folder, capsys)
        operator.run("token", "add", "cam")
        operator.data_dir.chmod(0o700)
        yield operator


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_to_whom_the_folder_is_open(operator, command):
    with as_another_user(operator.data_dir):
        code, out, err = operator.run(*command.split())

    owner = pwd.getpwuid(operator.data_dir.stat().st_uid).pw_name
    assert (code, out) == (1, "")
    assert err == (
        f"ingest-server: The data folder {operator.data_dir} is closed to you. Run the command as root, or as "
        f"the user that the server runs as: {owner}.\n"
    )


def test_check_says_it_in_a_line_of_its_own(operator):
    with as_another_user(operator.data_dir):
        code, out, _ = operator.run("check")

    assert code == 1
    assert out.splitlines()[-1].startswith(
        f"FAIL  folder    The data folder {operator.data_dir} is"
    )


def test_a_server_that_is_started_so_says_what_it_could_not_look_at(operator):
    with as_another_user(operator.data_dir):
        code, _, err = operator.run("run")

    assert code == 78
    assert f"Whether {operator.data_dir} was moved cannot be read" in err
    assert "Permission denied" in err
