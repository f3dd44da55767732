"""This device's own token: the one that is there, one for a claim, or one that a person has been given."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import AgentError, TransportError, UnauthorizedError
from edge_agent.base.settings import AgentSettings
from edge_agent.send.enrolment import has_token, serial_number, write_token
from edge_agent.send.wiring import make_transport
from edge_host.setup.errors import SetupError
from edge_host.setup.machine import Machine

_OF_A_DEVICE = "edt_"
"""How a token begins that `ingest-server token add` made; a claim begins otherwise."""


@dataclass(frozen=True, slots=True)
class OwnToken:
    """What becomes the file at *path*.

    Args:
        given: reads what the person has given, once it is needed; None: nothing.
    """

    path: Path
    settings: AgentSettings
    given: Callable[[], str | None]

    def have(self, machine: Machine) -> bool:
        """Have a token that the server takes for this device; returns whether it is a new one.

        Raises:
            SetupError: the server gives or takes none.
        """
        device = self.settings.device_id
        if has_token(self.settings.server) and self._is_taken(machine):
            machine.say(f"  is there  {self.path} (this device's token)")
            return False
        given = self.given()
        if given is None:
            raise SetupError(
                "This device has no token that the server takes: give it a claim, with --claim - (from standard input) or"
                " --claim-file FILE. On the server, `ingest-server setup` prints one."
            )
        if machine.rehearses:
            machine.say(f"would make  {self.path} (this device's token)")
            return True
        self._put(given, machine)
        machine.say(
            f"      made  {self.path} (this device's token; the server knows it as {device})"
        )
        return True

    def _put(self, given: str, machine: Machine) -> None:
        """Put there what the person has given, or what the server gives for it.

        A device's own token is tried beside the one that is there, which it replaces if it is good. One for a claim
        is put there at once: the server gives it to this device alone, and once.
        """
        device, url = self.settings.device_id, self.settings.server.url
        try:
            machine.change()
            if not given.startswith(_OF_A_DEVICE):
                write_token(self.path, self._claimed(given))
                return
            self._try(given, machine)
            write_token(self.path, given)
        except UnauthorizedError as error:
            raise SetupError(
                f"{url} refuses {device}: {error}. On the server, `ingest-server setup` prints the line with a"
                f" claim that is good. If {device} was set up before, on another card for example, `ingest-server token"
                f" add {device}` prints what --claim takes instead; or give it another name with --device-id."
            ) from error
        except (TransportError, AgentError) as error:
            raise SetupError(
                f"{url} gave no token to {device}: {error}. Run this again."
            ) from error
        except (OSError, UnicodeEncodeError) as error:
            raise SetupError(f"{self.path} cannot be written: {error}. Run this again.") from error

    def _try(self, token: str, machine: Machine) -> None:
        """Refuse a token that the server does not take for this device.

        Raises:
            SetupError: it is another device's.
            UnauthorizedError: it is no good one.
        """
        beside = self.path.with_name(f".{self.path.name}.tried")
        server = self.settings.server.model_copy(update={"token_file": beside})
        write_token(beside, token)
        try:
            with make_transport(
                self.settings.model_copy(update={"server": server}), SystemClock()
            ) as link:
                known_as = link.probe(secrets.token_hex(16)).device
        except UnauthorizedError:
            raise
        except (TransportError, AgentError) as error:
            machine.say(
                f"      note  {self.settings.server.url} could not be asked about the token: {error}"
            )
            return
        finally:
            beside.unlink(missing_ok=True)
        if known_as not in {None, self.settings.device_id}:
            raise SetupError(
                f"The given token is of {known_as}, and this device is to be {self.settings.device_id}: give"
                f" --device-id {known_as}, or a token of its own: ingest-server token add {self.settings.device_id}."
            )

    def _claimed(self, claim: str) -> str:
        with make_transport(self.settings, SystemClock(), with_token=False) as link:
            return link.claim(claim, self.settings.device_id, serial_number())

    def _is_taken(self, machine: Machine) -> bool:
        """Return whether the server takes the token that is there; where it cannot be asked, it may."""
        try:
            with make_transport(self.settings, SystemClock()) as link:
                known_as = link.probe(secrets.token_hex(16)).device
        except UnauthorizedError:
            return False
        except (TransportError, AgentError) as error:
            url = self.settings.server.url
            machine.say(f"      note  {url} could not be asked about the token: {error}")
            return True
        if known_as not in {None, self.settings.device_id}:
            raise SetupError(
                f"{self.path} holds the token of {known_as}, and this device is to be {self.settings.device_id}: give"
                f" --device-id {known_as}, or remove the file for a token of its own."
            )
        return True
