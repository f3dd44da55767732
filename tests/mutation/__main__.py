"""Put small faults into the program, one at a time, and see whether a test notices.

    make mutate                                   the drawn 60; about half an hour on two cores
    python -m tests.mutation --only PART ...      the sites whose name has one of these parts in it

A fault that no test notices is a value that nobody looks at. Each one that stays is in
`survivors.txt` with its reason; the run fails if there is another, or if too many stay. A figure
that was chosen by measuring (`tuning`) is listed there and not pinned by a test.
"""

from __future__ import annotations

import argparse
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.sites import Site, sites
from tests.mutation.survivors import HARMLESS, REASONS, reasons

ROOT = Path(__file__).parents[2]
SEED = 2026
COUNT = 60
MOST_SURVIVORS = 0.10
"""Of those that change what the program does."""

_CORE = ("plan", "lane_count", "state_table")
_WATCHER = ("scan", "watched_folder", "watcher", "vanishing", "pauses", "versions")
AGENT = (
    ("unit/edge_agent/core", *(f"properties/test_{one}.py" for one in _CORE)),
    (
        "unit/edge_agent/send",
        *(f"unit/edge_agent/media/test_{one}.py" for one in _WATCHER),
        "scenarios/test_upload.py",
        "scenarios/test_policies.py",
        "scenarios/test_priorities.py",
        "scenarios/test_lanes.py",
    ),
)
SERVER = (
    ("unit/ingest_server/uploads", "unit/ingest_server/core"),
    (
        "unit/ingest_server/upkeep",
        "unit/ingest_server/notify",
        "properties/test_receiver_races.py",
        "contract/storage/test_two_services.py",
        "contract/native",
        "contract/tus",
        "contract/rufh",
        "system/test_metrics.py",
        "system/test_partial.py",
        "system/test_webhooks.py",
        "system/test_hooks.py",
    ),
)
PROTOCOL = (
    ("unit/upload_protocol", "properties/test_ranges.py"),
    ("unit/ingest_server/uploads", "unit/edge_agent/send", "contract/native"),
)
TARGETS = {
    "edge_agent/core/*.py": AGENT,
    "upload_protocol/*.py": PROTOCOL,
    "ingest_server/core/record.py": SERVER,
    "ingest_server/uploads/*.py": SERVER,
}
"""What is faulted, and the fast tests that should notice: those beside it, then the others."""

PATIENCE = 6.0
"""A fault that makes the tests take so many times as long as without it has been noticed."""
DID_NOT_END = "the tests did not end"


@dataclass(frozen=True, slots=True)
class Fault:
    path: Path
    site: Site
    suites: tuple[tuple[str, ...], ...]

    @property
    def beside(self) -> tuple[str, ...]:
        """The tests of the module itself: most faults need no others, and a suite takes minutes."""
        tests = f"test_{self.path.name}"
        return f"unit/{self.path.with_name(tests)}", f"properties/{tests}"


@dataclass(frozen=True, slots=True)
class Outcome:
    fault: Fault
    is_noticed: bool
    by: str
    took_s: float


def all_faults(root: Path) -> list[Fault]:
    """Return every fault of the targets, by name."""
    found = []
    for pattern, suites in TARGETS.items():
        paths = sorted(root.glob(pattern))
        if not paths:
            raise SystemExit(f"{pattern} is not there any more: say in TARGETS where it went")
        for path in paths:
            relative = path.relative_to(root)
            found += [Fault(relative, one, suites) for one in sites(path.read_bytes(), path.stem)]
    return sorted(found, key=lambda fault: fault.site.name)


def draw(faults: Iterable[Fault], seed: int, count: int) -> list[Fault]:
    return sorted(faults, key=lambda fault: fault.site.rank(seed))[:count]


class UnfitError(Exception):
    """Without any fault a test fails, so nothing can be said."""


