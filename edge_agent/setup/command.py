"""`edge-agent setup`: everything that makes this machine a device, in an order in which it can be cut off anywhere.

First what is only asked: the folder, the server, its authority. Then what is made, each step noted before it
is done. The token is claimed before the configuration that names it is there, and the service is started last.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.base.settings import AgentSettings, ServerSettings, WatchSettings
from edge_agent.send.enrolment import serial_number
from edge_agent.setup import authority, congestion, given, media
from edge_agent.setup.media import USER, Access
from edge_agent.setup.own_token import OwnToken
from edge_agent.setup.wanted import HEADING, Wanted, device_id
from edge_host.setup import services
from edge_host.setup.configuration import Tables, have_configuration, rendered, said_by
from edge_host.setup.errors import SetupError, in_words
from edge_host.setup.machine import Machine, machine_for
from edge_host.setup.own_folder import have_it_writable
from edge_host.setup.undo import undo

CONFIG = Path("/etc/edge-uploader/agent.toml")
CA = Path("/etc/edge-uploader/server-ca.crt")
STATE = Path("/var/lib/edge-agent")
TOKEN = STATE / "token"
UNIT = "edge-agent.service"


def setup_device(options: argparse.Namespace) -> int:
    """Do what the options say.

    Raises:
        SetupError: something stands in the way; what was done is noted, and the same command goes on.
    """
    with in_words():
        if options.show and not options.undo:
            sys.stdout.write(rendered(HEADING, _Plan.of(options).wanted.tables))
        else:
            rehearses = options.dry_run or options.show
            _carry_out(options, machine_for("agent.json", rehearses=rehearses))
    return 0


def _carry_out(options: argparse.Namespace, machine: Machine) -> None:
    if options.undo:
        if not machine.rehearses and (folder := said_by(CONFIG).get("watch", {}).get("folder")):
            media.clear(folder)
        undo(machine, _TAKES, keeps=_keeps)
        if machine.journal.made or not options.dry_run:
            machine.say(
                f"Recordings, and the agent's memory in {STATE} with its token, are where they were."
            )
        return
    _Plan.of(options).carry_out(machine)


_TAKES = {
    media.TREE: lambda one: media.take_back(one.kind, one.name),
    media.PASSAGE: lambda one: media.take_back(one.kind, one.name),
}


def _keeps(name: str) -> str | None:
    return "the agent's memory is in it" if Path(name) == STATE else None


@dataclass(frozen=True, slots=True)
class _Plan:
    wanted: Wanted
    access: Access
    ca: bytes | None
    claim: Callable[[], str | None]

    @classmethod
    def of(cls, options: argparse.Namespace) -> _Plan:
        before = said_by(CONFIG)
        server, folder = options.server, options.folder
        if server is None:
            server = _last(before, "server", "server", "url")
        if folder is None:
            folder = Path(_last(before, "folder", "watch", "folder"))
        url, folder = given.checked_url(server), media.real_folder(folder)
        ca = given.ca(options, url, _known_ca(before, url))
        deletes: bool | None = options.delete
        if deletes is None and (said := before.get("retention", {}).get("delete")) is not None:
            deletes = said == "after_verified"
        wanted = Wanted(
            device_id=device_id(
                options.device_id or before.get("", {}).get("device_id"), serial_number()
            ),
            folder=folder,
            url=url,
            token_file=TOKEN,
            ca_file=None if ca is None else CA,
            deletes=deletes,
        )
        everything = options.read_everything
        access = Access(
            folder,
            deletes=bool(deletes),
            reads_everything=media.reads_everything() if everything is None else everything,
        )
        return cls(wanted, access, ca, lambda: given.claim(options))

    def carry_out(self, machine: Machine) -> None:
        authority.refuse_untrusted(self.wanted.url, self.ca)
        machine.say(f"{self.wanted.device_id}: {self.wanted.folder} -> {self.wanted.url}")
        machine.user(USER, "Edge uploader agent", str(STATE))
        machine.folder(CONFIG.parent, mode=0o755)
        if not (machine.rehearses or STATE.is_dir()):
            machine.folder(STATE, mode=0o700, owner=USER)
        if not services.is_running():  # else StateDirectory= of the unit does it
            have_it_writable(machine, STATE.resolve(), USER, mode=0o700)
        is_changed = self.ca is not None and machine.file(CA, self.ca, "the server's CA")
        is_changed |= self._own_token.have(machine)
        is_changed |= have_configuration(machine, CONFIG, HEADING, self.wanted.tables)
        is_changed |= self.access.give(machine)
        congestion.allow_bbr(machine)
        is_changed |= services.have_unit(machine, UNIT, Path(sys.argv[0]).absolute().parent)
        services.start(machine, UNIT, is_changed=is_changed)
        if not machine.rehearses:
            self._tell_limits(machine)

    @property
    def _own_token(self) -> OwnToken:
        server = ServerSettings(
            url=self.wanted.url, token_file=TOKEN, ca_file=None if self.ca is None else CA
        )
        settings = AgentSettings(
            device_id=self.wanted.device_id,
            watch=WatchSettings(folder=self.wanted.folder),
            server=server,
        )
        return OwnToken(TOKEN, settings, self.claim)

    def _tell_limits(self, machine: Machine) -> None:
        for what in self.access.uncovered():
            machine.say(
                f"      note  cannot be read in {self.wanted.folder}: files {what}. If yours are, add --read-everything."
            )
        machine.say("Done. What it does: edge-agent status --watch")


def _last(before: Tables, option: str, table: str, key: str) -> str:
    """Return what an option that is left out said the last time."""
    found = before.get(table, {}).get(key)
    if found is None:
        raise SetupError(f"--{option} is needed; `ingest-server setup` prints the whole line.")
    return found


def _known_ca(before: Tables, url: str) -> Path | None:
    """Return the CA that this device trusts already, for this same server."""
    served = before.get("server", {})
    is_same = served.get("url", "").rstrip("/") == url
    return CA if is_same and served.get("ca_file") == str(CA) else None
