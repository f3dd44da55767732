"""A real mosquitto on loopback that can be stopped, killed and started again on the same port."""

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from demo.ports import free_port
from tests.support.mqtt_contract import violations
from tests.support.requirements import require


class Mosquitto:
    """The broker; use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        acl: str | None = None,
        max_packet_bytes: int | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.program = require("mosquitto")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._certificate = certificate
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence false",
            "user root",
            "log_type all",
        ]
        if users is None:
            lines.append("allow_anonymous true")
        else:
            lines += ["allow_anonymous false", f"password_file {self._passwords(users)}"]
        if acl is not None:
            self.acl_file = folder / "acl"
            self.set_acl(acl)
            lines.append(f"acl_file {self.acl_file}")
        if max_packet_bytes is not None:
            lines.append(f"max_packet_size {max_packet_bytes}")
        if certificate is not None:
            lines += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def _passwords(self, users: Mapping[str, str]) -> Path:
        path = self.folder / "passwords"
        path.write_text("")
        path.chmod(0o600)
        for name, password in users.items():
            subprocess.run(
                [require("mosquitto_passwd"), "-b", path, name, password],
                check=True,
                capture_output=True,
                timeout=10,
            )
        return path

    def set_acl(self, acl: str) -> None:
        self.acl_file.write_text(acl)
        self.acl_file.chmod(0o600)

    def reload(self) -> None:
        """Read users and rules again, as ``systemctl reload mosquitto`` does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    @property
    def url(self) -> str:
        scheme = "mqtt" if self._certificate is None else "mqtts"
        host = "127.0.0.1" if self._certificate is None else "localhost"
        return f"{scheme}://{host}:{self.port}"

    def start(self) -> None:
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-c", self.folder / "mosquitto.conf"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self._process.poll() is None, self.log()
                threading.Event().wait(0.025)
            else:
                return
        raise TimeoutError(self.log())

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process without closing anything: a broker that says nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=10)
            self._process = None

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def serve(client: paho.Client) -> Callable[[], None]:
    """Begin a thread for what comes and goes; return what disconnects and ends it.

    paho's own ``loop_stop`` asks its thread's name twice, and fails if the thread ends between.
    """
    thread = threading.Thread(target=client.loop_forever, daemon=True)
    thread.start()

    def stop() -> None:
        client.disconnect()
        thread.join(20)
        assert not thread.is_alive()

    return stop


Seen = list[tuple[str, bytes, bool]]
"""``(topic, payload, is_retained)`` of what an operator would see."""


@contextmanager
def listening(
    broker: Mosquitto, seen: Seen, topic: str = "edgeup/#", **login: str
) -> Iterator[paho.Client]:
    """Collect what an operator would see; at the end each is held to its schema."""
    subscribed, ended = threading.Event(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
    if login:
        client.username_pw_set(login["username"], login["password"])
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_disconnect = lambda *_: ended.set()
    client.on_message = lambda _c, _u, message: seen.append(
        (message.topic, bytes(message.payload), bool(message.retain))
    )
    client.connect("127.0.0.1", broker.port)
    stop = serve(client)
    try:
        # QoS 0: mosquitto holds back what is beyond its window of QoS 1, and a kill would lose it.
        client.subscribe(topic, qos=0)
        assert subscribed.wait(20)
        yield client
    finally:
        if not broker.is_running:  # what it sent before it died still lies in the socket
            ended.wait(20)
        stop()
    wrong = [one for where, payload, _ in seen for one in violations(where, payload)]
    assert not wrong, wrong
