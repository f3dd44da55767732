"""The Debian packages on small boards' processors, emulated: installed, used, upgraded, refused and removed."""

import os
import shutil

import pytest

from tests.support.debian_roots import debian_root
from tests.support.machine_root import MachineRoot, machine_root
from tests.support.processes import wait_for
from tests.system.test_packages import AGENT, LENGTH, NEW, OLD, SERVER, SIDES, build, old_tree

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(3600)]

__all__ = ["old_tree"]


@pytest.mark.parametrize("kind", ["arm64", "armhf"])
def test_a_small_board_installs_uploads_upgrades_and_removes_them(kind, old_tree, tmp_path):
    root = debian_root(kind)
    built = build(tmp_path / "built", OLD, f"--arch={kind}", f"--tree={old_tree}")
    build(built, NEW, f"--arch={kind}")
    with machine_root(tmp_path / "board", root) as board:
        shutil.copytree(built, board.files / "packages")
        settings = by_hand_on(board)
        published = board.files / "var/lib/edge-uploader/server/published"
        start_both(board)
        wait_for(lambda: part_of(board) > LENGTH // 4, "part of it is there", 300, every_s=0.5)
        had = part_of(board)
        board.stop()

        for side in SIDES:
            board.run("sh", "-c", installed_there(NEW, side))
        assert (board.files / "etc/edge-uploader/agent.toml").read_text() == settings
        assert part_of(board) >= had
        start_both(board)
        wait_for(lambda: list(published.rglob("a.mp4")), "it is published", 300, every_s=0.5)
        sent = (board.files / "srv/recordings/a.mp4").read_bytes()
        assert next(published.rglob("a.mp4")).read_bytes() == sent

        board.stop()
        refused = board.run("sh", "-c", installed_there(OLD, "agent"), code=1)
        assert refused.count("edge-uploader-agent: ") == 1
        assert f"{NEW} is installed" in refused
        said = board.run("dpkg", "--remove", "edge-uploader-agent", "edge-uploader-server")
        assert said.count("stay where they are") == 2
        assert list(published.rglob("a.mp4"))
        assert (board.files / "srv/recordings/a.mp4").read_bytes() == sent
        assert (board.files / "etc/edge-uploader/agent.toml").read_text() == settings


def installed_there(version: str, side: str) -> str:
    return f"dpkg -i /packages/edge-uploader-{side}_{version}_*.deb"


def by_hand_on(board: MachineRoot) -> str:
    """Install the old ones and set them up where no systemd runs; return the agent's settings."""
    for side in SIDES:
        board.run("sh", "-c", installed_there(OLD, side))
    etc, data = board.files / "etc/edge-uploader", board.files / "var/lib/edge-agent"
    for one in (etc, board.files / "srv/recordings"):
        one.mkdir(parents=True, exist_ok=True)
    (etc / "server.toml").write_text(SERVER)
    (etc / "agent.toml").write_text(AGENT)
    board.run("sh", "-c", "mkdir -p /var/lib/edge-uploader/server /var/lib/edge-agent")
    board.run("chown", "ingest-server:", "/var/lib/edge-uploader/server")
    token = board.run("sh", "-c", "ingest-server token add cam-1 2>/dev/null").split()[-1]
    (etc / "token").write_text(token)
    board.run("chown", "edge-agent:", "/etc/edge-uploader/token", "/var/lib/edge-agent")
    (etc / "token").chmod(0o600)
    assert data.is_dir()
    (board.files / "srv/recordings/a.mp4").write_bytes(os.urandom(LENGTH))
    return AGENT


def start_both(board: MachineRoot) -> None:
    log = board.start_as("ingest-server", "ingest-server", "run", log="server")
    starts = log.read_text().count("server.started")
    wait_for(lambda: log.read_text().count("server.started") > starts, "the server runs", 120)
    board.start_as("edge-agent", "edge-agent", "run", log="agent")


def part_of(board: MachineRoot) -> int:
    """Return the bytes on the server's disk of what is not published."""
    parts = board.files / "var/lib/edge-uploader/server/parts"
    return sum(one.stat().st_blocks * 512 for one in parts.glob("*") if one.is_file())
