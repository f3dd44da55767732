"""Whose folder is given to a service: the one that was looked at, and no other that a link leads to."""

import pytest

from edge_host.setup.errors import SetupError
from edge_host.setup.journal import Journal
from edge_host.setup.machine import Machine
from edge_host.setup.own_folder import have_it_writable
from tests.support.requirements import require_root


@pytest.mark.parametrize("name", ["share", "share/below"])
def test_a_folder_behind_a_link_that_came_into_the_path_stays_roots(tmp_path, name):
    require_root()
    roots = tmp_path / "roots"
    (roots / "below").mkdir(parents=True, mode=0o755)
    (tmp_path / "share").symlink_to(roots / "below" if name == "share" else roots)
    machine = Machine(Journal(tmp_path / "list.json"), rehearses=False, say=print)
    before = owners(roots, roots / "below")

    with pytest.raises(SetupError) as refused:
        have_it_writable(machine, tmp_path / name, "daemon", mode=0o750)

    assert owners(roots, roots / "below") == before
    assert f"{tmp_path}/share is no folder, or has become a link" in str(refused.value)


def owners(*folders):
    return [(one.stat().st_uid, one.stat().st_mode) for one in folders]
