"""How the programs of the demo end."""

import contextlib
import sys
from functools import partial

from demo.children import Child, stop_all
from tests.support.processes import wait_for

ENDS = "import signal; print('up', flush=True); signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {ENDS}"
POLITE = f"import sys, signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); {ENDS}"


def _is_up(child: Child) -> bool:
    return "up" in child.last_lines()


def test_who_has_not_ended_at_its_time_is_killed_and_named(tmp_path):
    with contextlib.ExitStack() as ended:
        children = []
        for name, program in (("quick", ENDS), ("polite", POLITE), ("deaf", DEAF)):
            child = Child(name, [sys.executable, "-c", program], tmp_path / name)
            ended.callback(child.kill)
            wait_for(partial(_is_up, child), f"{name} is up")
            children.append(child)
        quick, polite, deaf = children

        killed = stop_all([(quick, 20.0), (polite, 20.0), (deaf, 0.0)])

    assert killed == ["deaf"]
    assert [one.ended() for one in children] == [-15, 7, -9]
