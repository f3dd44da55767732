"""What telling about a device costs its link: ``python -m benchmarks.telemetry``.

A day in virtual time, of real bytes: the agent's own reporters, over TLS, to a server and a broker on this
machine; a tap between them counts both directions. The broker's keepalives go by real time, so one is
measured and the day's are added.
"""

import argparse
import logging
import shutil
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from edge_agent.report.timing import Timing
from edge_agent.store.outbox import NewEvent
from tests.support.certificates import Authority
from tests.support.clock import VirtualClock
from tests.support.mosquitto import Mosquitto
from tests.support.report_server import ReportServer
from tests.support.reporting import Reporting
from tests.support.reports import CURRENT, STATE, Reports
from tests.support.tap import Tap

HOUR_S = 3600.0
AWAITED_S = 1 / 64
"""Longest wait of a reporter that has something under way, so that it is known from all others."""
STATE_TOPIC = "v1/drone-01/state"
KEEPALIVE_S = 60
PROGRESS_S = 5.0
FILE_S = 600.0
"""So long one recording takes: 60 MB at 100 kB/s."""


@dataclass(frozen=True)
class Case:
    name: str
    is_busy: bool
    is_metered: bool
    at_most: int
    """Bytes an hour."""


CASES = (
    Case("idle, unmetered", is_busy=False, is_metered=False, at_most=20_000),
    Case("idle, metered", is_busy=False, is_metered=True, at_most=20_000),
    Case("uploading, metered", is_busy=True, is_metered=True, at_most=200_000),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="default: 24")
    parser.add_argument("--dir", type=Path, default=Path("var/telemetry"))
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print("| what | kB an hour | at most |\n|---|---|---|", flush=True)
    is_kept = True
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        authority = Authority(folder / "ca")
        for number, case in enumerate(CASES):
            for way, measure in (("server", over_http), ("broker", over_mqtt)):
                used = measure(folder / f"{way}-{number}", authority, case, chosen.hours)
                per_hour = used / chosen.hours
                is_kept &= per_hour <= case.at_most
                row = f"{per_hour / 1000:.1f} | {case.at_most / 1000:.0f}"
                print(f"| {case.name}, to the {way} | {row} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_kept else 1


def over_http(folder: Path, authority: Authority, case: Case, hours: float) -> float:
    pair = authority.server()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    with (
        ReportServer(tls=tls) as server,
        Tap(server.port) as tap,
        Reports(folder, f"https://localhost:{tap.port}", ca_file=authority.cert) as agent,
    ):
        live(agent, agent.clock, agent.step, case, hours)
        return tap.bytes


def over_mqtt(folder: Path, authority: Authority, case: Case, hours: float) -> float:
    pair = authority.server()
    login: dict[str, Any] = {"ca_file": authority.cert, "timing": Timing(poll_s=AWAITED_S)}
    clock = VirtualClock()
    with (
        Mosquitto(folder / "broker", certificate=(pair.cert, pair.key)) as broker,
        Tap(broker.port) as tap,
    ):
        url = f"mqtts://localhost:{tap.port}"
        ping = keepalive_bytes(folder / "ping", tap, url, login)
        before, seen = tap.bytes, broker.log().count(STATE_TOPIC)
        with Reporting(folder / "day", url, clock=clock, **login) as agent:

            def step() -> float:
                give_up_s = time.monotonic() + 5.0  # the broker knows nothing of virtual time
                while (wait_s := agent.reporter.step(clock.now_s())) <= AWAITED_S:
                    if time.monotonic() > give_up_s:
                        break
                    time.sleep(0.004)
                return wait_s

            give_up_s = time.monotonic() + 30.0  # it connects in real time
            while broker.log().count(STATE_TOPIC) == seen and time.monotonic() < give_up_s:
                step()
            live(agent, clock, step, case, hours)
            used = tap.bytes - before
    return used + ping * hours * HOUR_S / KEEPALIVE_S


def keepalive_bytes(folder: Path, tap: Tap, url: str, login: dict[str, Any]) -> int:
    """Return what one question whether the broker is there costs, and its answer."""
    with Reporting(folder, url, keepalive_seconds=5, **login) as agent:
        agent.drive_for(1.0)
        before = tap.bytes
        time.sleep(8.0)
        return tap.bytes - before


def live(
    agent: Reports | Reporting,
    clock: VirtualClock,
    step: Callable[[], float],
    case: Case,
    hours: float,
) -> None:
    """Let a day pass: while something is sent, progress each five seconds, a recording each ten minutes."""
    link = {**STATE["link"], "metered": case.is_metered, "iface": "wwan0"}
    agent.state = {**STATE, "link": link}
    began_s = clock.now_s()
    done = 0
    while (lived_s := clock.now_s() - began_s) < hours * HOUR_S:
        if case.is_busy:
            if int(lived_s // FILE_S) > done:
                done += 1
                agent.store.outbox.tell(*events_of(f"{done:032x}", f"DJI_{done:04}.MP4"))
            send(agent, done, lived_s % FILE_S / FILE_S)
        wait_s = step()
        clock.pass_s(max(0.5, min(wait_s, PROGRESS_S) if case.is_busy else wait_s))


def events_of(file_id: str, name: str) -> list[NewEvent]:
    """Return what is told of one recording from its end to its removal."""
    about = {"file_id": file_id, "name": name, "folder": "DCIM/100MEDIA", "length": 4123456789}
    receipt = {
        "digest": f"sha-256=:{'x' * 43}=:",
        "upload_id": file_id,
        "published_as": f"drone-01/2026-11-29/{name}",
        "duration_s": 600.123,
        "bytes_resent": 0,
        "attempts": 1,
        "source_gone": False,
        "supersedes": None,
        "facts": {
            "duration_s": "600.040",
            "codecs": "h264,aac",
            "dimensions": "3840x2160",
            "captured_at": "2026-11-29T10:00:00Z",
            "location": "+48.1374+011.5755",
        },
    }
    return [
        NewEvent("file.discovered", {**about, "supersedes": None}, subject=file_id),
        NewEvent("file.started", about, subject=file_id),
        NewEvent("file.completed", {**about, **receipt}, subject=file_id),
        NewEvent("file.deleted_locally", about, subject=file_id),
    ]


def send(agent: Reports | Reporting, done: int, part: float) -> None:
    length = int(str(CURRENT["length"]))
    current = {
        **CURRENT,
        "file_id": f"{done:032x}",
        "name": f"DJI_{done:04}.MP4",
        "acknowledged": int(part * length),
        "percent": round(100 * part, 1),
    }
    totals = {**STATE["totals"], "files_done": done}
    agent.change(state="uploading", current=current, totals=totals)


if __name__ == "__main__":
    sys.exit(main())
