"""The upload clients that people use: tus-js-client, tuspy, Uppy and others in a browser."""

import contextlib
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.ports import LOOPBACK, free_port
from tests.support.browser import node_with_packages
from tests.support.counting_link import CountingLink
from tests.support.processes import Server, wait_for
from tests.support.recordings import sha256
from tests.support.requirements import require, require_packages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MB = 1_000_000
MIB = 2**20
JS = Path(__file__).parent / "js"
PAGE_BLOCK = 1_000_003
IN_FLIGHT = 4 * MIB
"""What the sockets of the link and of both programs can hold at an instant."""


@pytest.fixture(scope="module")
def node():
    """Return how to run a script of ours with node and its packages, installed once."""
    return node_with_packages()


@pytest.fixture(scope="module")
def tuspy(tmp_path_factory):
    """Return a Python that has tuspy and its own dependencies, apart from ours."""
    return require_packages(tmp_path_factory.mktemp("tuspy"), "tuspy==1.1.0")


@pytest.fixture
def page_port():
    return free_port()


@pytest.fixture
def server(tmp_path, page_port):
    made = Server(
        tmp_path / "server", protocols={"cors_origins": [f"http://{LOOPBACK}:{page_port}"]}
    )
    made.start()
    yield made
    made.close()


@pytest.fixture
def link(server):
    with CountingLink(server.port) as found:
        yield found


def recording(path: Path, length: int) -> Path:
    """Make a file that no link can compress, quickly."""
    piece = hashlib.shake_256(str(length).encode()).digest(min(length, 4 * MIB))
    with path.open("wb") as file:
        for at in range(0, length, max(len(piece), 1)):
            file.write(piece[: length - at])
    return path


