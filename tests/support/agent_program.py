"""``edge-agent`` as a person and as systemd start it, beside a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import Agent, wait_for

PROGRAM = (sys.executable, "-m", "edge_agent")
MB = 1_000_000


def run(agent: Agent, *arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, arguments[0], "--config", agent.config, *arguments[1:]]
    return subprocess.run(
        [str(one) for one in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def start(agent: Agent) -> None:
    agent.start()
    wait_for(agent.state_if_any, "the agent answers")


def recording(path: Path, length: int = MB) -> Path:
    path.write_bytes(os.urandom(length))
    return path


def events(agent: Agent) -> list[str]:
    return [str(line.get("event")) for line in agent.log()]
