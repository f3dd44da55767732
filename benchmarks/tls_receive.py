"""What it costs to receive over TLS, way by way: ``python -m benchmarks.tls_receive``.

Each way receives the same bytes from a process of its own and computes SHA-256 of each MiB, as the
server does. Rounds are interleaved. Counted is the CPU time of the receiver only, which a busy
machine changes less than the speed.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.load_client import INSTALL_OPENSSL
from benchmarks.machine import GB, MB, describe
from demo.ports import LOOPBACK
from ingest_server.front.tls import TlsFiles, server_context
from tests.support.certificates import Authority, Pair

PIECE_BYTES = 1024 * 1024
BLOCK_BYTES = 256 * 1024
TIMEOUT_S = 60.0

Receive = Callable[[memoryview], int]


class Way(ABC):
    """One way to receive over a connection."""

    name: str

    @abstractmethod
    def begin(self, connection: socket.socket, context: ssl.SSLContext) -> Receive:
        """Shake hands; return what waits for bytes and then takes all that are there."""


class Undecrypted(Way):
    name = "nothing is decrypted"

    def begin(self, connection: socket.socket, context: ssl.SSLContext) -> Receive:
        secured = context.wrap_socket(connection, server_side=True)
        return lambda piece: socket.socket.recv_into(secured, piece)


class Ours(Way):
    name = "the server's `TlsSocket`"

    def begin(self, connection: socket.socket, context: ssl.SSLContext) -> Receive:
        secured = context.wrap_socket(connection, server_side=True)
        secured.settimeout(TIMEOUT_S)
        return secured.recv_into


class FromMemory(Way):
    """Few calls of the kernel; a record is then copied twice more."""

    name = "`ssl.MemoryBIO`, 256 KiB a read"

    def begin(self, connection: socket.socket, context: ssl.SSLContext) -> Receive:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(BLOCK_BYTES))
        connection.sendall(outgoing.read())
        block = memoryview(bytearray(BLOCK_BYTES))

        def receive(piece: memoryview) -> int:
            got = 0
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    while got < len(piece):
                        count: int = secured.read(len(piece) - got, piece[got:])  # type: ignore[assignment] # into it
                        got += count
                    return got
                try:
                    flags = socket.MSG_DONTWAIT if got else 0
                    count = connection.recv_into(block, BLOCK_BYTES, flags)
                except BlockingIOError:
                    return got
                incoming.write(block[:count])

        return receive


WAYS = (Undecrypted(), Ours(), FromMemory())
IN_C = (
    ("a C program, `SSL_read`", 0),
    ("a C program, 256 KiB a read", BLOCK_BYTES),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls_receive", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument("--megabytes", type=int, default=200, help="of a connection; default: 200")
    parser.add_argument("--dir", type=Path, default=Path("var/bench-tls"))
    chosen = parser.parse_args()
    folder, total = chosen.dir.absolute(), chosen.megabytes * MB
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        print(f"{describe(folder)}; {ssl.OPENSSL_VERSION}; load {os.getloadavg()[0]:.1f}\n")
        authority = Authority(folder / "ca")
        keys = authority.server()
        program = _compiled(folder)
        found: dict[str, list[float]] = {}
        for _ in range(chosen.rounds):
            for connections in (1, 4):
                for way in WAYS:
                    name = f"{way.name}, {connections} {'connections' if connections > 1 else 'connection'}"
                    used_s = _received(way, authority, keys, total, connections)
                    found.setdefault(name, []).append(used_s / (connections * total / GB))
            for name, ahead in IN_C:
                if program is None:
                    continue
                used_s = _received_in_c(program, authority, keys, total, ahead)
                found.setdefault(name, []).append(used_s / (total / GB))
        print("| way | CPU s/GB |\n|---|---|")
        for name, values in found.items():
            middle = statistics.median(values)
            print(f"| {name} | {middle:.2f} ({min(values):.2f} to {max(values):.2f}) |")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _received(way: Way, authority: Authority, keys: Pair, total: int, connections: int) -> float:
    """Return the CPU seconds that this process uses to receive *total* bytes over each connection."""
    context = server_context(TlsFiles(keys.cert, keys.key))
    listening = socket.create_server((LOOPBACK, 0))
    port = listening.getsockname()[1]
    senders = [_sender(port, authority) for _ in range(connections)]
    sockets = [listening.accept()[0] for _ in senders]
    receivers = [way.begin(one, context) for one in sockets]
    threads = [threading.Thread(target=_take, args=(one, total)) for one in receivers]
    used_before_s = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used_s = time.process_time() - used_before_s
    for sender in senders:
        sender.terminate()
        sender.join()
    for one in (listening, *sockets):
        one.close()
    return used_s


def _take(receive: Receive, total: int) -> None:
    piece, done = memoryview(bytearray(PIECE_BYTES)), 0
    while done < total:
        got = receive(piece)
        if not got:
            raise RuntimeError("the sender has gone")
        hashlib.sha256(piece[:got])
        done += got


def _received_in_c(
    program: Path, authority: Authority, keys: Pair, total: int, ahead: int
) -> float:
    command: list[str | Path] = [program, keys.cert, keys.key, str(total), str(ahead)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        sender = _sender(int(receiver.stdout.readline()), authority)
        used_s = float(receiver.stdout.readline())
        sender.terminate()
        sender.join()
    return used_s


def _sender(port: int, authority: Authority) -> BaseProcess:
    sender = get_context("fork").Process(target=_send, args=(port, authority.client_context()))
    sender.start()
    return sender


def _send(port: int, context: ssl.SSLContext) -> None:
    block = os.urandom(PIECE_BYTES)
    with socket.create_connection((LOOPBACK, port)) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=LOOPBACK) as secured:
                while True:
                    secured.sendall(block)
        except OSError:
            return  # the receiver has enough


def _compiled(folder: Path) -> Path | None:
    program = folder / "tls_receive"
    source = Path(__file__).with_suffix(".c")
    command: list[str | Path] = ["cc", "-O2", "-Wall", "-o", program, source, "-lssl", "-lcrypto"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        print(f"left out: the C program, for want of OpenSSL's headers: {INSTALL_OPENSSL}\n")
        return None
    return program


if __name__ == "__main__":
    sys.exit(main())
