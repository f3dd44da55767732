"""`setup` of both programs, on a machine of its own: one command each, and back."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.support.machine_root import MachineRoot, machine_root
from tests.support.processes import wait_for
from tests.support.requirements import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MEDIA = "/home/pi/Videos"


@pytest.fixture
def machine(tmp_path):
    with machine_root(tmp_path / "machine") as one:
        yield one


def recorder_with_a_closed_home(machine: MachineRoot) -> None:
    machine.run("useradd", "--create-home", "pi")
    script = f"mkdir -p {MEDIA}/trip && echo one > {MEDIA}/a.mp4 && echo two > {MEDIA}/trip/b.mp4"
    machine.run(
        "sh",
        "-c",
        f"{script} && chmod 600 {MEDIA}/trip/b.mp4 && chown -R pi:pi /home/pi && chmod 700 /home/pi",
    )


def device_line(said: str) -> tuple[str, list[str]]:
    """Return the claim and the arguments of the line that the server's setup printed."""
    found = re.search(r"echo (\S+) \| edge-agent (setup .*)", said)
    assert found is not None, said
    claim, line = found.groups()
    return claim, [*shlex.split(line)[:-1], MEDIA]


def facts(folder: Path) -> dict[str, object]:
    """Return what of the files below *folder* must be as before: modes, owners, access lists."""
    found: dict[str, object] = {}
    for one in (folder, *sorted(folder.rglob("*"))):
        status = one.lstat()
        lists = {name: os.getxattr(one, name) for name in os.listxattr(one) if "acl" in name}
        found[str(one.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_gid, lists)
    return found


def of_ours(machine: MachineRoot) -> set[str]:
    """Return what is in the system's folders that is ours."""
    etc = machine.files / "etc"
    return {
        str(one.relative_to(etc))
        for one in etc.rglob("*")
        if "edge-" in str(one.relative_to(etc)) or "ingest-server" in one.name
    }


def test_two_commands_bring_a_file_out_of_a_closed_home_and_two_more_leave_the_machine_as_it_was(
    machine,
):
    require("openssl")
    recorder_with_a_closed_home(machine)
    machine.run("mkdir", "-m", "700", "/var/lib/edge-agent")  # by somebody who tried it as root
    home, data = machine.files / "home/pi", machine.files / "var/lib/edge-uploader/server"
    before = facts(home)

    said = machine.program("ingest_server", "setup", "--name", "localhost")
    log = machine.start("ingest-server", "ingest_server", "run")
    wait_for(lambda: "server.started" in log.read_text(), "the server runs", 30)
    claim, arguments = device_line(said)
    first = machine.program("edge_agent", *arguments, input_=claim)
    again = machine.program("edge_agent", *arguments)
    machine.start(
        "edge-agent",
        "edge_agent",
        "run",
        "--set",
        "watch.fallback_settle_seconds=1",
        "--set",
        "watch.settle_seconds=1",
    )

    def recordings() -> list[Path]:
        return list((data / "published").rglob("*.mp4"))

    wait_for(lambda: len(recordings()) == 2, "both are there", 60)
    machine.stop()
    # What a setup leaves that is killed at the wrong moment.
    machine.run("setpriv", "--reuid=pi", "--clear-groups", "touch", f"{MEDIA}/.edge-agent-trial")
    machine.run("mkdir", "/etc/edge-uploader/ca/.making")
    machine.run("touch", "/etc/edge-uploader/ca/.making/server.key")
    machine.program("edge_agent", "setup", "--undo")
    machine.program("ingest_server", "setup", "--undo")

    assert " made  " in first
    assert " made  " not in again
    assert claim not in first + again
    assert facts(home) == before
    assert of_ours(machine) == {
        f"edge-uploader{one}" for one in ("", "/ca", "/ca/ca.crt", "/ca/ca.key")
    }
    assert len(recordings()) == 2


def test_what_an_option_gave_the_service_is_taken_from_it_by_the_opposite_one(machine):
    require("openssl")
    machine.run("mkdir", "-p", "/srv/recordings")
    units = machine.files / "etc/systemd/system"
    server, agent = units / "ingest-server.service.d", units / "edge-agent.service.d"
    machine.program("ingest_server", "setup", "--name", "localhost", "--port", "443")
    low = (server / "setup.conf").read_text()
    said = machine.program("ingest_server", "setup", "--name", "localhost", "--port", "8443")
    log = machine.start("ingest-server", "ingest_server", "run")
    wait_for(lambda: "server.started" in log.read_text(), "the server runs", 30)
    claim, arguments = device_line(said)
    (machine.files / "etc/edge-uploader/server.pem").unlink()
    machine.program("ingest_server", "setup", "--renew")
    noted = (machine.files / "var/lib/edge-uploader/setup/server.json").read_text()
    machine.program(
        "edge_agent", *arguments[:-1], "/srv/recordings", "--read-everything", input_=claim
    )
    all_files = (agent / "media.conf").read_text()

    rehearsed = machine.program("edge_agent", "setup", "--no-read-everything", "--dry-run")
    assert (agent / "media.conf").exists()
    again = machine.program("edge_agent", "setup", "--no-read-everything")

    machine.run("mkdir", "/srv/no-lists")
    machine.run("mount", "-t", "ramfs", "-o", "mode=700", "ramfs", "/srv/no-lists")
    without_lists = machine.program("edge_agent", "setup", "--folder", "/srv/no-lists", code=1)
    machine.run("groupadd", "readers")
    machine.run("usermod", "-aG", "readers", "edge-agent")
    machine.run("chgrp", "readers", "/srv/no-lists")
    machine.run("chmod", "750", "/srv/no-lists")
    machine.program("edge_agent", "setup", "--folder", "/srv/no-lists")

    assert "its file system (ramfs) takes no access lists. Where the folder comes" in without_lists
    assert "unfinished" not in noted
    assert "CAP_NET_BIND_SERVICE" in low
    assert list(server.iterdir()) == []
    assert "CAP_DAC_READ_SEARCH" in all_files
    assert list(agent.iterdir()) == []
    assert f"would remove  /{(agent / 'media.conf').relative_to(machine.files)}" in rehearsed
    assert "   removed  /etc/systemd/system/edge-agent.service.d/media.conf" in again


def test_who_is_not_root_is_told_what_a_rehearsal_cannot_see(machine):
    require("openssl")
    nobody = (
        "setpriv",
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        sys.executable,
        "-m",
    )

    before = machine.run(*nobody, "ingest_server", "setup", "--dry-run")
    # Of an earlier installation its group is left; and this is a system without systemd's way to make users.
    machine.run("groupadd", "--system", "ingest-server")
    machine.run("rm", "-f", "/usr/bin/systemd-sysusers")
    machine.program("ingest_server", "setup", "--name", "localhost")
    rehearsed = machine.program("ingest_server", "setup", "--dry-run")
    refused = machine.run(*nobody, "ingest_server", "setup", "--dry-run", code=1)
    shown = machine.run(*nobody, "ingest_server", "setup", "--show")

    assert "what only root can see counts as not there" in before
    assert "would make  /etc/edge-uploader/server.toml" in before
    assert "  is there  /etc/edge-uploader/claim-token" in rehearsed
    assert "would make" not in rehearsed
    assert "run this as root (sudo). --dry-run changes nothing then either." in refused
    assert "[server]" in shown


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_cut_at_any_line_is_gone_on_from_and_leaves_nothing_behind(machine):
    require("openssl")
    recorder_with_a_closed_home(machine)
    home = machine.files / "home/pi"
    before = facts(home)
    cut_off_at_each_line(machine, "ingest_server", ("setup", "--name", "localhost"))
    said = machine.program("ingest_server", "setup", "--name", "localhost")
    log = machine.start("ingest-server", "ingest_server", "run")
    wait_for(lambda: "server.started" in log.read_text(), "the server runs", 30)
    claim, arguments = device_line(said)

    cut_off_at_each_line(machine, "edge_agent", arguments, claim)
    machine.stop()
    machine.program("edge_agent", "setup", "--undo")
    machine.program("ingest_server", "setup", "--undo")

    assert " made " not in said
    assert facts(home) == before
    assert of_ours(machine) == {
        f"edge-uploader{one}" for one in ("", "/ca", "/ca/ca.crt", "/ca/ca.key")
    }


def cut_off_at_each_line(machine, module, arguments, claim=""):
    """Run a setup again and again, killed after its first line, its second, ..., until it is through."""
    for lines in range(1, 60):
        one = machine.begin(module, *arguments, input_=claim)
        printed = [one.stdout.readline() for _ in range(lines)]
        if not printed[-1]:
            assert one.wait() == 0, printed
            return
        one.kill()
        one.wait()
    pytest.fail("it does not come to its end")


@pytest.mark.nightly
def test_a_device_takes_no_other_authority_and_a_card_of_its_name_needs_a_token(machine):
    require("openssl")
    machine.run("mkdir", "-p", "/srv/recordings")
    said = machine.program("ingest_server", "setup", "--name", "localhost")
    log = machine.start("ingest-server", "ingest_server", "run")
    wait_for(lambda: "server.started" in log.read_text(), "the server runs", 30)
    claim, arguments = device_line(said)
    arguments = [*arguments[:-1], "/srv/recordings", "--device-id", "cam-1"]
    false = ["0" * 64 if re.fullmatch("[0-9a-f]{64}", one) else one for one in arguments]

    refused = machine.program("edge_agent", *false, input_=claim, code=1)
    assert "another fingerprint" in refused
    assert not (machine.files / "etc/edge-uploader/agent.toml").exists()
    assert "/v1/claim" not in log.read_text()

    machine.program("edge_agent", *arguments, input_=claim)
    (machine.files / "var/lib/edge-agent/token").unlink()
    (machine.files / "etc/machine-id").write_text("another card\n")
    again = machine.program("edge_agent", *arguments, input_=claim, code=1)
    assert "ingest-server token add cam-1" in again
    token = machine.program("ingest_server", "token", "add", "cam-1").splitlines()[-1]
    assert "token; the server knows it as cam-1" in machine.program(
        "edge_agent", *arguments, input_=token
    )
    other = machine.program("edge_agent", *arguments[:-1], "cam-2", code=1)
    assert "holds the token of cam-1" in other


def test_a_second_setup_takes_the_data_elsewhere_and_a_disk_that_is_roots_becomes_the_servers(
    machine,
):
    require("openssl")
    machine.run("mkdir", "-p", "/srv/disk/lost+found", "/srv/others/of somebody")
    machine.run("touch", "/srv/file")
    first = machine.program("ingest_server", "setup", "--name", "localhost")

    refused = machine.program("ingest_server", "setup", "--data-dir", "/srv/others", code=1)
    no_folder = machine.program("ingest_server", "setup", "--data-dir", "/srv/file", code=1)
    again = machine.program(
        "ingest_server", "setup", "--name", "localhost", "--data-dir", "/srv/disk"
    )

    assert "chown -R ingest-server: /srv/others" in refused
    assert "Not made: /srv/file/: File exists" in no_folder
    assert "made  /srv/file/" not in no_folder
    assert "made  /srv/disk/ belongs to ingest-server" in again
    assert device_line(again)[0] != device_line(first)[0]
    log = machine.start("ingest-server", "ingest_server", "run")
    wait_for(lambda: "server.started" in log.read_text(), "the server runs", 30)
    assert "/srv/disk" in machine.program("ingest_server", "setup", "--show")


def test_what_the_server_does_not_take_changes_nothing_of_what_works(machine):
    require("openssl")
    machine.run("mkdir", "-p", "/srv/recordings")
    said = machine.program("ingest_server", "setup", "--name", "localhost")
    log = machine.start("ingest-server", "ingest_server", "run")
    wait_for(lambda: "server.started" in log.read_text(), "the server runs", 30)
    claim, arguments = device_line(said)
    arguments = [*arguments[:-1], "/srv/recordings", "--device-id", "cam-1"]
    token, settings, ca = (
        machine.files / one
        for one in (
            "var/lib/edge-agent/token",
            "etc/edge-uploader/agent.toml",
            "etc/edge-uploader/server-ca.crt",
        )
    )
    of_another = machine.program("ingest_server", "token", "add", "cam-9").splitlines()[-1]
    refused = machine.program("edge_agent", *arguments, input_=of_another, code=1)
    assert "The given token is of cam-9" in refused
    assert not token.exists()
    machine.program("edge_agent", *arguments, input_=claim)
    before = [one.read_bytes() for one in (token, settings, ca)]

    machine.run(
        *(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
        ),
        *("-subj", "/CN=other", "-keyout", "/srv/other.key", "-out", "/srv/other.crt"),
    )
    other_ca = machine.program("edge_agent", "setup", "--ca-file", "/srv/other.crt", code=1)
    url = next(one for one in arguments if one.startswith("https://"))
    no_ca = machine.program(
        "edge_agent", "setup", "--server", url.replace("localhost", "127.0.0.1"), code=1
    )
    again = machine.program("edge_agent", "setup")

    assert "is not accepted" in other_ca
    assert "the system does not know who signed it" in no_ca
    assert " made " not in other_ca + no_ca + again
    assert [one.read_bytes() for one in (token, settings, ca)] == before


def test_a_certificate_that_the_service_could_not_take_over_is_offered_to_it_by_the_next_renewal(
    machine,
):
    require("openssl")
    machine.program("ingest_server", "setup", "--name", "localhost")
    # systemd does not run there: what it would be asked is written down, and the first reload fails.
    machine.run("mkdir", "-p", "/run/systemd/system")
    asked = machine.files / "srv/asked"
    systemctl = machine.files / "usr/bin/systemctl"
    systemctl.unlink(missing_ok=True)
    systemctl.write_text(
        '#!/bin/sh\necho "$@" >> /srv/asked\ntest "$1" != reload || test -e /srv/takes\n'
    )
    systemctl.chmod(0o755)
    (machine.files / "etc/edge-uploader/server.pem").unlink()

    machine.program("ingest_server", "setup", "--renew", code=1)
    machine.run("touch", "/srv/takes")
    again = machine.program("ingest_server", "setup", "--renew")

    assert asked.read_text().splitlines().count("reload ingest-server.service") == 2
    assert "ingest-server.service has taken it over" in again


def test_a_given_certificate_is_tried_before_it_is_named(machine):
    require("openssl")
    common = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj")
    for one in ("a", "b"):
        machine.run(
            "openssl",
            "req",
            *common,
            f"/CN={one}",
            "-keyout",
            f"/srv/{one}.key",
            "-out",
            f"/srv/{one}.crt",
        )

    def refused(cert, key):
        options = ("--cert-file", cert, "--key-file", key)
        return machine.program("ingest_server", "setup", *options, code=1)

    assert "--cert-file: /nowhere cannot be read" in refused("/nowhere", "/srv/a.key")
    assert "--key-file: /srv/b.key is not the key of /srv/a.crt" in refused(
        "/srv/a.crt", "/srv/b.key"
    )
    assert "/srv/a.key: the user ingest-server may not read it" in refused(
        "/srv/a.crt", "/srv/a.key"
    )
    assert not (machine.files / "etc/edge-uploader/server.toml").exists()
    machine.run("chgrp", "ingest-server", "/srv/a.key")
    machine.run("chmod", "640", "/srv/a.key")
    said = machine.program(
        "ingest_server", "setup", "--cert-file", "/srv/a.crt", "--key-file", "/srv/a.key"
    )
    assert "edge-agent setup --server" in said
