"""What a request is allowed is looked at again while it runs, by the running program."""

import subprocess
import sys
from base64 import b64encode

import pytest

from ingest_server.front.address import parse_address
from tests.support.raw_http import Peer
from tests.support.secured import complete, create, put, secured
from tests.support.small_disk import small_disk
from upload_protocol.digests import Digest

pytestmark = pytest.mark.slow

BODY = bytes(range(256)) * 12_000
BEGUN = 100_000


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, protocols={"compat": ["frago"]}) as found:
        yield found


def operator(site, *arguments: object) -> None:
    config = site.folder / "server.toml"
    command = [sys.executable, "-m", "ingest_server", *arguments, "--config", config]
    subprocess.run(command, check=True, timeout=30, capture_output=True)


def native(client, **more: str) -> tuple[str, dict[str, str], bytes]:
    upload = create(client, length=len(BODY)).json()["id"]
    fields = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}", **more}
    return f"PUT /v1/uploads/{upload}/content", fields, BODY


def native_with_digest(client) -> tuple[str, dict[str, str], bytes]:
    return native(client, **{"Content-Digest": str(Digest.of(BODY))})


def tus(_client) -> tuple[str, dict[str, str], bytes]:
    fields = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(BODY)),
        "Upload-Metadata": f"filename {b64encode(b'late.mp4').decode()}",
        "Content-Type": "application/offset+octet-stream",
    }
    return "POST /files", fields, BODY


def ietf(_client) -> tuple[str, dict[str, str], bytes]:
    return "POST /files", {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?1"}, BODY


def frago(client) -> tuple[str, dict[str, str], bytes]:
    begun = {"filename": "late.mp4", "total_size": len(BODY)}
    upload = client.post("/compat/frago/upload/", json=begun).json()["upload_id"]
    fields = {
        "Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}",
        "Content-Type": "multipart/form-data; boundary=bb",
    }
    head = b'--bb\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    return f"PUT /compat/frago/upload/{upload}/", fields, head + BODY + b"\r\n--bb--\r\n"


@pytest.mark.parametrize("protocol", [native, native_with_digest, tus, ietf, frago])
def test_a_revoked_token_has_nothing_more_acknowledged_of_a_body_that_runs(site, protocol):
    token = site.token()
    line, fields, body = protocol(site.client(token))
    fields |= {"Host": "127.0.0.1", "Authorization": f"Bearer {token}"}
    fields |= {"Content-Length": str(len(body))}
    head = f"{line} HTTP/1.1\r\n" + "".join(f"{name}: {fields[name]}\r\n" for name in fields)

    with Peer(parse_address(site.server.url.removeprefix("http://"))) as peer:
        peer.send(head.encode() + b"\r\n" + body[:BEGUN])
        operator(site, "token", "revoke", "drone-1")
        peer.send_until_refused(body[BEGUN:], 1)
        answer = peer.answer()

    [upload] = site.state.page(device=None, state=None, after=None, limit=9)
    assert answer.status == 401
    assert upload.received.prefix < BEGUN + 1
    assert site.published() == {}


def test_on_a_full_disk_uploads_are_aborted_and_tokens_revoked(tmp_path):
    with small_disk(tmp_path / "disk", size="64m") as disk, secured(disk.path) as site:
        client, admin = site.device(), site.client(site.token("ops", "admin"))
        upload = create(client, length=len(BODY)).json()["id"]
        put(client, upload, BODY)
        whole = create(client, name="whole.mp4", length=5).json()["id"]
        put(client, whole, b"whole")
        disk.fill()

        refused = create(client, length=1)
        operator(site, "token", "revoke", "drone-1")
        gone = client.get(f"/v1/uploads/{upload}")
        aborted = admin.delete(f"/v1/uploads/{upload}")

        assert (gone.status_code, aborted.status_code) == (401, 200)
        assert aborted.json()["state"] == "aborted"
        assert refused.status_code in {201, 507}


def test_a_server_that_was_stopped_on_a_full_disk_starts_and_completes_what_is_whole(tmp_path):
    with small_disk(tmp_path / "disk", size="64m") as disk:
        with secured(disk.path) as site:
            token = site.token()
            client = site.client(token)
            whole = create(client, length=len(BODY)).json()["id"]
            put(client, whole, BODY)
        disk.fill()

        with secured(disk.path) as site:
            answer = complete(site.client(token), whole, BODY)

        assert answer.status_code == 200
        assert list(site.published().values()) == [BODY]
