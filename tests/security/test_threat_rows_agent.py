"""The rows of the table of threats in docs/security.md that are the agent's: 12, 15, 19, 20."""

import json
import os
import re
import socket
import ssl
import struct
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from edge_agent.base.errors import LinkDownError, SourceError, TransportError
from edge_agent.core.upload import State
from edge_agent.media.folder import NameRules
from edge_agent.media.scan import Scan
from edge_agent.media.source import Source
from edge_agent.net.endpoint import Endpoint
from edge_agent.report.broker.heard import Received
from edge_agent.send.clients.native import NativeClient
from tests.support.certificates import Authority
from tests.support.lane import scene
from tests.support.orders import Orders
from tests.support.processes import wait_for
from tests.support.raw_http import serving
from tests.support.reporting import Reporting
from tests.support.requirements import require_root
from tests.support.secured import create, secured
from tests.support.site import site
from upload_protocol.ranges import ByteRange

MIB = 1 << 20


def transport(url, token=None, **more) -> NativeClient:
    return NativeClient(
        Endpoint(url=url, **more),
        token=lambda: token,
        utc=lambda: datetime(2026, 11, 21, tzinfo=UTC),
    )


def test_row_12_a_refusal_that_comes_early_is_read_by_an_agent_that_still_sends(tmp_path):
    with secured(tmp_path) as site:
        token = site.token()
        client = site.client(token)
        upload_id = create(client, length=64 * MIB).json()["id"]
        client.delete(f"/v1/uploads/{upload_id}")
        body = (bytes(256 * 1024) for _ in range(256))
        with (
            transport(site.server.url, token) as agent,
            pytest.raises(TransportError) as refusal,
        ):
            agent.send(upload_id, ByteRange(0, 64 * MIB), 64 * MIB, body)

    assert not isinstance(refusal.value, LinkDownError), refusal.value
    assert "abort" in str(refusal.value)


def retained_commands():
    yield b"\xff\xfe"
    yield b"{" * 10_000
    yield b"x" * MIB
    for command in ("pause", "upload", "delete"):
        yield json.dumps({"v": 1, "id": "1", "cmd": command, "args": {"path": "/etc"}}).encode()


@pytest.mark.parametrize("topic", ["status", "state", "cmd/ack", "../drone-02/cmd"])
def test_row_15_nothing_but_a_command_on_its_own_topic_is_one(tmp_path, topic):
    orders = Orders(tmp_path / "orders")
    with Reporting(tmp_path, "mqtt://127.0.0.1:1", port=orders) as reporting:
        before = dict(reporting.state)
        for payload in retained_commands():
            received = Received(f"edgeup/v1/drone-01/{topic}", payload)
            reporting.reporter._hear(received, reporting.clock.now_s())

        assert reporting.state == before
        assert (orders.taken, orders.refused, orders.desired) == ([], [], [])


def test_row_19_a_link_to_another_file_is_never_sent(tmp_path):
    secret = tmp_path / "shadow"
    secret.write_bytes(b"root:x")
    media = tmp_path / "media"
    media.mkdir()
    (media / "clip.mp4").symlink_to(secret)
    (media / "folder").symlink_to(tmp_path)

    found = list(Scan(os.fsencode(media), NameRules(["*"], []), recursive=True))

    assert found == []
    with pytest.raises(SourceError):
        Source.open(os.fsencode(media / "clip.mp4"))


def test_row_19_a_file_swapped_for_a_link_while_it_is_sent_is_noticed(tmp_path):
    secret, clip = tmp_path / "shadow", tmp_path / "clip.mp4"
    secret.write_bytes(b"root:x")
    clip.write_bytes(b"a recording")
    with Source.open(os.fsencode(clip)) as source:
        expected = source.identity
        clip.unlink()
        clip.symlink_to(secret)

        assert source.read(0, 11) == b"a recording"
    with pytest.raises(SourceError):
        Source.open(os.fsencode(clip))
    assert expected is not None


def test_row_19_a_folder_swapped_for_a_link_leads_to_no_other_file(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "clip.mp4").write_bytes(b"not a record")
    with scene(tmp_path / "site") as here:
        day = here.lane.media / "day"
        day.mkdir()
        recording = here.lane.record("day/clip.mp4", b"a recording.")
        day.rename(tmp_path / "moved")
        day.symlink_to(secret)

        here.lane.run()

        assert here.lane.now(recording).state is State.SEEN
        assert here.published() == {}
        assert here.server.data_dir is not None
        assert b"not a record" not in b"".join(
            path.read_bytes() for path in (here.server.data_dir / "parts").iterdir()
        )
        media = os.fsencode(here.lane.media)
        assert list(Scan(media, NameRules(["*"], []), recursive=True)) == []
    assert (secret / "clip.mp4").read_bytes() == b"not a record"


