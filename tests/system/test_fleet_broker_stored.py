"""What happened on a device and comes over a broker: the broker forgets it once it is in the database."""

import json
import sqlite3
from contextlib import contextmanager

import pytest

from tests.support.mosquitto import Mosquitto, listening
from tests.support.processes import Server, wait_for
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def tell(client, number):
    event = {"id": f"e{number}", "type": "edgeup.file.failed", "seq": number}
    client.publish("edgeup/v1/drone-1/event", json.dumps(event), 1)


def kept(server):
    """Return the ids of the events in the server's database."""
    with sqlite3.connect(f"file:{server.data_dir}/fleet.db?mode=ro", uri=True) as connection:
        found = [one for (one,) in connection.execute("SELECT id FROM events ORDER BY number")]
    connection.close()
    return found


def lines(server, event):
    return [one for one in server.log() if one["event"] == event]


@contextmanager
def at_a_broker(folder):
    """A server on a small disk, at a broker; yields it, its disk, and a client that speaks for a device."""
    with (
        small_disk(folder / "disk", size="48M") as disk,
        Mosquitto(folder / "broker") as broker,
        listening(broker, [], topic="nobody") as device,
    ):
        server = Server(
            folder / "server",
            data_dir=disk.path / "data",
            fleet={"mqtt_url": broker.url},
            limits={"min_free": "0"},
        )
        try:
            server.start()
            wait_for(lambda: lines(server, "broker.connected"), "the server is at the broker")
            yield server, disk, device
        finally:
            server.close()


def test_an_event_that_a_full_disk_refuses_is_taken_once_there_is_room_and_over_a_restart(tmp_path):
    with at_a_broker(tmp_path) as (server, disk, device):
        tell(device, 1)
        wait_for(lambda: kept(server) == ["e1"], "what there is room for is kept")

        disk.fill()
        for number in range(2, 60):  # what the file has room for is no matter
            tell(device, number)
        wait_for(lambda: lines(server, "fleet.events_not_kept"), "the disk is full")
        server.kill()
        disk.make_room()
        server.start()
        wait_for(lambda: len(kept(server)) == 59, "it comes again")

    assert len(lines(server, "fleet.events_not_kept")) == 1


@pytest.mark.nightly
def test_an_event_waits_in_the_running_server_until_there_is_room(tmp_path):
    with at_a_broker(tmp_path) as (server, disk, device):
        disk.fill()
        for number in range(1, 60):
            tell(device, number)
        wait_for(lambda: lines(server, "fleet.events_not_kept"), "the disk is full")
        disk.make_room()
        wait_for(lambda: len(kept(server)) == 59, "all are kept")
        wait_for(lambda: lines(server, "fleet.events_kept"), "it is said")

    assert (
        "waits with them, or with the broker" in lines(server, "fleet.events_not_kept")[0]["error"]
    )
