"""An environment as a device has it: the agent and what it needs, no tool of a developer.

Some libraries import others where they happen to be installed (``rich``, say), so the agent in a
developer's environment is larger than the one on a device.
"""

import subprocess
import sys
from pathlib import Path

VENV = Path(".venv-device")


def python() -> Path:
    """Return the interpreter of that environment; make it on the first call."""
    interpreter = VENV.absolute() / "bin" / "python"
    stamp = VENV / ".installed"
    project = Path("pyproject.toml")
    if stamp.exists() and stamp.stat().st_mtime >= project.stat().st_mtime:
        return interpreter
    print(f"installing the agent alone into {VENV} (once) ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[agent]"], check=True)
    stamp.touch()
    return interpreter
