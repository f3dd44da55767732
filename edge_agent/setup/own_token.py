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
        device, url = self.settings.device_id, self.settings.server.url
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
        try:
            token = given if given.startswith(_OF_A_DEVICE) else self._claimed(given)
            write_token(self.path, token)
        except (TransportError, AgentError) as error:
            raise SetupError(
                f"{url} gave no token to {device}: {error}. A device of this name that was set up before, on"
                f" another card, say, takes a token instead of the claim: ingest-server token add {device}. Another"
                " name: --device-id. Whether the claim is still good: ingest-server claim list."
            ) from error
        except (OSError, UnicodeEncodeError) as error:
            raise SetupError(f"{self.path} cannot be written: {error}. Run this again.") from error
        if not self._is_taken(machine):
            raise SetupError(f"{url} does not take the token that {device} was given.")
        machine.say(
            f"      made  {self.path} (this device's token; the server knows it as {device})"
        )
        return True

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