@pytest.mark.slow
@pytest.mark.parametrize("retention", ["never", "after_verified"])
def test_row_19_a_user_who_swaps_a_folder_for_a_link_gets_no_file_of_another_sent_or_deleted(
    tmp_path, retention
):
    """As in life: a daemon with more rights than the user who may write in a folder that it watches."""
    require_root()
    secret = tmp_path / "vault" / "clip.mp4"
    secret.parent.mkdir(mode=0o700)
    secret.write_bytes(b"of another user")
    secret.chmod(0o600)
    with site(tmp_path, watch={"settle_seconds": 1.5}, retention={"delete": retention}) as here:
        camera = here.agent.media / "day" / "cam"
        camera.mkdir(parents=True)
        here.agent.start()
        wait_for(here.agent.state_if_any, "it answers")
        with (camera / "clip.mp4").open("wb") as recorder:
            recorder.write(b"a recording")
            recorder.flush()
            wait_for(lambda: "clip.mp4" in names(here.agent, "seen", "growing"), "it was found")

            camera.rename(tmp_path / "moved")
            camera.symlink_to(secret.parent)
        (here.agent.media / "witness.mp4").write_bytes(b"another recording")
        here.wait_until_published(1)
        wait_for(lambda: "clip.mp4" in names(here.agent, "failed"), "it is said to be gone")

        assert list(here.published_digests()) == ["witness.mp4"]
        assert b"of another user" not in b"".join(
            path.read_bytes() for path in (here.server.data_dir / "parts").iterdir()
        )
        assert secret.read_bytes() == b"of another user"


def names(agent, *states):
    """Return the names of the recordings in *states*, as the running agent says."""
    return [one["name"] for one in agent.status()["files"] if one["state"] in states]


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


HOSTILE = {
    "boxes without end": box(b"ftyp", b"isom") + box(b"free", b"") * 300_000,
    "a box that is longer than any disk": box(b"ftyp", b"isom")
    + struct.pack(">I4sQ", 1, b"moov", 2**63),
    "a box that begins again at itself": box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"moov"),
    "a codec that is a script, and a place that is a line of a log": box(b"ftyp", b"isom")
    + box(
        b"moov",
        box(b"udta", box(b"\xa9xyz", b"\0\0\0\0+48.1+011.5\n<script>"))
        + box(
            b"trak",
            box(b"mdia", box(b"minf", box(b"stbl", box(b"stsd", bytes(12) + b"<b>\n")))),
        ),
    ),
    "elements in elements": b"\x1a\x45\xdf\xa3" + b"\x80" + b"\x18\x53\x80\x67\xff" * 50_000,
    "frames of no time": b"RIFF\xff\xff\xff\xffAVI " + b"\xff" * 200,
}


SLOW = {"boxes without end"}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(data, id=what, marks=[pytest.mark.slow] if what in SLOW else [])
        for what, data in HOSTILE.items()
    ],
)
def test_row_35_a_container_that_lies_is_sent_as_it_is_and_what_it_says_is_plain(tmp_path, data):
    with scene(tmp_path) as made:
        recording = made.lane.record("a.mp4", data)
        made.lane.run()
        [completed] = made.lane.events("file.completed")

        assert made.lane.now(recording).state is State.VERIFIED
        assert made.published() == {"a.mp4": data}
        assert all(re.fullmatch(r"[a-zA-Z0-9_/.,:+-]*", one) for one in completed["facts"].values())
        upload_id = made.lane.now(recording).upload_id
        assert upload_id is not None
        upload = made.server.store.state.get(upload_id)
        assert completed["facts"].items() <= upload.metadata.items()


@contextmanager
def impostor(pair):
    """A server that shows the certificate *pair*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept():
            raw, _ = listener.accept()
            raw.settimeout(10)
            with raw:
                try:
                    with context.wrap_socket(raw, server_side=True) as peer:
                        heard.append(peer.recv(65536))
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1], heard
        finally:
            thread.join(15)


def test_row_20_a_server_with_another_authoritys_certificate_hears_no_token(tmp_path):
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "another CA")
    with impostor(theirs.server()) as (port, heard):
        url = f"https://localhost:{port}"
        agent = transport(url, "edt_drone-1_" + "s" * 43, ca_file=ours.cert)
        with agent, pytest.raises(TransportError):
            agent.probe("n" * 16)

    assert heard == []


def test_row_20_a_certificate_of_the_right_authority_for_another_host_hears_no_token(tmp_path):
    ours = Authority(tmp_path / "ours")
    with impostor(ours.device("stolen.example")) as (port, heard):
        url = f"https://localhost:{port}"
        agent = transport(url, "edt_drone-1_" + "s" * 43, ca_file=ours.cert)
        with agent, pytest.raises(TransportError, match="certificate"):
            agent.probe("n" * 16)

    assert heard == []


def test_row_20_a_redirect_takes_no_token_elsewhere():
    asked = []

    def app(environ, start_response):
        asked.append(environ["PATH_INFO"])
        start_response(
            "307 Temporary Redirect", [("Location", "/elsewhere"), ("Content-Length", "0")]
        )
        return [b""]

    with serving(app) as server:
        agent = transport(server.address.url, "edt_drone-1_" + "s" * 43)
        with agent, pytest.raises(TransportError):
            agent.probe("n" * 16)

    assert asked == ["/v1"]
