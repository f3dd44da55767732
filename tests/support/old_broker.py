"""A broker that speaks just enough MQTT 3.1.1, and refuses MQTT 5 in the ways old brokers do."""

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Self

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14

REFUSES = b"\x20\x03\x00\x84\x00"
"""CONNACK of MQTT 5: unsupported protocol version."""
REFUSES_THE_OLD_WAY = b"\x20\x02\x00\x01"
"""CONNACK of MQTT 3.1.1: unacceptable protocol level."""
HANGS_UP = b""
SAYS_NOTHING = None


class OldBroker:
    """Every client is subscribed to what it asks for; each message comes back to its sender."""

    def __init__(
        self,
        *,
        to_v5: bytes | None = REFUSES,
        drops: Callable[[str], bool] = lambda _topic: False,
        hangs_up_on: Callable[[bytes], bool] = lambda _payload: False,
        retained: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        self.to_v5 = to_v5
        self.drops = drops
        self.hangs_up_on = hangs_up_on
        self.retained = list(retained)
        self.levels: list[int] = []
        """Protocol level of each CONNECT."""
        self.taken: list[tuple[str, bytes]] = []
        self.thrown_away: list[tuple[str, bytes]] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"

    def publish(self, topic: str, payload: bytes) -> None:
        """Send to the client that came last, as the message of another one with QoS 1."""
        for connection in self._connections[-1:]:
            connection.sendall(_message(0x32, topic, b"\x00\x07" + payload))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        topics: set[str] = set()
        with connection, connection.makefile("rb") as stream:
            try:
                while first := stream.read(1):
                    body = stream.read(_length(stream))
                    if not self._answer(connection, first[0], body, topics):
                        return
            except OSError:
                return

    def _answer(self, connection: socket.socket, first: int, body: bytes, topics: set[str]) -> bool:
        kind = first >> 4
        if kind == CONNECT:
            level = body[6]
            self.levels.append(level)
            answer = b"\x20\x02\x00\x00" if level == 4 else self.to_v5
            if answer is None:
                return True
            connection.sendall(answer)
            return level == 4
        if kind == SUBSCRIBE:
            asked = list(_filters(body))
            topics.update(asked)
            answer = body[:2] + b"\x01" * len(asked)
            connection.sendall(bytes([0x90, len(answer)]) + answer)
            for topic, payload in self.retained:
                if topic in topics:
                    connection.sendall(_message(0x31, topic, payload))
        elif kind == PUBLISH:
            return self._take(connection, first, body, topics)
        elif kind == PINGREQ:
            connection.sendall(b"\xd0\x00")
        return kind != DISCONNECT

    def _take(self, connection: socket.socket, first: int, body: bytes, topics: set[str]) -> bool:
        topic = _text(body, 0)
        at = 2 + len(topic)
        is_qos_1 = bool(first & 0x06)
        payload = body[at + 2 :] if is_qos_1 else body[at:]
        if self.hangs_up_on(payload):
            return False
        is_dropped = self.drops(topic)
        # Before whoever sent it hears of it.
        (self.thrown_away if is_dropped else self.taken).append((topic, payload))
        if is_qos_1:
            connection.sendall(b"\x40\x02" + body[at : at + 2])
        if topic in topics and not is_dropped:
            connection.sendall(_message(0x30, topic, payload))
        return True

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _message(first: int, topic: str, rest: bytes) -> bytes:
    packet = struct.pack(">H", len(topic)) + topic.encode() + rest
    return bytes([first]) + _encoded(len(packet)) + packet


def _length(stream: BinaryIO) -> int:
    length = shift = 0
    while True:
        byte = stream.read(1)[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return length
        shift += 7


def _encoded(length: int) -> bytes:
    out = bytearray()
    while True:
        length, byte = divmod(length, 128)
        out.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(out)


def _filters(body: bytes) -> Iterator[str]:
    at = 2
    while at < len(body):
        topic = _text(body, at)
        yield topic
        at += 2 + len(topic.encode()) + 1


def _text(body: bytes, at: int) -> str:
    length = struct.unpack_from(">H", body, at)[0]
    return body[at + 2 : at + 2 + length].decode()
