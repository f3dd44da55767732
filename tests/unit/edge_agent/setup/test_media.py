"""Which folders a device is set up for, and what is said of the others."""

import os
from pathlib import Path

import pytest

from edge_agent.setup.media import real_folder
from edge_host.setup.errors import SetupError

OWN_TREE = Path(__file__).parents[4]


@pytest.mark.parametrize("folder", ["/", "/etc", "/etc/ssl", "/usr/lib", "/var", "/var/lib"])
def test_a_folder_with_more_than_recordings_is_refused(folder):
    with pytest.raises(SetupError, match="holds more than recordings"):
        real_folder(Path(folder))


@pytest.mark.parametrize("folder", ["/tmp", "/dev", "/proc/self", "/var/tmp"])
def test_a_folder_that_a_service_does_not_see_is_refused(folder):
    with pytest.raises(SetupError, match="of its own"):
        real_folder(Path(folder))


def test_a_whole_home_is_refused():
    home = next(
        line.split(":")[5]
        for line in Path("/etc/passwd").read_text().splitlines()
        if line.startswith("mail:")
    )
    if not Path(home).is_dir():
        pytest.skip("this machine has no such folder")

    with pytest.raises(SetupError, match="somebody's home"):
        real_folder(Path(home))


def test_what_is_not_there_or_is_a_file_is_a_sentence():
    with pytest.raises(SetupError, match="put the card in"):
        real_folder(Path("/srv/there/is/none"))
    with pytest.raises(SetupError, match="is a file"):
        real_folder(OWN_TREE / "pyproject.toml")


def test_a_link_is_followed_once_and_where_it_leads_decides(tmp_path):
    (tmp_path / "link").symlink_to("/etc")

    with pytest.raises(SetupError, match="holds more than recordings"):
        real_folder(tmp_path / "link")
    assert os.path.realpath(tmp_path / "link") == "/etc"
