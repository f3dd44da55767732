"""A broker that sends more than anybody should: the session ends, and no memory is taken for it."""

import socket
import struct
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import cast

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import MQTTErrorCode

from edge_agent.base.activity import Activity
from edge_agent.base.clock import SystemClock
from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker.heard import Connected, Ended, Reached, Received
from edge_agent.report.broker.heard_queue import MAX_UNREAD_BYTES, cost
from edge_agent.report.broker.login import read_login
from edge_agent.report.broker.mqtt_client import MAX_PACKET_BYTES, MqttClient
from edge_agent.report.broker.services import BrokerServices
from edge_agent.report.broker.session import BrokerSession
from edge_agent.report.own_run import OwnRun
from edge_agent.report.payloads import read_presence
from edge_agent.report.timing import Timing
from edge_agent.store.recordings import Store
from edge_host.mqtt_packets import Incoming, PacketRefusedError
from edge_host.mqtt_session import SessionClient
from tests.support.present import present

CONNACK = b"\x20\x03\x00\x00\x00"
CLAIMS_256_MB = b"\xff\xff\xff\x7f"
A_MESSAGE = b"\x30\x05\x00\x01x\x00y"
"""QoS 0, topic x, no properties, payload y."""


def length_of(count: int) -> bytes:
    encoded = bytearray()
    while True:
        count, low = divmod(count, 128)
        encoded.append(low | (128 if count else 0))
        if not count:
            return bytes(encoded)


@contextmanager
def broker(*answers: bytes, stays_open: bool = True):
    """Send *answers* to the first client; yield the port and the CONNECT that it sent."""
    connects: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )  # who reads nothing is full soon

        def serve():
            with listener.accept()[0] as connection:
                connection.settimeout(20)
                connects.append(connection.recv(4096))
                try:
                    for answer in answers:
                        connection.sendall(answer)
                except OSError:
                    return  # the client hung up in the middle of it
                if stays_open:
                    done.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], connects
        finally:
            done.set()
            thread.join(30)


def heard_from(port: int, *, is_v5: bool = True) -> list[object]:
    """Everything that a session hears until it ends."""
    heard: SimpleQueue[object] = SimpleQueue()
    login = read_login(MqttSettings(url=f"mqtt://127.0.0.1:{port}"), "edgeup-d")
    session = MqttClient(login, None, heard.put, is_v5=is_v5)
    session.start()
    try:
        everything = [heard.get(timeout=20)]
        while not isinstance(everything[-1], Ended):
            everything.append(heard.get(timeout=20))
        return everything
    finally:
        session.abort()
        session.join(20)


def ended(heard: list[object]) -> Ended:
    """Return what a session said last."""
    assert isinstance(heard[-1], Ended)
    return heard[-1]


