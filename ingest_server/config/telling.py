"""Who is told what has happened, and who is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from edge_host.settings import Table
from ingest_server.config.values import Count, DevicePatterns, Hours, nearest_words, url_parts
from ingest_server.core.choosing import DeviceChoice
from ingest_server.core.events import OF_SERVER, TYPES

_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z", re.ASCII)


class HooksSection(Table):
    created: str | None = None
    completed: str | None = None
    failed: str | None = None
    expired: str | None = None
    """"module:function" each, called with the event after it became true."""

    before_publish: str | None = None
    """"module:function", asked about each verified file; it may refuse to have it published."""

    @field_validator("*")
    @classmethod
    def _is_entry(cls, value: str | None) -> str | None:
        if value is not None and not _ENTRY.match(value):
            raise ValueError('a function is named as "module:function"')
        return value


class FleetSection(Table):
    """What devices report, and what of it people are told."""

    max_devices: Annotated[Count, Field(ge=1, le=100_000)] = 10_000
    """Devices that are shown; one more that reports is refused until one is forgotten."""

    silent_hours: Hours = 24.0
    """Hours without a report, of the time that the server ran, until people are told; 0: never."""

    pending_hours: Hours = 24.0
    """Hours that the oldest recording of a device waits until people are told; 0: never."""

    tell_failed: bool = True
    """Whether people are told that a recording failed on its device."""

    mqtt_url: str | None = None
    """A broker that devices report to as well: mqtt://HOST or mqtts://HOST; unset: none."""

    mqtt_username: str | None = None

    mqtt_password_file: Path | None = None

    mqtt_ca_file: Path | None = None
    """Who signed the broker's certificate; unset: whom the system trusts."""

    mqtt_topic_prefix: str = "edgeup"
    """As in the devices' [mqtt] topic_prefix."""

    mqtt_discovery_prefix: str = "homeassistant"
    """Where Home Assistant looks for devices; empty: it is told of none."""

    @field_validator("mqtt_url")
    @classmethod
    def _is_broker(cls, value: str | None) -> str | None:
        split = url_parts(value or "mqtt://x")
        if split.scheme not in {"mqtt", "mqtts"} or not split.hostname or "@" in split.netloc:
            raise ValueError("must be mqtt://HOST or mqtts://HOST, without a password in it")
        return value

    @field_validator("mqtt_topic_prefix")
    @classmethod
    def _is_prefix(cls, value: str) -> str:
        if not value.strip("/") or set(value) & set("+#"):
            raise ValueError("must be the beginning of a topic, without + and #")
        return value


class ChoosesDevices(Table):
    """What may be about some devices alone."""

    match: DevicePatterns | None = None
    """Names of devices: "cam-*|drone-7"."""

    group: str | None = None
    """Of the device's token: `ingest-server token add --group`."""

    @property
    def chosen(self) -> DeviceChoice:
        """Return the devices that it is for."""
        return DeviceChoice(self.match, self.group)


class NotifySection(ChoosesDevices):
    """What people are told of some devices instead of what [fleet] says of all."""

    silent_hours: Hours | None = None

    pending_hours: Hours | None = None

    tell_failed: bool | None = None
    """Each as in [fleet]; unset: as there."""

    @model_validator(mode="after")
    def _says_of_whom_and_what(self) -> Self:
        if self.chosen.is_all:
            raise ValueError(
                'says of no device that it is for it: set match or group (match = "*" is every device)'
            )
        if self.silent_hours is None and self.pending_hours is None and self.tell_failed is None:
            raise ValueError(
                "says nothing else than [fleet]: set silent_hours, pending_hours or tell_failed"
            )
        return self


class WebhookSection(ChoosesDevices):
    url: str
    """Where events are posted to."""

    secret_file: Path
    """What they are signed with: a line of at least 24 bytes, or of whsec_ and base64."""

    events: tuple[str, ...] = tuple(sorted(TYPES))
    """Which ones."""

    ca_file: Path | None = None
    """The authority that signed its certificate, in PEM form; unset: those the system trusts."""

    allow_private: bool = False
    """Allow plain http, and a target on this machine or in a private network."""

    @field_validator("events")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError(
                "is empty, so that it would be told nothing: leave the line out to tell it everything"
            )
        for one in value:
            if one not in TYPES:
                raise ValueError(f"there is no event {one!r}{nearest_words(one, TYPES)}")
        return value

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        of_server = sorted(OF_SERVER & set(self.events))
        if not self.chosen.is_all and "events" in self.model_fields_set and of_server:
            raise ValueError(
                f"events has {of_server[0]}, which is about the server and no device, so match and group "
                "leave it out: name it in a [[webhook]] without them"
            )
        return self

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        try:
            split = url_parts(self.url)
        except ValueError as error:
            raise ValueError(f"url {error}") from None
        if split.scheme not in {"https", "http"} or not split.hostname or "@" in split.netloc:
            raise ValueError("url must be https://HOST/PATH, without a user or password in it")
        if split.scheme == "http" and not self.allow_private:
            raise ValueError(
                "url must be https:// (http:// only with allow_private = true, in a network that "
                "nobody else listens to)"
            )
        return self
