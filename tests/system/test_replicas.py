"""Three servers over one database and one store, behind a balancer, while they are used."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, closing
from functools import partial

import pytest

from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.fleet import report
from tests.support.plain import plain_client
from tests.support.processes import wait_for
from tests.support.replicas import replicas
from tests.support.secured import complete, create, put
from tests.support.visitors import OURS, add_user, log_in

pytestmark = [pytest.mark.alone, pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(300)]
KB = 1000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with replicas(tmp_path_factory.mktemp("replicas")) as made:
        yield made


class Load:
    """Devices that upload, and one who looks at the page, without a pause."""

    def __init__(self, site, devices: int) -> None:
        self.failed: list[str] = []
        self.receipts: dict[str, bytes] = {}
        self._stop = threading.Event()
        tokens = [site.token(f"cam-{number}") for number in range(devices)]
        self._threads = [
            threading.Thread(target=self._upload, args=(site.client(one), number))
            for number, one in enumerate(tokens)
        ]

    def __enter__(self):
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for one in self._threads:
            one.join()

    def _upload(self, camera, number: int) -> None:
        count = 0
        with camera:
            while not self._stop.is_set():
                count += 1
                try:
                    self._one(camera, f"{number}-{count}.mp4", os.urandom(40 * KB))
                except Exception as error:  # noqa: BLE001 - counted: each is a request that was lost
                    self.failed.append(f"{type(error).__name__}: {error}")

    def _one(self, camera, name: str, data: bytes) -> None:
        upload_id = _taken(create(camera, name=name, length=len(data)), 201).json()["id"]
        half = len(data) // 2
        _taken(put(camera, upload_id, data[:half]), 200)
        _taken(put(camera, upload_id, data[half:], start=half), 200)
        answer = complete(camera, upload_id, data)
        while answer.status_code == 202:
            answer = complete(camera, upload_id, data)
        self.receipts[_taken(answer, 200).json()["published_as"]] = data


def _taken(answer, status: int):
    assert answer.status_code == status, (
        f"{answer.request.method} {answer.status_code} {answer.text}"
    )
    return answer


def at(server, token=None):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return plain_client(f"http://127.0.0.1:{server.port}", headers=headers, trust_env=False)


def that_reported(page):
    """Return the rows of devices that have reported: one that only has a token may be shown before."""
    return [one for one in page.get("/v1/fleet").json()["devices"] if one["presence"] != "never"]


def test_a_person_a_device_and_a_command_go_to_whichever_server_they_meet(site):
    with ExitStack() as open_clients:
        with closing(PostgresState.open(site.url)) as state:
            add_user(state)
        token = site.token("cam-1")
        device = [open_clients.enter_context(at(each, token)) for each in site.servers]
        page = [open_clients.enter_context(at(each)) for each in site.servers]
        assert log_in(page[0]).status_code == 204
        csrf = page[0].get("/v1/session").json()["csrf"]
        for each in page:
            each.cookies = page[0].cookies
            each.headers.update({**OURS, "X-CSRF-Token": csrf})

        device[0].post("/v1/report", json=report(1)).raise_for_status()
        rows = [wait_for(partial(that_reported, each), "it is shown") for each in page]
        given = page[1].post("/v1/fleet/devices/cam-1/commands", json={"cmd": "pause"})
        told = device[2].post("/v1/report", json=report(2)).json()["commands"]
        ack = {"id": given.json()["id"], "status": "done", "code": "ok"}
        after = device[0].post("/v1/report", json=report(3, acks=[ack])).json()["commands"]
        became = page[2].get(f"/v1/fleet/devices/cam-1/commands/{ack['id']}").json()
        wished = page[0].put("/v1/fleet/devices/cam-1/desired", json={"settings": {"paused": True}})
        late = page[1].put(
            "/v1/fleet/devices/cam-1/desired",
            json={"settings": {"paused": False}},
            headers={"If-Match": '"0"'},
        )

        assert [[row["presence"] for row in found] for found in rows] == [["online"]] * 3
        assert [one["id"] for one in told] == [ack["id"]]
        assert (after, became["status"]) == ([], "done")
        assert (wished.headers["ETag"], late.status_code) == ('"1"', 412)
        assert page[2].delete("/v1/session").status_code == 204
        assert [each.get("/v1/fleet").status_code for each in page] == [401] * 3


def test_restarting_one_after_the_other_loses_no_request(site):
    with Load(site, devices=2) as load:
        for one in site.servers:
            before = len(load.receipts)
            one.stop(30)
            one.start()
            assert len(load.receipts) > before, "the others go on"

    assert load.failed == []
    assert site.published() == load.receipts
