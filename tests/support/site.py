"""One device, one server, and the link between them that counts; optionally a broker."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

from demo.broker import choose
from demo.feed import Message, Operator
from demo.ports import LOOPBACK, free_port, is_listening
from tests.support.counting_link import CountingLink
from tests.support.mqtt_contract import violations
from tests.support.processes import DEVICE, Agent, Program, Server, wait_for
from tests.support.recordings import sha256


@dataclass
class Site:
    server: Server
    link: CountingLink
    agent: Agent
    hooks: Path | None = None
    """Where recorders of other users are heard, if a test has opened such a socket."""

    def published_digests(self) -> dict[str, str]:
        """Return name -> digest of all that is published; two files of one name are a failure."""
        files = self.server.published_files()
        names = [path.name for path in files]
        assert len(set(names)) == len(names), f"published twice: {sorted(names)}"
        return {path.name: sha256(path) for path in files}

    def wait_until_published(self, count: int, timeout_s: float = 60.0) -> None:
        def is_there() -> bool:
            for program in (self.server, self.agent):
                assert program.child.ended() is None, f"it ended:\n{program.end_of_log()}"
            return len(self.server.published_files()) >= count

        try:
            wait_for(is_there, f"{count} published files", timeout_s)
        except TimeoutError as error:
            error.add_note(
                f"server:\n{self.server.end_of_log()}\nagent:\n{self.agent.end_of_log()}"
            )
            raise


@contextlib.contextmanager
def site(
    folder: Path, *, server: dict[str, Any] | None = None, **agent_tables: Any
) -> Iterator[Site]:
    """A running server, a link, and an agent that is configured but not started.

    Args:
        server: what `Server` takes; the rest are the agent's tables.
    """
    ingest = Server(folder / "server", **(server or {}))
    try:
        ingest.start()
        with CountingLink(ingest.port) as link:
            agent = Agent(folder / "device", url=link.url, token=ingest.new_token(), **agent_tables)
            try:
                yield Site(ingest, link, agent)
            finally:
                agent.close()
    finally:
        ingest.close()


class Broker(Program):
    """A real broker on a free port."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        command = list(choose(folder, self.port, print).command)
        super().__init__("broker", folder, command)

    @property
    def url(self) -> str:
        return f"mqtt://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        super().start()
        wait_for(lambda: is_listening(self.port), "the broker listens")


class Listener:
    """What an operator has heard of the device so far."""

    def __init__(self, broker: Broker) -> None:
        self._queue: SimpleQueue[Message] = SimpleQueue()
        self._operator = Operator(broker.port, f"edgeup/v1/{DEVICE}", self._queue)
        self._heard: list[Message] = []

    def __enter__(self) -> Self:
        self._operator.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._operator.stop()

    def documents(self, channel: str) -> list[dict[str, Any]]:
        with contextlib.suppress(Empty):
            while True:
                message = self._queue.get_nowait()
                topic = f"edgeup/v1/{DEVICE}/{message.channel}"
                wrong = violations(topic, json.dumps(message.document).encode())
                assert not wrong, wrong
                self._heard.append(message)
        return [message.document for message in self._heard if message.channel == channel]

    def events(self, name: str | None = None) -> list[str]:
        """Return the types of the events so far, in order; of one recording if *name* is given."""
        return [
            document["type"].removeprefix("edgeup.")
            for document in self.documents("event")
            if name is None or document["data"].get("name") == name
        ]
