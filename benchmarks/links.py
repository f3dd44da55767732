"""The agent and what people use instead, over emulated bad links: `make bench-links`.

Results are kept in ``var/links`` and a run adds to them, so that a long table can be made in pieces;
``--report`` prints what there is and draws `docs/figures`. Needs root (network namespaces).
"""

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks import device, links_plot, machine
from benchmarks.linkem.emulator import build
from benchmarks.linkem.run import Run, run
from benchmarks.links_cases import Case, cases, digests, files_of
from benchmarks.links_peers import PEERS, MissingPeerError

_TRACES = "LINK_TRACES"
_FIRST_BYTES = 2_000
"""So many bytes of data make a return: more than a question, less than two packets of a file."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run."""

    case: str
    peer: str
    congestion_control: str
    seed: int
    is_complete: bool
    """Every file arrived, with every byte as it was."""
    efficiency: float
    """The files' bytes over what the link could have carried from start to end; 0: incomplete."""
    overhead: float
    """Bytes that entered the link over the files' bytes."""
    resent_bytes: int
    """Data that arrived beyond what was acknowledged: sent twice without need."""
    duration_s: float
    returns_s: list[float]
    """From each return of the link to the first data that arrived over it."""
    cpu_s: float | None
    max_rss_mib: float | None
    late_ms: float
    """How late the emulator was with a packet, on average: above 1 the machine was too busy."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.case, self.peer, self.congestion_control, self.seed)


def main() -> int:
    chosen = _chosen()
    every = cases(chosen.traces)
    store = Results(chosen.dir.absolute())
    if not chosen.report:
        picked = [every[name] for name in chosen.case or every]
        _measure(picked, chosen, store)
    store.print(every, chosen.peer or PEERS)
    if chosen.figures:
        links_plot.draw_all(every, store.folder / "series", Path("docs/figures"))
    return 0


def _chosen() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.links", description=__doc__)
    add = parser.add_argument
    add("--case", action="append", help="may be repeated; default: all")
    add("--peer", action="append", choices=PEERS, help="may be repeated; default: all")
    add(
        "--cc",
        action="append",
        choices=("cubic", "bbr", "measured"),
        help="default: cubic, and bbr for us",
    )
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], help="default: 1 2 3")
    add("--jobs", type=int, default=1, help="runs at once (default: 1)")
    add("--traces", type=Path, default=os.environ.get(_TRACES), metavar="DIR",
        help=f"recorded links, NAME.up and NAME.down (default: ${_TRACES})")  # fmt: skip
    add("--dir", type=Path, default=Path("var/links"), help="results (default: var/links)")
    add("--report", action="store_true", help="measure nothing, print what there is")
    add("--figures", action="store_true", help="draw docs/figures from what there is")
    add("--keep", action="store_true", help="keep logs and data of each run")
    chosen = parser.parse_args()
    chosen.traces = None if chosen.traces is None else Path(chosen.traces)
    for name in chosen.case or ():
        if name not in cases(chosen.traces):
            parser.error(f"no such case: {name} (there are {', '.join(cases(chosen.traces))})")
    return chosen


def _measure(picked: Sequence[Case], chosen: argparse.Namespace, store: "Results") -> None:
    build()
    device.surround()  # made by one alone
    todo: list[tuple[Case, str, str, int]] = []
    for seed in chosen.seeds:  # all of one seed first: a run that is cut short has whole rows
        for case in picked:
            for peer in chosen.peer or PEERS:
                default = ("cubic", "bbr") if peer == "edge-agent" else ("cubic",)
                todo += [(case, peer, cc, seed) for cc in chosen.cc or default]
    missing: set[str] = set()

    def measure(one: tuple[Case, str, str, int]) -> None:
        _one(*one, chosen.keep, store, missing)

    with ThreadPoolExecutor(chosen.jobs) as pool:
        for _ in pool.map(measure, todo):
            pass


def _one(
    case: Case,
    peer: str,
    cc: str,
    seed: int,
    keeps: bool,
    store: "Results",
    missing: set[str],
) -> None:
    if peer in missing:
        return
    name = f"{case.name}-{peer}-{cc}-{seed}"
    folder = store.folder / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        files = files_of(case, store.folder / "files")
        plan = PEERS[peer](folder, files, cc)
        series = store.folder / "series" / f"{name}.csv"
        series.parent.mkdir(exist_ok=True)
        report = run(
            Run(
                link=case.link,
                device=plan.device,
                server=plan.server,
                port=plan.port,
                seed=seed,
                congestion_control="bbr" if cc == "measured" else cc,  # of the kernel
                timeout_s=case.timeout_s,
                log_folder=folder,
                series=series,
                series_ms=50,
            )
        )
        arrived = digests([path for path in plan.received.rglob("*") if path.is_file()])
        is_complete = arrived == digests(files)
        rss = report.device.max_rss_kib
        store.add(
            Result(
                case.name,
                peer,
                cc,
                seed,
                is_complete,
                case.total / report.capacity_bytes if is_complete else 0.0,
                report.offered_bytes / case.total,
                report.link["payload_bytes"] - report.link["acked_bytes"],
                round(report.duration_s, 2),
                returns(links_plot.read_series(series)),
                report.device.cpu_s,
                None if rss is None else round(rss / machine.KIB, 1),
                report.link["late_mean_ms"],
            )
        )
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"{name} did not run: {error}", file=sys.stderr, flush=True)
    except MissingPeerError as error:
        missing.add(peer)
        print(f"{peer} is left out: {error}", file=sys.stderr, flush=True)
    finally:
        if not keeps:
            shutil.rmtree(folder, ignore_errors=True)


def returns(rows: Iterable[links_plot.Row]) -> list[float]:
    """Return, for each return of the link, the seconds until data arrived over it again."""
    found: list[float] = []
    was_up, back_at_s, payload = True, 0.0, 0
    is_waiting = False
    for row in rows:
        if row.is_up and not was_up:
            is_waiting, back_at_s, payload = True, row.t_s, row.payload
        elif not row.is_up:
            is_waiting = False
        if is_waiting and row.payload >= payload + _FIRST_BYTES:
            found.append(round(row.t_s - back_at_s, 2))
            is_waiting = False
        was_up = row.is_up
    return found


class Results:
    """What has been measured so far: one line of JSON each, the newest counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "results.jsonl"
        self._lock = threading.Lock()
        self._all: dict[tuple[str, str, str, int], Result] = {}
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                one = Result(**json.loads(line))
                self._all[one.key] = one

    def add(self, one: Result) -> None:
        with self._lock:
            self._all[one.key] = one
            with self._file.open("a") as out:
                out.write(json.dumps(dataclasses.asdict(one)) + "\n")
            slowest = f", slowest return {max(one.returns_s):.2f} s" if one.returns_s else ""
            state = f"{one.efficiency:.3f}" if one.is_complete else "incomplete"
            print(
                f"{one.case} {one.peer} {one.congestion_control} seed {one.seed}: {state}, overhead"
                f" {one.overhead:.3f}, {one.duration_s:.0f} s{slowest}",
                file=sys.stderr,
                flush=True,
            )

    def print(self, every: dict[str, Case], peers: Iterable[str]) -> None:
        """Print the tables of `docs/performance.md`: medians over the seeds."""
        columns = [("edge-agent", cc) for cc in ("cubic", "bbr", "measured")]
        columns += [(peer, "cubic") for peer in peers if peer != "edge-agent"]
        heads = [peer if peer != "edge-agent" else f"agent, {cc}" for peer, cc in columns]
        tables = {
            "efficiency": self._efficiency,
            "bytes on the wire / bytes of the files": self._overhead,
            "first data after the link's return, s: median (slowest)": self._returns,
        }
        for title, cell in tables.items():
            print(f"\n| {title} | {' | '.join(heads)} | to reach |")
            print("|---" * (len(heads) + 2) + "|")
            for case in every.values():
                cells = [cell(self._of(case.name, *column)) for column in columns]
                goal = case.must_reach if cell == self._efficiency else ""
                if any(cells):
                    print(f"| {case.name} | {' | '.join(cells)} | {goal} |")

    def _of(self, case: str, peer: str, cc: str) -> list[Result]:
        return [one for one in self._all.values() if one.key[:3] == (case, peer, cc)]

    def _efficiency(self, found: list[Result]) -> str:
        if not found:
            return ""
        middle = statistics.median(one.efficiency for one in found)
        return f"{middle:.2f}".removeprefix("0") if middle else "fails"

    def _overhead(self, found: list[Result]) -> str:
        whole = [one.overhead for one in found if one.is_complete]
        return f"{statistics.median(whole):.3f}" if whole else ""

    def _returns(self, found: list[Result]) -> str:
        times = [time for one in found for time in one.returns_s]
        return f"{statistics.median(times):.2f} ({max(times):.1f})" if times else ""


if __name__ == "__main__":
    sys.exit(main())
