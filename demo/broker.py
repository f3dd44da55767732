"""The MQTT broker of the demo: mosquitto where it is installed, else amqtt from PyPI."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo.errors import DemoError
from demo.ports import LOOPBACK

_LOCKED = Path("constraints-broker.txt")
"""amqtt and what it brings along, by hash; of the versions that the programs use."""


@dataclass(frozen=True, slots=True)
class Broker:
    """How to start a broker."""

    name: str
    command: tuple[str | Path, ...]


def choose(folder: Path, port: int, say: Callable[[str], None]) -> Broker:
    """Write the configuration of the broker at hand into *folder*; install one if there is none.

    Raises:
        DemoError: there is none and none can be installed.
    """
    # Debian puts it where a normal user's PATH doesn't look.
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    mosquitto = shutil.which("mosquitto", path=search)
    return _mosquitto(Path(mosquitto), folder, port) if mosquitto else _amqtt(folder, port, say)


def _mosquitto(program: Path, folder: Path, port: int) -> Broker:
    config = folder / "mosquitto.conf"
    lines = [f"listener {port} {LOOPBACK}", "allow_anonymous true", "persistence false"]
    if os.geteuid() == 0:
        # Giving up root would also give up the kernel's promise to end it with the launcher.
        lines.append("user root")
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Broker("mosquitto", (program, "-c", config))


def _amqtt(folder: Path, port: int, say: Callable[[str], None]) -> Broker:
    if importlib.util.find_spec("amqtt") is None:
        say("No mosquitto here: installing the broker amqtt into this environment (once) ...")
        _install()
    config = folder / "amqtt.yaml"
    # JSON is YAML, and needs no library to write.
    settings = {
        "listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        },
    }
    config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    program = Path(sys.executable).with_name("amqtt")
    return Broker("amqtt, MQTT 3.1.1", (program, "-c", config))


def _install() -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--retries", "2", "--no-compile"]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", str(_LOCKED)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        why = done.stderr.strip().rpartition("\n")[2] or f"pip ended with {done.returncode}"
        msg = (
            f"There is no MQTT broker on this machine, and amqtt could not be installed ({why}): install"
            " mosquitto (apt install mosquitto), or make the package index reachable, and start again."
        )
        raise DemoError(msg)
    importlib.invalidate_caches()
