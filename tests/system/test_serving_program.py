"""The program `ingest-server` as an operator meets it: commands, signals, exit codes."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest_server.config import DEFAULT_PATH
from ingest_server.front.address import parse_address
from tests.support.raw_http import Peer
from tests.support.shifted_clock import ShiftedClock

pytestmark = pytest.mark.slow

KEY = {"Idempotency-Key": "0123456789abcdef"}
NOBODY = 65534


def command(*arguments: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ingest_server", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **more,
    )


class Program:
    """A running `ingest-server run`, and what it says."""

    def __init__(self, *arguments: str, **more) -> None:
        self.lines: list[dict[str, Any]] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ingest_server", "run", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            **more,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.lines.append(json.loads(line) if line.startswith("{") else {"text": line})
                self._said.notify_all()

    def says(self, event: str, timeout_s: float = 20.0) -> dict[str, Any]:
        def found():
            return next((one for one in self.lines if one.get("event") == event), None)

        with self._said:
            assert self._said.wait_for(found, timeout_s), (event, self.lines)
            return found()

    @property
    def url(self) -> str:
        return self.says("server.started")["url"]

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(20)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextlib.contextmanager
def running(*arguments: str, **more):
    program = Program(*arguments, **more)
    try:
        yield program
    finally:
        program.end()


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text(
        '[server]\nlisten = "127.0.0.1:0"\ndata_dir = "data"\nthreads = 4\nstop_timeout_s = 0.3\n'
        "[limits]\nmin_free = 0\n"
    )
    return path


def token_for(device: str, config: Path) -> dict[str, str]:
    added = command("token", "add", device, "--config", str(config))
    assert added.returncode == 0, added.stderr
    return {"Authorization": f"Bearer {added.stdout.splitlines()[-1]}"}


def create(url: str, headers: dict[str, str]) -> httpx.Response:
    document = {"name": "clip.mp4", "length": 11}
    return httpx.post(f"{url}/v1/uploads", json=document, headers={**headers, **KEY})


def test_a_token_added_beside_a_running_server_is_good_at_once_and_revoked_at_once(config):
    with running("--config", str(config)) as server:
        headers = token_for("drone-1", config)
        assert create(server.url, headers).status_code == 201

        revoked = command("token", "revoke", "drone-1", "--config", str(config))

        assert revoked.returncode == 0
        assert httpx.get(f"{server.url}/v1", headers=headers).status_code == 401


def test_a_clock_that_is_set_back_lets_nobody_stay(config, tmp_path):
    clock = ShiftedClock(tmp_path / "clock")
    preload = dict(str(one).split("=", 1) for one in clock.wrap([])[1:])
    config.write_text(f"{config.read_text()}read_timeout_s = 0.5\n")
    with (
        running("--config", str(config), env={**os.environ, **preload}) as server,
        Peer(parse_address(server.url.removeprefix("http://"))) as peer,
    ):
        clock.shift(years=-1)
        peer.send(
            b"POST /v1/uploads HTTP/1.1\r\nHost: i\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10\r\n\r\n{"
        )

        assert peer.answer().status == 408


def test_a_token_is_the_last_line_of_stdout_and_nowhere_else(config):
    added = command("token", "add", "drone-1", "--config", str(config))

    assert re.fullmatch(r"edt_drone-1_[A-Za-z0-9_-]{43}\n", added.stdout)
    assert added.stdout.strip() not in added.stderr
    listed = command("token", "list", "--json", "--config", str(config))
    (found,) = json.loads(listed.stdout)
    assert (found["device"], found["last_used_at"]) == ("drone-1", None)
    database = b"".join(one.read_bytes() for one in (config.parent / "data").glob("state.db*"))
    assert added.stdout.strip().encode() not in database


def test_uploads_are_listed_with_and_without_the_server(config):
    with running("--config", str(config)) as server:
        upload_id = create(server.url, token_for("drone-1", config)).json()["id"]

        beside = command("list", "--config", str(config))

    alone = command("list", "--json", "--state", "open", "--config", str(config))
    assert upload_id in beside.stdout
    assert "0/11" in beside.stdout
    assert [one["id"] for one in json.loads(alone.stdout)] == [upload_id]


def test_sigterm_in_the_middle_of_an_upload_ends_in_time_and_seals_what_arrived(config):
    with running("--config", str(config)) as server:
        headers = token_for("drone-1", config)
        upload_id = create(server.url, headers).json()["id"]
        with Peer(parse_address(server.url.removeprefix("http://"))) as peer:
            peer.send(
                f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: {headers['Authorization']}\r\n"
                "Content-Range: bytes 0-10/11\r\nContent-Length: 11\r\n\r\nhello".encode()
            )
            while httpx.get(f"{server.url}/v1/uploads/{upload_id}", headers=headers).json()[
                "received"
            ] != [[0, 5]]:
                pass

            assert server.end() == 0

    with running("--config", str(config)) as server:
        status = httpx.get(f"{server.url}/v1/uploads/{upload_id}", headers=headers).json()
    assert status["received"] == [[0, 5]]


def test_ctrl_c_ends_it_like_sigterm(config):
    with running("--config", str(config)) as server:
        server.says("server.started")

        assert server.end(signal.SIGINT) == 0


def test_sighup_takes_over_what_can_change_and_names_what_cannot(config):
    with running("--config", str(config)) as server:
        server.says("server.started")
        headers = token_for("drone-1", config)
        text = config.read_text().replace("threads = 4", "threads = 5")
        config.write_text(text + "max_length = 10\n[retention]\npublished_days = 30\n")

        server.process.send_signal(signal.SIGHUP)

        assert server.says("config.reloaded")["needs_restart"] == ["[server] threads"]
        assert create(server.url, headers).json()["code"] == "too-large"


def test_sighup_keeps_the_old_configuration_where_the_new_one_is_wrong(config):
    with running("--config", str(config)) as server:
        server.says("server.started")
        config.write_text(config.read_text() + 'max_length = "lots"\n')

        server.process.send_signal(signal.SIGHUP)

        assert "[limits] max_length" in server.says("config.rejected")["error"][0]
        assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_systemd_is_told_of_readiness_and_of_the_stop(config, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        environ["WATCHDOG_USEC"] = "300000"
        with running("--config", str(config), env=environ) as server:
            assert manager.recv(1000).startswith(b"READY=1\nSTATUS=listening on 127.0.0.1:")
            assert manager.recv(1000) == b"WATCHDOG=1"
            server.end()
        said = []
        manager.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(manager.recv(1000))

    assert any(one.startswith(b"STOPPING=1") for one in said)


def test_a_server_that_leaves_serves_on_until_a_balancer_has_seen_it(config):
    config.write_text(config.read_text().replace("[server]\n", "[server]\ndrain_s = 3600\n", 1))
    with running("--config", str(config)) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/readyz").text == "ok\n"
        server.process.send_signal(signal.SIGTERM)
        server.says("server.leaving")
        left, served = client.get("/readyz"), create(server.url, {})

        assert (left.status_code, left.text) == (503, "stopping\n")
        assert left.headers["Connection"] == "close"
        assert served.status_code in {201, 401}
        assert server.end() == 0, "a second signal ends the wait"


@pytest.mark.parametrize("arguments", [("run",), ("token", "list"), ("list",)])
def test_a_wrong_configuration_is_exit_78_and_no_traceback(tmp_path, arguments):
    path = tmp_path / "server.toml"
    path.write_text("[server]\nthread = 5\n")

    ended = command(*arguments, "--config", str(path))

    assert ended.returncode == 78
    assert ended.stderr == (
        f"ingest-server: {path}: there is no key [server] thread; did you mean [server] threads?\n"
    )


@pytest.mark.parametrize(
    "setting",
    [
        '[tls]\ncert_file = "no.pem"\nkey_file = "no.key"\n',
        '[hooks]\nbefore_publish = "no_such_module:function"\n',
    ],
)
def test_a_setting_that_names_what_is_not_there_is_exit_78(config, setting):
    config.write_text(config.read_text() + setting)

    ended = command("run", "--config", str(config))

    assert ended.returncode == 78
    [line] = map(json.loads, ended.stderr.splitlines())
    assert (line["event"], line["level"]) == ("program.failed", "error")
    assert line["detail"].startswith("[")


def test_a_port_in_use_is_exit_1_and_one_sentence(config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"

        ended = command("run", "--config", str(config), "--listen", listen)

    assert ended.returncode == 1
    assert f"Cannot listen on {listen}: another program listens there" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_server_on_the_same_folder_is_refused(config):
    with running("--config", str(config)) as server:
        server.says("server.started")

        ended = command("run", "--config", str(config))

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_a_wrong_device_is_exit_2(config):
    ended = command("token", "add", "Drone 1", "--config", str(config))

    assert (ended.returncode, ended.stdout) == (2, "")


def test_revoking_nobody_is_exit_1(config):
    assert command("token", "revoke", "nobody", "--config", str(config)).returncode == 1


@pytest.mark.parametrize(
    "arguments", [(), ("run",), ("token",), ("token", "add"), ("token", "revoke"), ("list",)]
)
def test_help_is_there_for_every_command(arguments):
    ended = command(*arguments, "--help")

    assert ended.returncode == 0
    assert "usage: ingest-server" in ended.stdout


def test_without_the_extra_it_says_what_to_install(config):
    program = (
        "import sys; sys.modules['falcon'] = None\n"
        "from ingest_server.cli import main\n"
        f"sys.exit(main(['run', '--config', {str(config)!r}]))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "ingest-server: falcon is not installed. Run in the project's folder: pip install '.[server]'"
    ]


def test_a_transport_without_tls_off_this_machine_is_said_loudly(config):
    with running("--config", str(config), "--listen", "0.0.0.0:0") as server:
        assert server.says("server.insecure_transport")["level"] == "warning"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_root_leaves_no_file_that_the_server_cannot_write():
    folder = Path(tempfile.mkdtemp())  # pytest's own is closed to other users
    try:
        folder.chmod(0o755)
        config = folder / "server.toml"
        config.write_text('[server]\ndata_dir = "data"\n')
        (folder / "data").mkdir()
        os.chown(folder / "data", NOBODY, NOBODY)

        added = command("token", "add", "drone-1", "--config", str(config))

        assert added.returncode == 0, added.stderr
        made = list((folder / "data").rglob("*"))
        assert made
        assert {one.stat().st_uid for one in made} == {NOBODY}
    finally:
        shutil.rmtree(folder)


def test_a_token_can_be_added_before_the_server_ever_ran(config):
    assert token_for("drone-1", config)["Authorization"].startswith("Bearer edt_drone-1_")

    with running("--config", str(config)) as server:
        server.says("server.started")


@pytest.mark.skipif(DEFAULT_PATH.exists(), reason="this machine has a configuration of its own")
def test_verify_before_the_server_ever_ran_says_so_in_one_sentence(config):
    command("token", "add", "drone-1", "--config", config)

    done = command("verify", "--config", config)

    assert done.returncode == 1
    assert "no server has run with it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_version_is_told():
    done = command("--version")

    assert done.returncode == 0
    assert re.fullmatch(r"\d+\.\d+\S*\n", done.stdout)


def test_without_a_file_the_defaults_hold_and_that_is_said(tmp_path):
    ended = command("token", "add", "drone-1", "--data-dir", str(tmp_path / "data"))

    assert ended.returncode == 0
    assert f"there is no {DEFAULT_PATH}" in ended.stderr
    assert str(tmp_path / "data") in ended.stderr
