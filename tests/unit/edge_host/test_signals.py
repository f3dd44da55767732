"""Signals are waited for, and a process that stood still has not got any."""

import os
import signal
import subprocess
import sys
import time

from tests.support.processes import wait_for

PROGRAM = """
import signal, time
from edge_host.startup import next_signal
TOLD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
print(time.monotonic() + 0.1, flush=True)
print(next_signal(TOLD, 0.1), flush=True)
print(next_signal(TOLD, 20), flush=True)
"""


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def test_a_process_that_stood_still_past_the_time_is_told_of_no_signal():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        late_s = float(child.stdout.readline())
        wait_for(lambda: state_of(child.pid) == "S", "it waits", every_s=0.001)
        os.kill(child.pid, signal.SIGSTOP)
        wait_for(lambda: time.monotonic() > late_s, "the time is over", every_s=0.01)
        os.kill(child.pid, signal.SIGCONT)
        first = child.stdout.readline()
        os.kill(child.pid, signal.SIGHUP)

        assert first == "None\n"
        assert child.stdout.readline() == f"{int(signal.SIGHUP)}\n"
