"""How a device comes to its token: what it shows, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from upload_protocol import members
from upload_protocol.headers import is_device_id
from upload_protocol.members import DeviceId, MessageError, Moment, Says

MAX_CLAIM_TOKEN = 128
MAX_SERIAL = 128


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The body of ``POST /v1/claim``: a device without a token asks for its first."""

    claim_token: Annotated[
        str,
        Says(
            minLength=1,
            maxLength=MAX_CLAIM_TOKEN,
            description="edc_<id>_<43 characters>, from `ingest-server claim add`.",
        ),
    ]
    device: DeviceId
    serial: Annotated[
        str,
        Says(
            minLength=1,
            maxLength=MAX_SERIAL,
            description="What tells this board from all others; printable characters.",
        ),
    ]

    @classmethod
    def from_json(cls, source: object) -> ClaimRequest:
        """Read the request.

        Raises:
            MessageError: it has not the agreed form.
        """
        found = members.object_of(source)
        wanted = cls(
            claim_token=members.printable(found, "claim_token", MAX_CLAIM_TOKEN),
            device=members.printable(found, "device", 63),
            serial=members.printable(found, "serial", MAX_SERIAL),
        )
        if not is_device_id(wanted.device):
            raise MessageError("'device' must match [a-z0-9][a-z0-9_-]{0,62}")
        return wanted


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A device's new token: durable at the server, and told this once."""

    token: Annotated[str, Says(pattern="^edt_[a-z0-9][a-z0-9_-]{0,62}_[A-Za-z0-9_-]{43}$")]
    token_id: str
    device: DeviceId
    scopes: tuple[str, ...]
    expires_at: Moment | None

    def to_json(self) -> dict[str, Any]:
        return {
            "token": self.token,
            "token_id": self.token_id,
            "device": self.device,
            "scopes": list(self.scopes),
            "expires_at": self.expires_at,
        }
