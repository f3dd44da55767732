"""A device on whose folder somebody records, joined to its server in virtual time."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event
from edge_agent.media.identity import identity_of
from edge_agent.send.while_recording import WhileRecording
from tests.support.lane import Scene, scene

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(8 * MIB)
BEHIND = 7 * MIB
"""What of it is old enough to be sent."""


def always(_: Recording) -> bool:
    return True


class Stage:
    """A device on whose folder somebody records."""

    def __init__(self, made: Scene) -> None:
        self.scene, self.lane, self.link = made, made.lane, made.link
        self.interface = "eth0"
        self.lane.interface = lambda: self.interface
        self.lane.restart()
        self.worker = self._worker()

    def restart(self) -> None:
        self.worker.close()
        self.lane.restart()
        self.worker = self._worker()

    def _worker(self) -> WhileRecording:
        return WhileRecording(
            self.lane.sender.shared,
            self.lane._connect,
            self.lane.folders(
                while_recording=["*.ts"], append=["*.ts"] if self.lane.appends is always else []
            ),
            way=self.lane.way,
            jitter=lambda: 0.5,
        )

    def begin(self, name: str, data: bytes = DATA) -> Recording:
        recording = self.lane.record(name, data)
        seen = self.lane.store.advance(recording, Event.SOURCE_CHANGED)
        return self.lane.store.advance(seen, Event.GREW)

    def write(self, recording: Recording, data: bytes, at: int) -> None:
        fd = os.open(recording.path, os.O_WRONLY)
        os.pwrite(fd, data, at)
        os.close(fd)

    def finish(self, recording: Recording) -> None:
        now = self.lane.now(recording)
        identity = identity_of(os.stat(now.path))
        self.lane.store.advance(now, Event.SETTLED, identity=identity)
        self.lane.run()

    def pass_steps(self, steps: int = 40, *, written: Recording | None = None) -> None:
        """Let the worker work; at *written* its recorder does, too."""
        for number in range(steps):
            if written is not None:
                os.utime(written.path, ns=(number, number))
            self.lane.clock.pass_s(self.worker.step(self.lane.clock.now_s()))

    def is_true(self, recording: Recording, name: str) -> bool:
        with open(recording.path, "rb") as file:
            return self.scene.published().get(name) == file.read()


def puts(stage: Stage) -> int:
    return stage.link.body_bytes


@contextmanager
def somebody_records(base: Path) -> Iterator[Stage]:
    """Yield a device that is joined to its server by a link of one MiB per second."""
    with scene(base) as made:
        made.link.bytes_per_s = MIB
        stage = Stage(made)
        yield stage
        stage.worker.close()
