"""Certificates and tokens that are others in the middle of a recording: it goes on, and nearly nothing goes twice."""

import contextlib
import json
import os
import shutil
import signal

import pytest

from tests.support.certificates import Authority
from tests.support.counting_link import CountingLink
from tests.support.processes import DEVICE, Agent, Server, wait_for
from tests.support.recordings import MB, sha256

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(120)]

LENGTH = 20 * MB
RATE = {"max_rate": "5MB"}
IN_FLIGHT = 4 * MB
"""What may be lost of a broken connection: what lies in the buffers of both sides and of the link."""
UNSEALED = 8 * 1024 * 1024
"""What the server has not recorded yet when it learns that the sender's token has ended: it never will."""


class Scene:
    """A server with TLS, an agent that sends to it through a link that counts, and a recording of 20 MB."""

    def __init__(self, folder, stack) -> None:
        self.authority = Authority(folder / "ca")
        self.held = folder / "held"
        self.held.mkdir()
        self.use(self.authority)
        self.ca_file = shutil.copy(self.authority.cert, self.held / "ca.crt")
        cert, key = self.held / "server.crt", self.held / "server.key"
        self.server = Server(folder / "server", tls={"cert_file": cert, "key_file": key})
        self.server.tls = self.authority.client_context()
        stack.callback(self.server.close)
        self.server.start()
        self.link = stack.enter_context(CountingLink(self.server.port))
        self.agent = Agent(
            folder / "device",
            url=self.link.url.replace("http:", "https:"),
            token=self.server.new_token(),
            server={"ca_file": self.ca_file},
            upload=RATE,
        )
        stack.callback(self.agent.close)
        self.recording = self.agent.media / "a.mp4"
        self.recording.write_bytes(os.urandom(LENGTH))

    def use(self, authority) -> None:
        pair = authority.server()
        shutil.copy(pair.cert, self.held / "server.crt")
        shutil.copy(pair.key, self.held / "server.key")

    def begin(self) -> None:
        self.agent.start()
        self.wait_until_sent(4 * MB)

    def wait_until_sent(self, count) -> None:
        wait_for(lambda: self.link.sent > count, f"{count} bytes are sent", 60)

    def restart_server(self) -> None:
        self.server.stop()
        self.server.start()

    def assert_it_arrives(self, again=IN_FLIGHT) -> None:
        [published] = wait_for(self.server.published_files, "it is published", 60)
        assert sha256(published) == sha256(self.recording)
        assert self.link.sent < LENGTH + again
        assert "upload.failed" not in {line.get("event") for line in self.agent.log()}


def told(agent) -> str:
    return agent.state()["blocked_detail"] or ""


@pytest.fixture
def scene(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Scene(tmp_path, stack)


def test_a_renewed_certificate_of_the_same_authority_is_no_event(scene):
    scene.begin()
    scene.use(scene.authority)
    os.kill(scene.server.pid, signal.SIGHUP)
    scene.wait_until_sent(8 * MB)
    scene.restart_server()  # new connections meet the new one, with a session of the old one

    scene.assert_it_arrives()


def test_another_authority_is_waited_for_until_the_device_has_it(scene, tmp_path):
    other = Authority(tmp_path / "other", "another CA")
    scene.begin()
    scene.use(other)
    scene.server.tls = other.client_context()
    scene.restart_server()
    wait_for(lambda: "not accepted" in told(scene.agent), "it is said")
    shutil.copy(other.cert, scene.ca_file)

    scene.assert_it_arrives()


def test_a_server_that_speaks_https_from_now_on_is_named_and_a_new_url_goes_on(tmp_path):
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    server = Server(tmp_path / "server")
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        server.start()
        link = stack.enter_context(CountingLink(server.port))
        agent = Agent(tmp_path / "device", url=link.url, token=server.new_token(), upload=RATE)
        stack.callback(agent.close)
        recording = agent.media / "a.mp4"
        recording.write_bytes(os.urandom(LENGTH))
        agent.start()
        wait_for(lambda: link.sent > 4 * MB, "the upload is under way")
        server.stop()
        text = server.config.read_text()
        server.config.write_text(
            f'{text}\n[tls]\ncert_file = "{pair.cert}"\nkey_file = "{pair.key}"\n'
        )
        server.tls = authority.client_context()
        server.start()
        wait_for(lambda: "https" in told(agent), "it is named")
        agent.configure(
            server={"url": link.url.replace("http:", "https:"), "ca_file": authority.cert}
        )
        os.kill(agent.pid, signal.SIGHUP)
        wait_for(
            lambda: any("server.url" in str(line) for line in agent.log()), "it wants a restart"
        )
        agent.stop()
        agent.start()
        [published] = wait_for(server.published_files, "it is published", 60)

    assert sha256(published) == sha256(recording)
    assert link.sent < LENGTH + IN_FLIGHT


def test_a_token_that_is_rotated_goes_on_with_the_same_upload(scene):
    scene.begin()
    [old] = json.loads(scene.server.run("token", "list", "--json"))
    (scene.agent.folder / "token").write_text(scene.server.new_token())
    scene.server.run("token", "revoke", old["token_id"])

    scene.assert_it_arrives()
    assert "auth.failed" not in {line.get("event") for line in scene.agent.log()}


def test_a_token_that_is_revoked_is_waited_for_until_there_is_another(scene):
    scene.begin()
    scene.server.run("token", "revoke", DEVICE)
    scene.agent.wait_until_blocked_by("auth")
    (scene.agent.folder / "token").write_text(scene.server.new_token())

    scene.assert_it_arrives(IN_FLIGHT + UNSEALED)