def until_it_ends(client: paho.Client) -> None:
    while client.loop(10.0) is MQTTErrorCode.MQTT_ERR_SUCCESS:
        pass


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([b"\x20" + CLAIMS_256_MB], id="instead of an answer"),
        pytest.param([CONNACK, b"\x30" + CLAIMS_256_MB], id="a message"),
        pytest.param([CONNACK, b"\xd0" + CLAIMS_256_MB], id="a ping's answer"),
        pytest.param([CONNACK, b"\x30" + length_of(MAX_PACKET_BYTES + 1)], id="a byte too many"),
    ],
)
@pytest.mark.parametrize("is_v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_a_packet_over_the_limit_ends_the_session_at_its_header(answers, is_v5):
    if not is_v5:
        answers = [b"\x20\x02\x00\x00" if one == CONNACK else one for one in answers]

    with broker(*answers) as (port, _):
        end = ended(heard_from(port, is_v5=is_v5))

    assert "the broker sends a packet of" in end.reason
    assert f"the limit is {MAX_PACKET_BYTES}" in end.reason
    assert end.was_reached


def test_the_largest_packet_is_taken_whole():
    payload = bytes(MAX_PACKET_BYTES - 4)  # behind the topic and no properties
    packet = b"\x30" + length_of(MAX_PACKET_BYTES) + b"\x00\x01x\x00" + payload

    with broker(CONNACK, packet, A_MESSAGE, stays_open=False) as (port, _):
        heard = heard_from(port)

    assert [type(one) for one in heard] == [Reached, Connected, Received, Received, Ended]
    assert heard[2] == Received("x", payload)
    assert heard[3] == Received("x", b"y")


def test_a_message_that_paho_would_keep_for_its_sender_is_refused():
    with broker(CONNACK, b"\x34\x07\x00\x01x\x00\x01\x00y") as (port, _):
        end = ended(heard_from(port))

    assert end.reason == "the broker sends with QoS 2, which nobody asked for"


def test_a_broker_that_asks_on_and_reads_no_answer_is_left():
    ask = b"\x32\x06\x00\x01x\x00\x01\x00"
    client = SessionClient("", is_v5=True, most_packet_bytes=MAX_PACKET_BYTES, most_queued=100)
    client.manual_ack_set(False)  # here nobody takes the messages, and each is answered
    # Who reads nothing is full after some thousand answers, and not after a million.
    client.on_socket_open = lambda _client, _data, live: cast("socket.socket", live).setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
    )

    with broker(CONNACK, ask * 100_000) as (port, _):
        client.connect("127.0.0.1", port)
        with pytest.raises(PacketRefusedError, match="reads no answers"):
            until_it_ends(client)
        present(client.socket()).close()


def test_the_broker_is_told_the_largest_packet():
    with broker(b"\x20\x03\x00\x87\x00") as (port, connects):
        heard_from(port)

    maximum_packet_size = b"\x27" + struct.pack(">I", MAX_PACKET_BYTES)
    assert maximum_packet_size in connects[0]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 10_000])
def test_headers_are_found_however_the_bytes_are_cut(step):
    packets = [A_MESSAGE, b"\xd0\x00", b"\x30" + length_of(300) + bytes(300), A_MESSAGE]
    stream = b"".join(packets)
    incoming = Incoming(MAX_PACKET_BYTES)

    begun = sum(incoming.take(stream[at : at + step]) for at in range(0, len(stream), step))

    assert begun == len(packets)
    with pytest.raises(PacketRefusedError):
        incoming.take(b"\x30" + CLAIMS_256_MB)


def test_paho_still_reads_through_the_method_that_is_limited():
    # The one private name of paho that we depend on. Where this fails, see what its successor is.
    assert callable(vars(paho.Client)["_sock_recv"])
    assert "_sock_recv" in vars(SessionClient)


def test_a_flood_that_nobody_has_read_yet_is_not_kept(tmp_path):
    clock = SystemClock()
    store = Store.open(tmp_path / "state.db", clock=clock, boot_id="b")
    woken = threading.Semaphore(0)
    with broker(CONNACK, A_MESSAGE * 1000, stays_open=False) as (port, _):
        session = BrokerSession(
            BrokerServices(
                MqttSettings(url=f"mqtt://127.0.0.1:{port}"),
                OwnRun("d", "b", "r"),
                store,
                Activity(),
                clock,
                jitter=lambda: 0.5,
                timing=Timing(),
            ),
            wake=woken.release,
        )
        assert list(session.listen(clock.now_s())) == []
        assert session.session is not None
        assert session.session.join(20)

        heard = list(session.listen(clock.now_s()))

    store.close()
    assert isinstance(heard[-1], Ended)
    kept = [one for one in heard if isinstance(one, Received)]
    assert kept
    assert sum(cost(one) for one in kept) <= MAX_UNREAD_BYTES


def test_a_status_that_is_nested_too_deep_to_read_is_none():
    assert read_presence(b"[" * MAX_PACKET_BYTES) is None
