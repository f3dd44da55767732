"""The programs that people use instead, each made to go on after a failure as well as it can.

None of them goes on by itself for as long as it takes, so each runs in a loop that does.
"""

import base64
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import links_agent
from benchmarks.linkem import SERVER_IP
from benchmarks.links_cases import Plan

_PORT = 8730
_HERE = Path(__file__).parent
_TUSPY, _TUS_JS = "tuspy==1.1.0", "tus-js-client@4.3.1"


class MissingPeerError(Exception):
    """A program is not here and cannot be installed from here; the message says how."""


def rsync(folder: Path, files: list[Path], _congestion_control: str) -> Plan:
    """``rsync --append`` to its own daemon: the fastest of its ways to go on."""
    _need("rsync")
    received = folder / "received"
    received.mkdir()
    config = folder / "rsyncd.conf"
    config.write_text(
        f"uid = root\ngid = root\nuse chroot = no\n[in]\npath = {received}\nread only = no\n"
    )
    listen = f"--address={SERVER_IP} --port={_PORT}"
    server = f"exec rsync --daemon --no-detach --config={config} {listen}"
    options = "--append --partial --timeout=15 --contimeout=5"
    sending = f"rsync {options} {_listed(files)} rsync://{SERVER_IP}:{_PORT}/in/"
    return Plan(server, _PORT, f"until {sending}; do sleep 1; done", received)


def rclone(folder: Path, files: list[Path], _congestion_control: str) -> Plan:
    """``rclone copy`` to WebDAV, four files at once as is its default."""
    _need("rclone")
    received = folder / "received"
    received.mkdir()
    server = f"exec rclone serve webdav {received} --addr {SERVER_IP}:{_PORT}"
    options = "--retries 1000 --retries-sleep 1s --timeout 15s --contimeout 5s"
    url = f"--webdav-url http://{SERVER_IP}:{_PORT}"
    device = f"exec rclone copy {files[0].parent} :webdav: {url} {options} --config /dev/null"
    return Plan(server, _PORT, device, received)


def curl(folder: Path, files: list[Path], _congestion_control: str) -> Plan:
    """``curl`` in a loop that asks for the offset and sends the rest (tus), one file at a time."""
    _need("curl")
    server = links_agent.IngestServer(folder)
    script = folder / "curl.sh"
    url = f"http://{SERVER_IP}:{links_agent.PORT}/files/"
    common = (
        "-sS --connect-timeout 5 -H 'Tus-Resumable: 1.0.0'"
        f" -H 'Authorization: Bearer {server.token.read_text()}'"
    )
    lines = [f"ask() {{ curl {common} \"$@\" | tr -d '\\r'; }}"]
    for file in files:
        length, name = file.stat().st_size, base64.b64encode(file.name.encode()).decode()
        lines.append(
            f"""
at=
until [ "$at" ]; do
  at=$(ask --max-time 30 -D - -o /dev/null -X POST {url} -H 'Upload-Length: {length}' \\
    -H 'Upload-Metadata: filename {name}' | sed -n 's/^[Ll]ocation: //p')
done
until [ "$offset" = {length} ]; do
  offset=$(ask --max-time 30 -I "$at" | sed -n 's/^[Uu]pload-[Oo]ffset: //p')
  [ "$offset" ] && [ "$offset" != {length} ] && tail -c +$((offset + 1)) {file} |
    curl {common} -X PATCH -T - -H "Upload-Offset: $offset" -H 'Expect:' -o /dev/null \\
      -H 'Content-Type: application/offset+octet-stream' --speed-limit 1 --speed-time 15 "$at"
  [ "$offset" = {length} ] || sleep 0.5
done
offset="""
        )
    script.write_text("\n".join(lines))
    return Plan(server.command, links_agent.PORT, f"exec sh {script}", server.published)


def tuspy(folder: Path, files: list[Path], _congestion_control: str) -> Plan:
    """The tus client for Python, in an environment of its own."""
    home = Path("var/links/tuspy").absolute()
    if not (home / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip: list[str | Path] = [home / "bin/python", "-m", "pip", "install", "--quiet"]
        _install([*pip, "--disable-pip-version-check", _TUSPY], home)
        (home / ".installed").touch()
    server = links_agent.IngestServer(folder)
    program: list[str | Path] = [
        home / "bin/python",
        _HERE / "links_tuspy.py",
        *_tus(server),
        *files,
    ]
    return Plan(server.command, links_agent.PORT, _exec(program), server.published)


def tus_js(folder: Path, files: list[Path], _congestion_control: str) -> Plan:
    """The tus client for JavaScript, in Node."""
    _need("node")
    _need("npm")
    home = Path("var/links/tus-js").absolute()
    if not (home / "node_modules/tus-js-client").exists():
        home.mkdir(parents=True, exist_ok=True)
        _install(["npm", "install", "--silent", "--no-save", "--prefix", home, _TUS_JS], home)
    script = home / "links_tus.mjs"  # beside node_modules, where Node looks for them
    shutil.copyfile(_HERE / script.name, script)
    server = links_agent.IngestServer(folder)
    program: list[str | Path] = ["node", script, *_tus(server), *files]
    return Plan(server.command, links_agent.PORT, _exec(program), server.published)


PEERS: dict[str, Callable[[Path, list[Path], str], Plan]] = {
    "edge-agent": links_agent.plan,
    "rsync": rsync,
    "rclone": rclone,
    "curl": curl,
    "tuspy": tuspy,
    "tus-js": tus_js,
}


def _tus(server: links_agent.IngestServer) -> list[str]:
    return [f"http://{SERVER_IP}:{links_agent.PORT}/files/", server.token.read_text()]


def _listed(files: list[Path]) -> str:
    return shlex.join(map(str, files))


def _exec(program: list[str | Path]) -> str:
    return f"exec {shlex.join(map(str, program))}"


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise MissingPeerError(f"{program} is not installed: apt-get install {program}")


def _install(command: list[str | Path], home: Path) -> None:
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MissingPeerError(f"cannot be installed into {home}: {error}") from error
