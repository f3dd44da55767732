"""The agent over https to the server's own TLS, with a certificate that a private CA signed."""

import json
import shutil
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.counting_link import CountingLink
from tests.support.processes import DEVICE, Agent, Server, wait_for
from tests.support.recordings import make_recording, sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def server(tmp_path, authority):
    pair = authority.server()
    log = {"format": "json", "level": "debug"}  # each request
    made = Server(tmp_path / "server", tls={"cert_file": pair.cert, "key_file": pair.key}, log=log)
    made.tls = authority.client_context()
    made.start()
    yield made
    made.close()


def test_a_recording_travels_over_https_with_a_private_authority_and_a_token(
    tmp_path, server, authority
):
    token = server.new_token()
    with CountingLink(server.port) as link:
        url = link.url.replace("http:", "https:")
        agent = Agent(tmp_path / "device", url=url, token=token, server={"ca_file": authority.cert})
        try:
            recording = make_recording(agent.media / "flight.mkv", seconds=2)
            agent.start()
            wait_for(server.published_files, "the recording is published", 60)
            published = {path.name: sha256(path) for path in server.published_files()}
            agent.stop()
        finally:
            agent.close()

    assert published == {"flight.mkv": sha256(recording)}
    assert link.sent > recording.stat().st_size
    assert token[-43:] not in (agent.folder / "agent-1.log").read_text()


def test_a_device_with_a_certificate_needs_no_token_and_goes_on_when_it_is_renewed(
    tmp_path, authority
):
    pair, before, after = authority.server(), authority.device("drone-2"), authority.device(DEVICE)
    served = {"cert_file": pair.cert, "key_file": pair.key, "client_ca_file": authority.cert}
    server = Server(tmp_path / "server", tls=served)
    server.tls = authority.client_context()
    held = tmp_path / "held"
    held.mkdir()
    shutil.copy(before.cert, held / "device.crt")
    shutil.copy(before.key, held / "device.key")
    agent = Agent(
        tmp_path / "device",
        url=f"https://127.0.0.1:{server.port}",
        token=None,
        server={
            "ca_file": authority.cert,
            "client_cert_file": held / "device.crt",
            "client_key_file": held / "device.key",
        },
    )
    try:
        server.start()
        make_recording(agent.media / "flight.mkv", seconds=2)
        agent.start()
        wait_for(
            lambda: "device-mismatch" in json.dumps(agent.state_if_any()), "another's is refused"
        )
        shutil.copy(after.cert, held / "device.crt")
        shutil.copy(after.key, held / "device.key")
        wait_for(server.published_files, "the renewed one is taken up", 60)
    finally:
        agent.close()
        server.close()


@pytest.mark.parametrize("trusts", ["another CA", "the system's"])
def test_an_agent_that_does_not_trust_the_server_sends_nothing_and_says_why(
    tmp_path, server, trusts
):
    other = Authority(tmp_path / "other", "another CA")
    ca_file = {"ca_file": other.cert} if trusts == "another CA" else {}
    agent = Agent(
        tmp_path / "device",
        url=f"https://127.0.0.1:{server.port}",
        token=server.new_token(),
        server=ca_file,
    )
    try:
        make_recording(agent.media / "flight.mkv", seconds=2)
        agent.start()
        said = wait_for(lambda: _refusal(agent), "the state says what is wrong")
    finally:
        agent.close()

    assert "check [server] ca_file" in said
    assert server.published_files() == []
    asked = [line for line in server.log() if line.get("event") == "request.answered"]
    assert {line["route"] for line in asked} == {"/readyz"}


def _refusal(agent: Agent) -> str | None:
    state = json.dumps(agent.state_if_any())
    return state if "certificate is not accepted" in state else None


def _of_two_held_back(agent: Agent) -> dict[str, Any] | None:
    state = agent.state_if_any()
    if not state or "this port speaks https only" not in str(state["blocked_detail"]):
        return None
    return state if state["queue"]["files"] == 2 else None


def test_plain_http_to_the_https_port_fails_no_file_and_goes_on_when_it_is_mended(
    tmp_path, server, authority
):
    agent = Agent(
        tmp_path / "device",
        url=f"http://127.0.0.1:{server.port}",
        token=server.new_token(),
        server={"ca_file": authority.cert},
    )
    names = {"a.mp4", "b.mp4"}
    try:
        for name in names:
            (agent.media / name).write_bytes(name.encode())
        agent.start()
        state = wait_for(lambda: _of_two_held_back(agent), "it says why, and keeps both")
        agent.stop()
        agent.configure(server={"url": f"https://127.0.0.1:{server.port}"})
        agent.start()
        wait_for(lambda: len(server.published_files()) == 2, "both are published", 60)
    finally:
        agent.close()

    assert (state["blocked_by"], state["queue"]["failed"]) == ("link", 0)
    assert {path.name for path in server.published_files()} == names


def test_what_was_refused_is_tried_again_with_a_new_token_and_on_a_persons_word(tmp_path):
    server = Server(tmp_path / "server", limits={"max_length": "1KiB"})
    server.start()
    agent = Agent(
        tmp_path / "device", url=f"http://127.0.0.1:{server.port}", token=server.new_token()
    )

    def verdicts():
        return sum(one.get("event") == "upload.failed" for one in agent.log())

    try:
        (agent.media / "a.mp4").write_bytes(bytes(2000))
        agent.start()
        wait_for(lambda: verdicts() == 1, "it is refused")
        agent.stop()
        agent.start()
        wait_for(lambda: agent.state_if_any().get("state") == "idle", "nothing is new")
        assert verdicts() == 1

        agent.stop()
        (tmp_path / "device" / "token").write_text(server.new_token())
        agent.start()
        wait_for(lambda: verdicts() == 2, "it is refused once more")

        server.stop()
        server.config.write_text(server.config.read_text().replace("1KiB", "1MiB"))
        server.start()
        said = agent.run("retry", "--all")
        wait_for(server.published_files, "it is published")
    finally:
        agent.close()
        server.close()

    assert said == "1 file is tried again\n"
