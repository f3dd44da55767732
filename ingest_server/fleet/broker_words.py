"""How a session with the broker ended, and what that means for whoever runs the server; pure."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

UNSUPPORTED_VERSION = 132
TAKEN_OVER = 142
_LOGIN_REFUSED = frozenset({134, 135, 138, 140})
"""Bad user name or password, not authorised, banned, bad authentication method."""

MEANING = "devices are seen by what they report to this server alone; uploads go on"


class LoginError(Exception):
    """A file that the login needs cannot be used; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a session is over."""

    code: int = 0
    """The broker's reason; 0: it gave none."""
    said: str = ""
    why: Exception | None = None
    was_reached: bool = False
    """The connection, and TLS, stood."""
    was_answered: bool = False
    was_taken: bool = False
    is_silent: bool = False

    @property
    def knows_only_older(self) -> bool:
        """Whether the broker says that it does not speak this version."""
        return self.code == UNSUPPORTED_VERSION

    @property
    def may_know_only_older(self) -> bool:
        """Whether it behaves as some do that do not speak this version."""
        return self.was_reached and not self.was_answered


def words(end: Ended, broker: str) -> tuple[str, str]:
    """Return what happened, and what to do."""
    if isinstance(end.why, LoginError):
        return f"there is no login for the broker at {broker}", str(end.why)
    if end.code in _LOGIN_REFUSED:
        return (
            f"the broker at {broker} refuses the login ({end.said})",
            "check [fleet] mqtt_username and mqtt_password_file, and the broker's list of users",
        )
    if end.code == TAKEN_OVER:
        return (
            f"another program logs in at {broker} as this server does: each throws the other out",
            "leave [fleet] mqtt_url to one server, or to one process of it",
        )
    if isinstance(end.why, ssl.SSLCertVerificationError):
        return (
            f"the certificate of the broker at {broker} is not trusted ({end.why.verify_message})",
            "set [fleet] mqtt_ca_file to who signed it, name the host as the certificate does, renew it "
            "if it has expired, and check the clock",
        )
    if isinstance(end.why, ssl.SSLError):
        return (
            f"no TLS with the broker at {broker} ({end.why.reason or end.why})",
            "mqtts:// is for a port with TLS: correct [fleet] mqtt_url, or the broker's listener",
        )
    if end.was_taken:
        return (
            f"the session with the broker at {broker} ended ({_why(end)})",
            "nothing: it is tried again",
        )
    if end.was_reached:
        return (
            f"the broker at {broker} was reached, and gives no session ({_why(end)})",
            "check that [fleet] mqtt_url names an MQTT broker, and begins with mqtts:// where it wants TLS",
        )
    return (
        f"the broker at {broker} cannot be reached ({_why(end)})",
        "check [fleet] mqtt_url, the network, and that the broker runs",
    )


def _why(end: Ended) -> str:
    if end.said:
        return end.said
    if end.is_silent:
        return "it does not answer"
    if isinstance(end.why, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(end.why, TimeoutError):
        return "it does not answer"
    if isinstance(end.why, OSError):
        return end.why.strerror or str(end.why)
    if end.why is not None:
        return f"{type(end.why).__name__}: {end.why}"
    return "the connection was closed"
