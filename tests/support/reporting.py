"""A reporter with a real store, driven by a test; as a program, one that can be killed."""

import random
import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock, SystemClock
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker.reporter import Reporter
from edge_agent.report.broker.services import BrokerServices
from edge_agent.report.command_port import CommandPort
from edge_agent.report.own_run import OwnRun
from edge_agent.report.timing import Timing
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from tests.support.orders import Orders
from tests.support.state_documents import IDLE

QUICK = Timing(
    min_gap_s=0.2,
    look_gap_s=0.02,
    interval_s=0.5,
    connect_s=5.0,
    answer_s=1.0,
    echo_s=0.5,
    backoff_base_s=0.05,
    backoff_cap_s=0.2,
    refused_base_s=0.1,
    refused_cap_s=0.4,
    stable_s=0.5,
    retry_refused_s=0.3,
    will_delay_s=1,
)

ABOUT: dict[str, Any] = {
    "version": "0.1.0",
    "host": {"model": "a board", "os": "an OS", "arch": "aarch64"},
    "commands": ["pause", "resume", "set_bandwidth", "retry_failed", "rescan", "report"],
    "settings": ["paused", "limit_bytes_per_s", "telemetry_interval_s"],
    "transports": ["mqtt"],
}


class Reporting:
    """Steps a reporter in the test's own thread, so that nothing happens unasked."""

    def __init__(
        self,
        folder: Path,
        url: str | None,
        *,
        device_id: str = "drone-01",
        boot_id: str = "boot-1",
        timing: Timing = QUICK,
        port: CommandPort | None = None,
        jitter: float | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.clock = SystemClock() if clock is None else clock
        folder.mkdir(parents=True, exist_ok=True)
        self.store = Store.open(folder / "state.db", clock=self.clock, boot_id=boot_id)
        self.activity = Activity()
        self.state = dict(IDLE)
        self.about = dict(ABOUT)
        self.settings = MqttSettings(url=url, **settings)
        self.reporter = Reporter(
            BrokerServices(
                self.settings,
                OwnRun(device_id, boot_id, run_id=secrets.token_hex(8)),
                self.store,
                self.activity,
                self.clock,
                jitter=random.Random(7).random if jitter is None else lambda: jitter,
                timing=timing,
            ),
            snapshot=lambda: self.state,
            about=lambda: self.about,
            port=port,
        )
        self._woken = threading.Event()
        self.reporter.wake_runner = self._woken.set

    @property
    def problems(self) -> frozenset[ProblemCode]:
        return self.activity.problems

    def tell(self, count: int = 1, **data: Any) -> None:
        for number in range(count):
            self.store.outbox.tell(NewEvent("file.completed", {"name": f"{number}.mp4", **data}))
        self.reporter.wake()

    def change(self, **state: Any) -> None:
        self.state = {**self.state, **state}
        self.reporter.wake()

    def drive(self, until: Callable[[], object], timeout_s: float = 15.0) -> None:
        """Step as a runner does, until *until* holds."""
        give_up_s = self.clock.now_s() + timeout_s
        while True:
            wait_s = self.reporter.step(self.clock.now_s())
            if until():
                return
            if self.clock.now_s() > give_up_s:
                raise TimeoutError(f"problems: {sorted(self.problems)}")
            self._woken.wait(min(wait_s, 0.05))
            self._woken.clear()

    def drive_for(self, seconds: float) -> None:
        end_s = self.clock.now_s() + seconds
        self.drive(lambda: self.clock.now_s() >= end_s, seconds + 5)

    def __enter__(self) -> Self:
        self.reporter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reporter.stop(3.0)
        self.store.close()


def main() -> None:
    """Report until killed: arguments are the folder, the URL, the boot id.

    With a fourth, the file of a port, it dies of the first command.
    """
    folder, url, boot_id, *more = sys.argv[1:]
    timing = replace(QUICK, interval_s=60.0)
    port = Orders(Path(more[0]), dies=True) if more else None
    with Reporting(Path(folder), url, boot_id=boot_id, timing=timing, port=port) as one:
        one.drive(lambda: False, 60.0)


if __name__ == "__main__":
    main()
