"""An environment as a device has it: the agent and what it needs, no tool of a developer.

Some libraries import others where they happen to be installed (``rich``, say), so the agent in a
developer's environment is larger than the one on a device.
"""

import os
import subprocess
import sys
from pathlib import Path

VENV = Path(".venv-device")
_UNIT = Path("deploy/systemd/edge-agent.service")


def python() -> Path:
    """Return the interpreter of that environment; make it on the first call."""
    interpreter = VENV.absolute() / "bin" / "python"
    stamp = VENV / ".installed"
    project = Path("pyproject.toml")
    if stamp.exists() and stamp.stat().st_mtime >= project.stat().st_mtime:
        return interpreter
    print(f"installing the agent alone into {VENV} (once) ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    pip: list[str | Path] = [
        interpreter,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", "constraints-agent.txt"]
    subprocess.run([*pip, *locked], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", "."], check=True)
    stamp.touch()
    return interpreter


def surround() -> None:
    """Give the programs started from now on what a device gives them.

    That is the environment of the unit, and byte code that was compiled when the agent was installed:
    a program that compiles itself at each start is larger as long as it runs.
    """
    for line in _UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("Environment="):
            for one in line.split("=", 1)[1].split():
                name, _, value = one.partition("=")
                os.environ[name] = value
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(VENV.absolute() / "bytecode")
    subprocess.run(
        [python(), "-c", "import edge_agent.agent, edge_agent.cli, edge_agent.operate.upload_once"],
        check=True,
    )
