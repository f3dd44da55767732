"""The systemd units: systemd finds nothing to say, and what they start exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import require

DEPLOY = Path(__file__).parents[2] / "deploy" / "systemd"
PROGRAMS = "/opt/edge-uploader/bin"
UNITS = ("edge-agent", "ingest-server")
MODULES = {"edge-agent": "edge_agent", "ingest-server": "ingest_server"}

EXPOSURE = {"edge-agent": 1.5, "ingest-server": 1.5}
"""Of 10, as systemd 252 counts."""


def installed(folder: Path, unit: str, *drop_ins: str) -> Path:
    """Copy *unit* to where its program exists; verify complains of one that does not."""
    program = folder / unit
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (DEPLOY / f"{unit}.service").read_text()
    path = folder / f"{unit}.service"
    path.write_text(text.replace(PROGRAMS, str(folder)))
    for name in drop_ins:
        drop_in = folder / f"{unit}.service.d" / name
        drop_in.parent.mkdir(exist_ok=True)
        drop_in.write_text((DEPLOY / name).read_text())
    return path


def said_by(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def systemd_version() -> int:
    _, said = said_by(require("systemd-analyze"), "--version")
    found = re.search(r"systemd (\d+)", said)
    assert found is not None, said
    return int(found[1])


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(unit, tmp_path):
    path = installed(tmp_path, unit)

    said = said_by(require("systemd-analyze"), "verify", "--man=no", path)

    assert said == (0, "")


def test_systemd_has_nothing_to_say_about_deleting_media(tmp_path):
    path = installed(tmp_path, "edge-agent", "read-write-media.conf")

    said = said_by(require("systemd-analyze"), "verify", "--man=no", path)

    assert said == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_the_growing_delay_is_for_a_systemd_that_knows_it(unit, tmp_path):
    analyze = require("systemd-analyze")
    path = installed(tmp_path, unit, "growing-restart.conf")

    _, said = said_by(analyze, "verify", "--man=no", path)

    if systemd_version() >= 254:
        assert said == ""
    else:
        assert "'RestartSteps'" in said, "then it belongs into the unit itself"


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_is_exposed_to_no_more_than_it_needs(unit, tmp_path):
    path = installed(tmp_path, unit)
    tenths = f"{EXPOSURE[unit] * 10:.0f}"

    code, said = said_by(
        require("systemd-analyze"),
        *("security", "--offline=yes", f"--threshold={tenths}", "--no-pager"),
        path,
    )

    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_the_started_command_and_its_options_exist(unit):
    text = (DEPLOY / f"{unit}.service").read_text()
    started = re.search(rf"^ExecStart={PROGRAMS}/{unit} (\S+) (.*)$", text, re.MULTILINE)
    assert started is not None
    command, options = started[1], re.findall(r"--[a-z-]+", started[2])

    code, said = said_by(sys.executable, "-m", MODULES[unit], command, "--help")

    assert code == 0, said
    assert options
    assert all(option in said for option in options)


@pytest.mark.parametrize("unit", UNITS)
def test_a_wrong_configuration_is_not_started_again_and_again(unit):
    text = (DEPLOY / f"{unit}.service").read_text()

    assert "RestartPreventExitStatus=78\n" in text
    assert "Restart=on-failure\n" in text


def test_the_users_of_the_units_are_made(tmp_path):
    sysusers = require("systemd-sysusers")
    (tmp_path / "etc").mkdir()

    code, said = said_by(
        sysusers, f"--root={tmp_path}", "--dry-run", DEPLOY / "edge-uploader.sysusers.conf"
    )

    assert code == 0, said
    for unit in UNITS:
        text = (DEPLOY / f"{unit}.service").read_text()
        assert f"User={unit}\n" in text
        assert f"'{unit}'" in said
