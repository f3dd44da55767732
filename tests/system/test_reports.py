"""A device without a broker is seen at the server and steered from there, by the programs as they are."""

import http.client
import json

import pytest

from demo.ports import LOOPBACK
from tests.support.processes import DEVICE, wait_for
from tests.support.recordings import make_recording
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SOON = {"interval_seconds": 5.0}
"""The shortest that an owner can set: a test waits for it."""


class Operator:
    """Whoever looks at the devices, with a token."""

    def __init__(self, server, media):
        self.server = server
        self.media = media
        self._token = server.run("token", "add", "--scope", "admin", "operator").splitlines()[-1]

    def ask(self, method, path, document=None):
        connection = http.client.HTTPConnection(LOOPBACK, self.server.port, timeout=10)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "X-Requested-With": "edge-uploader",
            "Content-Type": "application/json",
        }
        body = None if document is None else json.dumps(document)
        try:
            connection.request(method, f"/v1/fleet{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def row(self):
        status, view = self.ask("GET", "")
        assert status == 200, view
        return next((row for row in view["devices"] if row["device"] == DEVICE), {})

    def command(self, cmd, **args):
        """Have *cmd* done; return how it ended.

        An idle device asks every two minutes: here something happens on it, so that it tells of that.
        """
        document = {"cmd": cmd, "args": args, "expires_in_s": 120}
        status, sent = self.ask("POST", f"/devices/{DEVICE}/commands", document)
        assert status == 202, sent
        (self.media / f"{sent['id']}.tmp").touch()
        path = f"/devices/{DEVICE}/commands/{sent['id']}"
        ends = {"done", "failed", "rejected", "expired"}
        return wait_for(
            lambda: (found := self.ask("GET", path)[1]) and found["status"] in ends and found,
            f"{cmd} is answered",
        )

    def events(self):
        status, found = self.ask("GET", f"/events?device={DEVICE}")
        assert status == 200, found
        return found["events"]


def test_a_device_is_seen_and_steered_without_a_broker(tmp_path):
    with site(tmp_path, reports=SOON) as here:
        operator = Operator(here.server, here.agent.media)
        here.agent.start()
        wait_for(lambda: operator.row().get("presence") == "online", "the device is seen")

        paused = operator.command("pause", reason="flight")
        wait_for(lambda: operator.row().get("state") == "paused", "it is seen to be paused")
        make_recording(here.agent.media / "flight.mp4", seconds=0.5)
        wait_for(lambda: operator.row().get("pending_files") == 1, "what waits is seen")
        resumed = operator.command("resume")
        here.wait_until_published(1)
        wait_for(lambda: operator.row().get("last_completed_at"), "it is seen to be done")
        log = list(here.agent.log())

    assert (paused["status"], paused["code"]) == ("done", "ok")
    assert resumed["status"] == "done"
    assert [one for one in log if one.get("level") in ("warning", "error")] == []


def test_every_event_arrives_once_and_in_order_though_the_server_is_killed(tmp_path):
    with site(tmp_path, reports=SOON) as here:
        operator = Operator(here.server, here.agent.media)
        here.agent.start()
        for number in range(3):
            make_recording(here.agent.media / f"{number}.mp4", seconds=0.5)
            here.wait_until_published(number + 1)
            here.server.kill()
            here.server.start()
        wait_for(lambda: here.agent.state()["totals"]["files_done"] == 3, "all is verified")

        def completed():
            found = [one for one in operator.events() if one["type"] == "edgeup.file.completed"]
            return found if len(found) >= 3 else None

        wait_for(completed, "all three are told")
        events = operator.events()

    told = [one["event"] for one in events]
    seqs = [one["seq"] for one in told]
    assert seqs == sorted(set(seqs))
    assert len({one["id"] for one in told}) == len(told)
    assert "spool.dropped" not in {one["type"] for one in told}
