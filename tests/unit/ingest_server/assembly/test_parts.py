"""A server whose parts cannot all be made leaves nothing open behind it."""

import threading

import pytest

from edge_host.clock import SystemClock
from ingest_server.assembly.parts import Parts
from ingest_server.config import load
from ingest_server.core.errors import ServerError
from tests.support.in_process import server_config


def config_of(folder, **tables):
    return load(server_config(folder, **tables), environ={})


UNFIT = {
    "before the store": {"hooks": {"before_publish": "nowhere:nothing"}},
    "after the fleet": {"server": {"proxy_secret_file": "/nowhere/secret"}},
}


@pytest.mark.parametrize("fault", UNFIT)
def test_what_fails_lets_go_of_the_data_folder(tmp_path, fault):
    tables = {"server": {}, **UNFIT[fault]}
    tables["server"] = {"data_dir": tmp_path / "data", **tables["server"]}
    unfit = config_of(tmp_path, **tables)
    before = set(threading.enumerate())

    with pytest.raises(ServerError):
        Parts(unfit, SystemClock())

    assert set(threading.enumerate()) <= before
    parts = Parts(config_of(tmp_path), SystemClock())  # refused while another one holds the folder
    parts.close()


def test_closed_parts_let_go_of_the_data_folder(tmp_path):
    config = config_of(tmp_path)
    Parts(config, SystemClock()).close()

    Parts(config, SystemClock()).close()