class Client:
    """One client program at work."""

    def __init__(self, *command) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def kill_after(self, sent: int) -> None:
        """SIGKILL once it has told that it has sent that much."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if line.startswith("sent ") and int(line.split()[1]) >= sent:
                break
        self._process.kill()
        self._process.stdout.read()
        self._process.wait()
        self._process.stdout.close()
        assert self.lines[-1].startswith("sent "), self.lines[-5:]

    def result(self, timeout_s: float = 120.0, *, is_good: bool = True) -> dict[str, Any]:
        output, _ = self._process.communicate(timeout=timeout_s)
        self.lines += output.splitlines()
        assert (self._process.returncode == 0) is is_good, self.lines[-20:]
        with contextlib.suppress(ValueError, IndexError):
            return json.loads(self.lines[-1])
        return {}


def js(node, link, token, path, **asked) -> Client:
    asked = {"endpoint": f"{link.url}/files/", "token": token, "path": str(path), **asked}
    return Client(node, JS / "tus_client.mjs", json.dumps(asked))


def py(tuspy, link, token, path, **asked) -> Client:
    asked = {
        "endpoint": f"{link.url}/files/",
        "token": token,
        "path": str(path),
        "sha256": sha256(path),
        "chunk_size": 8 * MIB,
        "memory": str(path.with_suffix(".urls")),
        **asked,
    }
    return Client(tuspy, Path(__file__).with_name("tuspy_client.py"), json.dumps(asked))


def digests(server) -> dict[str, str]:
    return {path.name: sha256(path) for path in server.published_files()}


@pytest.mark.parametrize(
    ("length", "asked"),
    [
        (0, {}),
        (1, {}),
        (5 * MB, {"plain": True}),
        (5 * MB + 1, {"chunkSize": MB}),
        (5 * MB, {"options": {"uploadDataDuringCreation": True}}),
        (5 * MB + 1, {"piped": True, "chunkSize": MB, "options": {"uploadLengthDeferred": True}}),
        (5 * MB, {"options": {"overridePatchMethod": True}}),
        (20 * MB, {"options": {"parallelUploads": 4}}),
        (300 * MB, {}),
        (300 * MB, {"options": {"parallelUploads": 4}}),
    ],
    ids=lambda value: json.dumps(value).replace('"', "") if isinstance(value, dict) else None,
)
def test_tus_js_client_uploads(node, server, link, tmp_path, length, asked):
    path = recording(tmp_path / "clip.mp4", length)

    js(node, link, server.new_token(), path, **asked).result()

    assert digests(server) == {"clip.mp4": sha256(path)}
    assert link.sent < length + 2 * MIB


def test_L4_tus_js_client_killed_goes_on_where_the_server_is(node, server, link, tmp_path):
    path = recording(tmp_path / "clip.mp4", 300 * MB)
    token, memory = server.new_token(), str(tmp_path / "urls.json")
    asked = {"memory": memory, "sha256": sha256(path)}

    for share in (60, 150, 220):
        js(node, link, token, path, **asked).kill_after(share * MB)
    result = js(node, link, token, path, **asked).result()

    assert digests(server) == {"clip.mp4": sha256(path)}
    assert result["resumed"]
    assert result["starts"][0] > 100 * MB
    assert link.sent < 300 * MB + 3 * IN_FLIGHT


def test_L4_tus_js_client_killed_with_several_connections_goes_on_with_each(
    node, server, link, tmp_path
):
    path = recording(tmp_path / "clip.mp4", 300 * MB)
    token, memory = server.new_token(), str(tmp_path / "urls.json")
    asked = {
        "memory": memory,
        "sha256": sha256(path),
        "options": {"parallelUploads": 4, "retryDelays": [100] * 20},
    }

    js(node, link, token, path, **asked).kill_after(150 * MB)
    result = js(node, link, token, path, **asked).result()

    assert digests(server) == {"clip.mp4": sha256(path)}
    assert result["resumed"]
    assert link.sent < 300 * MB + 4 * IN_FLIGHT


def test_clients_at_once_do_not_disturb_each_other(node, tuspy, server, link, tmp_path):
    lengths = [0, 1, 40 * MB, 60 * MB + 1]
    token = server.new_token()
    paths = [
        recording(tmp_path / f"{kind}-{length}.mp4", length)
        for kind in ("js", "py")
        for length in lengths
    ]

    running = [js(node, link, token, path) for path in paths[:4]]
    running += [py(tuspy, link, token, path) for path in paths[4:]]
    for client in running:
        client.result()

    assert digests(server) == {path.name: sha256(path) for path in paths}
    assert link.sent < 2 * sum(lengths) + 4 * MIB


def test_L8_tus_js_client_goes_on_over_a_killed_server(node, server, link, tmp_path):
    path = recording(tmp_path / "clip.mp4", 300 * MB)
    client = js(node, link, server.new_token(), path, options={"retryDelays": [100] * 100})
    wait_for(lambda: link.sent > 80 * MB, "80 MB are sent")

    server.kill()
    server.start()

    client.result()
    assert digests(server) == {"clip.mp4": sha256(path)}


def test_L3_tus_js_client_is_told_when_the_file_is_not_what_it_says(node, server, link, tmp_path):
    path = recording(tmp_path / "clip.mp4", MB)

    client = js(node, link, server.new_token(), path, sha256="00" * 32)

    assert client.result(is_good=False)["status"] == 460
    assert digests(server) == {}


def test_tus_js_client_terminates(node, server, link, tmp_path):
    path = recording(tmp_path / "clip.mp4", 300 * MB)

    result = js(node, link, server.new_token(), path, terminateAfter=20 * MB).result()

    assert result["terminated"]
    assert list((server.data_dir / "parts").glob("*.part")) == []
    assert digests(server) == {}


@pytest.mark.parametrize("length", [0, 1, 5 * MB + 1, 300 * MB])
def test_tuspy_uploads(tuspy, server, link, tmp_path, length):
    path = recording(tmp_path / "clip.mp4", length)

    py(tuspy, link, server.new_token(), path).result()

    assert digests(server) == {"clip.mp4": sha256(path)}
    assert link.sent < length + 2 * MIB


def test_tuspy_uploads_with_a_checksum_of_each_chunk(tuspy, server, link, tmp_path):
    path = recording(tmp_path / "clip.mp4", 20 * MB)

    py(tuspy, link, server.new_token(), path, checksum=True, chunk_size=3 * MB).result()

    assert digests(server) == {"clip.mp4": sha256(path)}


def test_L4_tuspy_killed_goes_on_where_the_server_is(tuspy, server, link, tmp_path):
    path = recording(tmp_path / "clip.mp4", 300 * MB)
    token = server.new_token()

    for share in (20, 160, 220):
        py(tuspy, link, token, path).kill_after(share * MB)
    last = py(tuspy, link, token, path)
    last.result()

    assert digests(server) == {"clip.mp4": sha256(path)}
    assert int(last.lines[0].split()[1]) >= 220 * MB
    assert link.sent < 300 * MB + 3 * IN_FLIGHT


def test_tuspy_goes_on_over_a_killed_server(tuspy, server, link, tmp_path):
    path = recording(tmp_path / "clip.mp4", 100 * MB)
    client = py(tuspy, link, server.new_token(), path, chunk_size=4 * MIB)
    wait_for(lambda: link.sent > 20 * MB, "20 MB are sent")

    server.kill()
    server.start()

    client.result()
    assert digests(server) == {"clip.mp4": sha256(path)}


def page_digest(length: int, seed: int) -> str:
    """Return the SHA-256 of what js/page.mjs makes."""
    block = xorshift(min(length, PAGE_BLOCK), seed)
    found = hashlib.sha256()
    for at in range(0, length, PAGE_BLOCK):
        found.update(block[: length - at])
    return found.hexdigest()


def xorshift(length: int, seed: int) -> bytes:
    words, x = [], seed
    for _ in range(-(-length // 4)):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        words.append(x)
    return b"".join(word.to_bytes(4, sys.byteorder) for word in words)[:length]


def browse(node, server, link, page_port, *, lengths: list[int], **more) -> dict[str, Any]:
    asked = {
        "chromium": str(require("chromium")),
        "endpoint": f"{link.url}/files/",
        "token": server.new_token(),
        "pagePort": page_port,
        "lengths": lengths,
        "timeoutMs": 90_000,
        **more,
    }
    return Client(node, JS / "browser.mjs", json.dumps(asked)).result()


@pytest.mark.parametrize(("length", "bytes_per_second"), [(8 * MB, 2 * MB), (300 * MB, 60 * MB)])
def test_uppy_survives_offline_and_reload(node, server, link, page_port, length, bytes_per_second):
    told = browse(
        node,
        *(server, link, page_port),
        lengths=[length],
        interrupt=True,
        bytesPerSecond=bytes_per_second,
    )

    assert told["finished"] == 1, told
    assert digests(server) == {"page-1.mp4": page_digest(length, 1)}
    assert told["reload"] > told["offline"] > 0
    # Neither the offline time nor the reload made it begin anew.
    assert link.sent < length + 2 * IN_FLIGHT


@pytest.mark.parametrize(
    "lengths", [[MB] * 6, [0, 1, 5 * MB + 1, 300 * MB]], ids=["many", "of all sizes"]
)
def test_uppy_uploads_several_files_at_once(node, server, link, page_port, lengths):
    told = browse(node, server, link, page_port, lengths=lengths)

    assert told["finished"] == len(lengths), told
    assert digests(server) == {
        f"page-{n}.mp4": page_digest(length, n) for n, length in enumerate(lengths, 1)
    }


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_page_of_an_allowed_origin_and_no_other_speaks_frago(
    node, tmp_path, page_port, is_allowed
):
    origin = f"http://{LOOPBACK}:{page_port}" if is_allowed else "https://app.example"
    length = 250_000
    server = Server(tmp_path / "compat", protocols={"compat": ["frago"], "cors_origins": [origin]})
    server.start()
    try:
        with CountingLink(server.port) as link:
            told = browse(
                node,
                *(server, link, page_port),
                lengths=[length],
                page="frago_page.mjs",
                endpoint=f"{link.url}/compat/frago/upload/",
            )
        found = digests(server)
    finally:
        server.close()

    data = (bytes(range(251)) * (length // 251 + 1))[:length]
    if is_allowed:
        assert told["finished"] == 1, told
        assert found == {"page.mp4": hashlib.sha256(data).hexdigest()}
    else:
        assert told["failed"] == ["TypeError: Failed to fetch"]
        assert found == {}