class Copy:
    """A copy of the tree in which one fault at a time is tried."""

    def __init__(self, folder: Path, timeout_s: float | None = None) -> None:
        """*timeout_s*: for one suite; None: as long as it takes."""
        self._timeout_s = timeout_s
        folder.mkdir(exist_ok=True)
        for one in (folder, folder.parent):
            one.chmod(0o755)  # a test is another user for a while
        listed = subprocess.check_output(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT
        )
        for name in listed.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self._folder = folder

    def try_out(self, fault: Fault) -> Outcome:
        begun_s = time.monotonic()
        by = self._faulted(fault)
        if by == DID_NOT_END:  # or the machine has more to do than when the suites were timed
            again_s = PATIENCE * self.takes_s(fault.suites)
            if self._timeout_s is not None and again_s > self._timeout_s:
                self._timeout_s = again_s
                by = self._faulted(fault)
        return Outcome(fault, by is not None, by or "", time.monotonic() - begun_s)

    def _faulted(self, fault: Fault) -> str | None:
        path = self._folder / fault.path
        source = path.read_bytes()
        path.write_bytes(fault.site.put_into(source))
        try:
            return self.fails((fault.beside, *fault.suites), self._timeout_s)
        finally:
            path.write_bytes(source)

    def takes_s(self, suites: Iterable[tuple[str, ...]]) -> float:
        """Return how long the longest suite takes without a fault; there must be none to notice."""
        longest_s = 0.0
        for suite in suites:
            begun_s = time.monotonic()
            failed = self.fails((suite,), None)
            if failed is not None:
                raise UnfitError(failed)
            longest_s = max(longest_s, time.monotonic() - begun_s)
        return longest_s

    def fails(self, suites: tuple[tuple[str, ...], ...], timeout_s: float | None) -> str | None:
        """Return what failed first, None: nothing did; a suite may take *timeout_s*."""
        for suite in suites:
            there = [f"tests/{part}" for part in suite if (self._folder / "tests" / part).exists()]
            if not there:
                continue
            command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-m", "not slow"]
            command += ["-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=no", *there]
            try:
                run = subprocess.run(
                    command,
                    cwd=self._folder,
                    capture_output=True,
                    text=True,
                    timeout=timeout_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return DID_NOT_END
            if run.returncode:
                lines = run.stdout.splitlines() + run.stderr.splitlines()
                told = [line for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
                return told[0][:160] if told else f"pytest ended with {run.returncode}"
        return None


def run(faults: list[Fault], jobs: int, timeout_s: float) -> list[Outcome]:
    """Try all of them, *jobs* at a time, and say each outcome as it comes."""
    todo: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in faults:
        todo.put(fault)
    done: list[Outcome] = []

    def work(folder: Path) -> None:
        copy = Copy(folder, timeout_s)
        while True:
            try:
                fault = todo.get_nowait()
            except queue.Empty:
                return
            outcome = copy.try_out(fault)
            done.append(outcome)
            word = "killed  " if outcome.is_noticed else "SURVIVED"
            print(f"{len(done):3} {word} {outcome.took_s:5.0f} s  {fault.site.name}", flush=True)
            print(f"    {fault.path}:{fault.site.line} {outcome.by}", flush=True)

    with tempfile.TemporaryDirectory(prefix="mutation-") as base:
        folders = [Path(base) / str(number) for number in range(jobs)]
        threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if len(done) < len(faults):
        raise SystemExit(f"{len(faults) - len(done)} faults were not tried: see above")
    return done


def unfaulted_s(all_suites: Iterable[tuple[tuple[str, ...], ...]]) -> float:
    """Return how long the longest suite takes without a fault; there must be none to notice."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as base:
        copy = Copy(Path(base) / "0")
        return copy.takes_s(sorted({suite for suites in all_suites for suite in suites}))


def report(outcomes: list[Outcome]) -> int:
    """Print what survived and why; 0: no more than may, and each has its reason."""
    known = reasons()
    survivors = sorted(one.fault.site.name for one in outcomes if not one.is_noticed)
    harmless = [name for name in survivors if known.get(name) in HARMLESS]
    tuning = [name for name in survivors if known.get(name) == "tuning"]
    unlisted = [name for name in survivors if name not in known]
    telling = len(outcomes) - len(harmless)
    left = len(survivors) - len(harmless)
    share = left / max(1, telling)
    print(f"\n{len(outcomes)} faults, {len(outcomes) - len(survivors)} killed; survivors:")
    for name in survivors:
        print(f"  {known.get(name, 'NOT LISTED'):10} {name}")
    print(f"{telling} change what the program does; {left} of them survived: {share:.0%}")
    print(f"({len(tuning)} of those are tuning values; reasons: {', '.join(sorted(REASONS))})")
    return int(bool(unlisted) or share > MOST_SURVIVORS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="sites whose name holds one of these")
    parser.add_argument("--list", action="store_true", help="name the drawn sites and end")
    chosen = parser.parse_args()
    faults = all_faults(ROOT)
    if chosen.only:
        faults = [one for one in faults if any(part in one.site.name for part in chosen.only)]
    faults = draw(faults, chosen.seed, chosen.count)
    if chosen.list:
        for fault in faults:
            print(f"{fault.path}:{fault.site.line}  {fault.site.name}")
        return 0
    try:
        timeout_s = PATIENCE * unfaulted_s({fault.suites for fault in faults})
    except UnfitError as error:
        raise SystemExit(f"{UnfitError.__doc__} {error}") from None
    return report(run(faults, chosen.jobs, timeout_s))


if __name__ == "__main__":
    sys.exit(main())
