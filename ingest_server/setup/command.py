"""`ingest-server setup`: everything that makes this machine the server, in an order in which it can be cut off.

Each step is noted before it is done; what is there is used. So the command goes on after whatever went
wrong, adds a name, prints the devices' line again. The service is started last, and then asked as a device would.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from edge_host.setup import services
from edge_host.setup.configuration import Tables, have_configuration, rendered, said_by
from edge_host.setup.errors import SetupError, in_words
from edge_host.setup.journal import Made
from edge_host.setup.machine import Machine, gid_of, machine_for, run
from edge_host.setup.own_folder import have_it_writable
from edge_host.setup.undo import undo
from ingest_server.config import ServerSection
from ingest_server.setup import data_folder, firewall
from ingest_server.setup.authority import RENEWED_AT, Authority, Certificate, fingerprint
from ingest_server.setup.claims import Claims, Commands
from ingest_server.setup.given_pair import check_pair, refuse_unseen
from ingest_server.setup.names import in_ascii, is_name, own_names
from ingest_server.setup.trial import ask

USER = "ingest-server"
ETC = Path("/etc/edge-uploader")
CONFIG, CLAIM, PAIR = ETC / "server.toml", ETC / "claim-token", ETC / "server.pem"
OWN = Authority(ETC / "ca")
UNIT, RENEWAL = "ingest-server.service", "ingest-server-renew"
DROP_IN = services.UNITS / f"{UNIT}.d" / "setup.conf"
DATA = Path(ServerSection().data_dir)
HEADING = "Made by ingest-server setup. Every other key has its default: see server.example.toml."
_GIVEN = "file of secrets"
_PORT = 8443


def setup_server(options: argparse.Namespace, commands: Commands) -> int:
    """Do what the options say.

    Raises:
        SetupError: something stands in the way; what was done is noted, and the same command goes on.
    """
    with in_words():
        if options.show and not options.undo:
            sys.stdout.write(rendered(HEADING, _Plan.of(options).tables))
        else:
            rehearses = options.dry_run or options.show
            _carry_out(options, machine_for("server.json", rehearses=rehearses), commands)
    return 0


def _carry_out(options: argparse.Namespace, machine: Machine, commands: Commands) -> None:
    if options.undo:
        if not machine.rehearses:
            OWN.clear()
        undo(machine, {_GIVEN: _take_given}, keeps=_keeps)
        machine.say("Recordings, and the database with the devices' tokens, are where they were.")
        return
    plan = _Plan.of(options)
    if options.renew:
        plan.renew(machine)
    else:
        plan.carry_out(machine, Claims(CLAIM, commands))


def _take_given(one: Made) -> str | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        Path(one.name).unlink()
    return None


def _keeps(name: str) -> str | None:
    path = Path(name)
    if path == OWN.folder:
        return "the devices trust this CA, and a new setup goes on with it; for good: rm -r it"
    is_data = path == DATA or path in DATA.parents
    return "recordings lie there" if is_data and path.is_dir() and any(path.iterdir()) else None


@dataclass(frozen=True, slots=True)
class _Plan:
    names: list[str]
    port: int
    data_dir: Path
    pair: tuple[Path, Path] | None
    """A person's own certificate and key; None: ours."""
    ca_file: Path | None
    devices: int
    days: int

    @classmethod
    def of(cls, options: argparse.Namespace) -> _Plan:
        given = [in_ascii(name.lower()) for name in options.name]
        for name in given:
            if not is_name(name):
                raise SetupError(
                    f"--name {name!r} is neither a host's name nor an address: such as ingest.example.org, without"
                    " https:// and without a port."
                )
        if options.devices < 1 or options.days < 1:
            raise SetupError("--devices and --days are at least 1.")
        if (options.cert_file is None) != (options.key_file is None):
            raise SetupError("--cert-file and --key-file belong together.")
        before = said_by(CONFIG)
        served = before.get("server", {})
        pair, ca_file = _own_pair(options, before.get("tls", {}))
        if pair is not None and options.cert_file is not None:
            refuse_unseen(*pair, ca_file)
        listened = served.get("listen", "").rpartition(":")[2]
        port = int(listened) if listened.isdecimal() else _PORT
        port = port if options.port is None else options.port
        if not 1 <= port <= 65535:
            raise SetupError(f"--port {port}: 1 to 65535.")
        data_dir = (options.data_dir or Path(served.get("data_dir", DATA))).absolute()
        data_folder.real_folder(data_dir)
        names = list(dict.fromkeys([*given, *own_names()]))
        return cls(names, port, data_dir, pair, ca_file, options.devices, options.days)

    @property
    def tables(self) -> Tables:
        cert, key = self.pair or (PAIR, PAIR)
        tls = {"cert_file": str(cert), "key_file": str(key)}
        if self.ca_file is not None:
            tls["ca_file"] = str(self.ca_file)
        listen = f"{'[::]' if _speaks_ipv6() else '0.0.0.0'}:{self.port}"  # noqa: S104 # devices are to come in
        return {"server": {"listen": listen, "data_dir": str(self.data_dir)}, "tls": tls}

    @property
    def url(self) -> str:
        name = self.names[0]
        with contextlib.suppress(ValueError):
            name = f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
        return f"https://{name}:{self.port}"

    def carry_out(self, machine: Machine, claims: Claims) -> None:
        self._refuse_a_taken_port()
        machine.user(USER, "Ingest server", str(DATA))
        machine.folder(ETC, mode=0o755)
        machine.folder(self.data_dir, mode=0o750, owner=USER)
        # Looked at once more: what is above it may be somebody else's, who has put a link there.
        have_it_writable(machine, data_folder.real_folder(self.data_dir), USER, mode=0o750)
        if self.pair is None:
            self.have_certificate(machine)
        elif not machine.rehearses:
            check_pair(*self.pair, USER)
        is_changed = have_configuration(machine, CONFIG, HEADING, self.tables)
        text, what = "".join(self._drop_in()), "what the service may do besides"
        is_changed |= machine.file(DROP_IN, text, what) if text else machine.no_file(DROP_IN, what)
        self._have_claim(machine, claims)
        programs = Path(sys.argv[0]).absolute().parent
        is_changed |= services.have_unit(machine, UNIT, programs)
        if self.pair is None:
            for kind in ("service", "timer"):
                is_changed |= services.have_unit(machine, f"{RENEWAL}.{kind}", programs)
        services.start(machine, UNIT, is_changed=is_changed)
        if self.pair is None:
            services.start(machine, f"{RENEWAL}.timer", is_changed=False)
        if not machine.rehearses:
            if services.is_running():
                ask(self.names[0], self.port, self.ca_file)
            self._tell(machine, claims)

    def renew(self, machine: Machine) -> None:
        """Renew the certificate where it is time, or this machine has another address."""
        if not OWN.cert.exists():
            machine.say(
                "The certificate is not of this server's own CA: whoever gave it renews it."
            )
            return
        cut_off_before = machine.was_cut_off
        # Cut off: it may not have been told of the last one, and to be told again costs nothing.
        is_news = self.have_certificate(machine) or cut_off_before
        if is_news and services.is_active(UNIT) and not machine.rehearses:
            run("systemctl", "reload", UNIT)
            machine.say(f"      made  {UNIT} has taken it over; devices see nothing of it")
        if not (
            machine.rehearses or cut_off_before
        ):  # a setup may have changed what takes a restart
            machine.finish()

    def have_certificate(self, machine: Machine) -> bool:
        """Have one for all names, good for long enough; returns whether it is new."""
        if not OWN.cert.exists():
            machine.folder(OWN.folder, mode=0o755)
            host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40]
            machine.do(
                None,
                str(OWN.folder),
                f"{OWN.folder}/ (this server's own CA)",
                partial(OWN.make, f"Ingest CA of {host}"),
            )
        found = Certificate.at(PAIR, OWN.cert)
        has_names = found is not None and found.names >= set(self.names)
        if (
            found is not None
            and found.is_by
            and has_names
            and found.ends - datetime.now(UTC) > RENEWED_AT
        ):
            machine.say(f"  is there  {PAIR} (the certificate, good until {found.ends:%Y-%m-%d})")
            return False
        # An address that is not there now may be there again tomorrow: no name is dropped.
        names = list(dict.fromkeys([*self.names, *(sorted(found.names) if found else ())]))
        machine.do(
            _GIVEN,
            str(PAIR),
            f"{PAIR} (the certificate, for {', '.join(names)})",
            lambda: OWN.issue(names, PAIR, gid_of(USER)),
        )
        return True

    def _drop_in(self) -> Iterator[str]:
        if self.data_dir == DATA and self.port >= 1024:
            return
        yield "# Made by ingest-server setup.\n[Service]\n"
        if self.data_dir != DATA:
            path = str(self.data_dir).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
            yield f'ReadWritePaths="{path}"\n'
        if self.port < 1024:
            yield "AmbientCapabilities=CAP_NET_BIND_SERVICE\n"
            yield "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nPrivateUsers=no\n"

    def _refuse_a_taken_port(self) -> None:
        if services.is_active(UNIT):
            return
        family = socket.AF_INET6 if _speaks_ipv6() else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", self.port))
            except PermissionError:
                return  # a rehearsal by somebody who may not
            except OSError as error:
                raise SetupError(
                    f"Port {self.port} cannot be used: {error.strerror}. `ss -ltnp` says by whom; --port takes another."
                ) from error

    def _have_claim(self, machine: Machine, claims: Claims) -> None:
        try:
            is_good = claims.is_good(rehearses=machine.rehearses)
        except SetupError as error:
            machine.say(f"      note  {CLAIM} is kept if it is still good, else made anew: {error}")
            return
        if is_good:
            machine.say(f"  is there  {CLAIM} (the claim token for devices)")
            return
        what = f"{CLAIM} (a claim token for {self.devices} devices, good for {self.days} days)"
        machine.do(_GIVEN, str(CLAIM), what, partial(claims.make, self.devices, self.days))

    def _tell(self, machine: Machine, claims: Claims) -> None:
        ca = "" if self.ca_file is None else f" --ca-sha256 {fingerprint(self.ca_file)}"
        machine.say(
            f"\nA page shows all devices and recordings. `[page]` with `enabled = true` in {CONFIG} switches it on,\n"
            f"after `systemctl restart {UNIT}`; `ingest-server user add NAME` lets you in.\n"
        )
        machine.say(firewall.hint(self.port))
        machine.say("On each device, as root, with its own folder:\n")
        machine.say(
            f"  echo {shlex.quote(claims.text())} | edge-agent setup --server {self.url}{ca} --claim -"
            " --folder /srv/recordings\n"
        )


def _own_pair(
    options: argparse.Namespace, before: Mapping[str, str]
) -> tuple[tuple[Path, Path] | None, Path | None]:
    """Return a person's own certificate with its key, and who signed it; None and our authority for ours."""
    if options.cert_file is not None:
        ca_file = None if options.ca_file is None else options.ca_file.absolute()
        return (options.cert_file.absolute(), options.key_file.absolute()), ca_file
    cert, key, ca = (before.get(one) for one in ("cert_file", "key_file", "ca_file"))
    if cert is None or key is None or Path(cert) == PAIR:
        return None, OWN.cert
    return (CONFIG.parent / cert, CONFIG.parent / key), CONFIG.parent / ca if ca else None


def _speaks_ipv6() -> bool:
    return socket.has_ipv6 and os.path.exists("/proc/net/if_inet6")  # noqa: PTH110 # as the kernel says
