"""Whoever looks at the devices of a running server, and steers them."""

import http.client
import json

from demo.ports import LOOPBACK
from tests.support.processes import DEVICE, wait_for


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
