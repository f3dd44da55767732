"""systemd, where it runs; in a folder that is to be a machine (an image, a container) it is only told for later."""

from __future__ import annotations

import shutil
import subprocess
from importlib import resources
from pathlib import Path

from edge_host.setup.machine import SERVICE, Machine, run

UNITS = Path("/etc/systemd/system")
_PACKAGED = (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
_TREE = Path(__file__).parents[2] / "deploy" / "systemd"
_OURS = "/opt/edge-uploader/bin/"
"""Where the units say that the programs are."""


def is_running() -> bool:
    """Return whether systemd looks after this machine."""
    return Path("/run/systemd/system").is_dir()


def is_installed() -> bool:
    return shutil.which("systemctl") is not None


def is_active(unit: str) -> bool:
    """Return whether the service runs."""
    return is_running() and _asked("is-active", unit)


def is_packaged(unit: str) -> bool:
    """Return whether a package of the system has brought *unit*."""
    return any((folder / unit).is_file() for folder in _PACKAGED)


def unit_text(unit: str, program_folder: Path) -> str:
    """Return the unit as it came with this program, which is started from *program_folder*."""
    packed = resources.files("edge_host").joinpath("units", unit)
    text = packed.read_text() if packed.is_file() else (_TREE / unit).read_text()
    return text.replace(_OURS, f"{program_folder}/")


def have_unit(machine: Machine, unit: str, program_folder: Path) -> bool:
    """Have the unit on the machine; returns whether it is another than before.

    Raises:
        SetupError: another's unit is there.
    """
    if is_packaged(unit):
        machine.say(f"  is there  {unit} (from its package)")
        return False
    return machine.file(UNITS / unit, unit_text(unit, program_folder), "its unit")


def start(machine: Machine, unit: str, *, is_changed: bool) -> None:
    """Have the service run, now and from each start of the machine on.

    Raises:
        SetupError: systemd refuses; with its words.
        OSError: that it runs is not noted.
    """
    _start(machine, unit, is_changed=is_changed or machine.was_cut_off)
    if not machine.rehearses:
        machine.finish()


def _start(machine: Machine, unit: str, *, is_changed: bool) -> None:
    if not is_installed():
        machine.say(f"      note  there is no systemd here: nothing starts {unit}")
        return
    if is_running() and is_changed and not machine.rehearses:
        run("systemctl", "daemon-reload")
    if not _asked("is-enabled", unit):
        machine.do(SERVICE, unit, f"{unit} starts with the machine", lambda: _enable(unit))
    if not is_running():
        machine.say(f"      note  systemd does not run here: {unit} starts with the machine")
    elif not is_changed and _asked("is-active", unit):
        machine.say(f"  is there  {unit} runs")
    elif machine.rehearses:
        machine.say(f"would make  {unit} runs")
    else:
        run("systemctl", "restart", unit)
        machine.say(f"      made  {unit} runs")


def stop(unit: str) -> None:
    """Stop a service and let it not start again.

    Raises:
        SetupError: systemd refuses.
    """
    if is_installed() and (_asked("is-enabled", unit) or is_active(unit)):
        run("systemctl", "disable", *(["--now"] if is_running() else []), unit)


def _enable(unit: str) -> None:
    run("systemctl", "enable", unit)


def _asked(question: str, unit: str) -> bool:
    done = subprocess.run(
        ["systemctl", "--quiet", question, unit], capture_output=True, check=False
    )
    return done.returncode == 0
