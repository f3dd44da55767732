"""What a person may decide, as frozen values: each key with its unit, its default and why.

Reading them from file, environment and command line is `settings_loading`. Values are checked here for
what they are, not for what the machine holds: a folder may be on a card that is not plugged in yet.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import SettingsConfigDict

from edge_agent.base.recording_names import IGNORE, PATTERNS
from edge_agent.base.rule_settings import (
    DeadlineSettings,
    LinkSettings,
    PlanSettings,
    PowerSettings,
    PrioritySettings,
    plans_told_apart,
)
from edge_agent.base.setting_values import (
    KIB,
    MIB,
    MOST_FOLDERS,
    RATE,
    DiskShare,
    KeepFree,
    LockMarkers,
    MarkerSuffix,
    Patterns,
    Seconds,
    Size,
    Topic,
    code_point,
    none_if_zero,
    short_name,
    short_texts,
    table_of_texts,
    tables,
)
from edge_agent.core.command import GUARDED, SETTINGS, VOCABULARY
from edge_agent.core.packets import DSCP, CongestionControl
from edge_agent.core.schedule import Slot
from edge_agent.core.window import Window
from edge_host.settings import LayeredSettings, OneOrMore, Table
from upload_protocol.headers import is_device_id


def _told_apart(folders: tuple[WatchSettings, ...]) -> tuple[WatchSettings, ...]:
    if len(folders) > MOST_FOLDERS:
        raise ValueError(f"there are {len(folders)}: at most {MOST_FOLDERS} folders are watched")
    names = [one.name for one in folders]
    if len(folders) > 1 and not all(names):
        raise ValueError(
            f'number {names.index("") + 1} needs a name, for there are several: name = "front", say'
        )
    if twice := [one for one in names if names.count(one) > 1]:
        raise ValueError(f"{twice[0]!r} is the name of more than one: each needs its own")
    return folders


class WatchSettings(Table):
    """A folder: which files in it are recordings, and when one is finished."""

    folder: Path
    """Where the camera writes. It may be absent for a while (a card that is not plugged in)."""

    name: Annotated[str, AfterValidator(short_name)] = ""
    """What it is called in status, over MQTT and in options, and the first part of the place that the
    server is told; needed where there are several. Empty: the place begins below the folder."""

    metadata: Annotated[
        dict[str, str],
        BeforeValidator(table_of_texts),
        AfterValidator(short_texts),
    ] = Field(default_factory=dict)
    """What the server is told with each recording: its events and hooks have it. ``watch``, the folder's
    name, is among it by itself."""

    patterns: Patterns = PATTERNS
    """Names to send, upper or lower case alike: what recorders write, and the files beside it."""

    ignore: Patterns = IGNORE
    """Names never sent, even where `patterns` fit: unfinished by convention, or changing for ever.
    Dotfiles are not sent, too."""

    while_recording: Patterns = ()
    """Names that are sent while they are still written to, too; none unless somebody asks for it."""

    append: Patterns = ()
    """Names of files that are written on after they were sent, as logs are: of one that grew, only what is
    new goes; none unless somebody asks for it."""

    recursive: bool = True
    """Whether subfolders count: cameras begin a new one every 999 files."""

    settle_seconds: Seconds = 5.0
    """Quiet time after the last change, *and* nobody may have the file open for writing."""

    fallback_settle_seconds: Seconds = 60.0
    """Quiet time where the kernel cannot say who writes (network, FUSE and overlay file
    systems, files of another user) and for empty files: longer than any pause of the recorder, which
    may flush as seldom as every 30 s."""

    scan_interval_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """Longest time between two looks at the whole folder: file system events get lost."""

    done_marker: MarkerSuffix | None = None
    """``".done"``: a recording is finished when NAME.done is there. Unset: nobody waits for one."""

    lock_markers: LockMarkers = ()
    """``[".lock"]``: a recording is not finished while NAME.lock is there."""

    marker_wait_seconds: Seconds = 3600.0
    """Quiet time after which a recording counts as finished whatever a marker says: a recorder that was
    switched off leaves its locks, and makes no marker any more."""

    delete: Literal["never", "after_verified"] | None = None
    """As `[retention] delete`, for this folder; unset: as that says."""

    keep_free: KeepFree | None = None
    """As `[retention] keep_free`, for this folder; unset: as that says."""

    keep_days: Annotated[float | None, Field(ge=0, le=3650)] = None
    """As `[retention] keep_days`, for this folder; unset: as that says."""

    def retention(self, common: RetentionSettings) -> RetentionSettings:
        """Return when what was found here is let go, where *common* holds for all folders."""
        own = {"delete": self.delete, "keep_free": self.keep_free, "keep_days": self.keep_days}
        return common.model_copy(update={key: one for key, one in own.items() if one is not None})

    @property
    def said(self) -> str:
        """The key of its folder, as a person is told of it."""
        return f"[[watch]] {self.name}: folder" if self.name else "[watch] folder"

    @field_validator("lock_markers")
    @classmethod
    def _not_both(cls, locks: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("done_marker") in locks:
            raise ValueError("done_marker is among them: no file can say both")
        return locks

    @field_validator("done_marker", "lock_markers")
    @classmethod
    def _no_recordings(
        cls, found: str | tuple[str, ...] | None, info: ValidationInfo
    ) -> str | tuple[str, ...] | None:
        patterns = info.data.get("patterns", ())
        for marker in (found,) if isinstance(found, str) else found or ():
            if patterns and all(one.lower().endswith(marker.lower()) for one in patterns):
                raise ValueError(
                    f'"{marker}" is the end of all names that fit the patterns: each would be taken for a '
                    "marker, and none would be sent"
                )
        return found

    @field_validator("patterns", "ignore", "while_recording", "append")
    @classmethod
    def _plain_names(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if "/" in pattern or not pattern:
                raise ValueError('each pattern is for a name, without "/"')
        return patterns


class ServerSettings(Table):
    """The ingest server."""

    url: str
    """``https://host[:port][/prefix]``; plain http shows recordings and token to the network."""

    token_file: Path | None = None
    """One line: this device's token. ``$CREDENTIALS_DIRECTORY/device-token`` comes first."""

    claim_token_file: Path | None = None
    """One line, the same on many devices: gets a token of its own for this one, into `token_file`."""

    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's, for a server with its own authority."""

    client_cert_file: Path | None = None
    """This device's certificate (PEM, with its chain), for a server that knows devices by theirs."""

    client_key_file: Path | None = None
    """Its key, without a password; unset: it is in `client_cert_file`, too."""

    proxy: str | None = None
    """``http://[user:password@]host:port``; proxies of the environment are not used."""

    @field_validator("url")
    @classmethod
    def _http_url(cls, url: str) -> str:
        return _url(url, ("http", "https"))

    @field_validator("proxy")
    @classmethod
    def _proxy_url(cls, url: str | None) -> str | None:
        return None if not url else _url(url, ("http", "https"), may_have_login=True)


class UploadSettings(Table):
    """How recordings are sent."""

    max_rate: Annotated[ByteSize | None, Field(gt=0), BeforeValidator(none_if_zero)] = None
    """Bytes per second, over all requests; unset or 0: as fast as the link goes."""

    timetable: Patterns = ()
    """``DAYS HH:MM-HH:MM RATE`` in local time, first fit counts instead of `max_rate`; RATE is bytes per
    second, ``unlimited`` or ``off``. Not looked at while the clock is not synchronised."""

    hold_file: Path | None = None
    """``/run/robot/armed``: while it is there nothing is sent, whatever it is. Unset: there is none."""

    order: Literal["oldest", "newest"] = "oldest"
    """Of equally urgent recordings, which is sent first, by when it was found; what is begun is ended
    before another is begun."""

    congestion_control: CongestionControl = "auto"
    """``auto``: bbr where the kernel offers it (82 % of a lossy link instead of 40 %). ``measured``: bbr and
    cubic by turns on what is sent, then the one that moved more, for a day."""

    dscp: Annotated[int, BeforeValidator(code_point)] = DSCP["le"]
    """Mark on each packet (DSCP). ``le``, lower effort (RFC 8622): who knows it lets all else go first,
    who does not treats it as ordinary traffic."""

    min_request: Annotated[Size, Field(ge=64 * KIB)] = ByteSize(256 * KIB)
    """Smallest request: below it the answer's round trip costs more than the bytes."""

    max_request: Annotated[Size, Field(ge=64 * KIB)] = ByteSize(64 * MIB)
    """Largest request: bounds what a server may hold back and what a proxy may buffer."""

    request_seconds: Seconds = 8.0
    """A request is as long as the measured rate fills in this time; a broken one loses nothing."""

    max_lanes: Annotated[int, Field(ge=1, le=8)] = 8
    """Most connections at once; as many as pay are used, one on a clean link."""

    idle_timeout_seconds: Annotated[float, Field(ge=5, le=3600)] = 60.0
    """Give up a request when no byte moved for so long. There is no total timeout."""

    backoff_base_seconds: Seconds = 1.0
    """First wait after a failure; doubles with each further one."""

    backoff_cap_seconds: Seconds = 60.0
    """Longest wait between two tries: a drone back in range must not sit out an hour."""

    @field_validator("timetable")
    @classmethod
    def _readable_slots(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            _slot(line)
        return lines

    def slots(self) -> tuple[Slot, ...]:
        return tuple(_slot(line) for line in self.timetable)

    @field_validator("max_request")
    @classmethod
    def _in_order(cls, largest: ByteSize, info: ValidationInfo) -> ByteSize:
        smallest = info.data.get("min_request", 0)
        if largest < smallest:
            raise ValueError("must not be less than min_request")
        return largest


class HomeAssistantSettings(Table):
    """Being a device there, by MQTT discovery."""

    enabled: bool = True
    """Tell it of this device over the broker; without a Home Assistant nobody listens."""

    discovery_prefix: Topic = "homeassistant"
    """As in Home Assistant's MQTT integration."""


class MqttSettings(Table):
    """Whom to tell."""

    url: str | None = None
    """``mqtt://host[:port]`` or ``mqtts://``; unset: nobody is told, everything else works."""

    username: str | None = None
    """Login at the broker."""

    password_file: Path | None = None
    """One line. ``$CREDENTIALS_DIRECTORY/mqtt-password`` comes first."""

    topic_prefix: Topic = "edgeup"
    """First part of every topic: ``<prefix>/v1/<device>/state``."""

    ca_file: Path | None = None
    """Certificates (PEM) to trust instead of the system's."""

    client_cert_file: Path | None = None
    """This device's certificate (PEM, with its chain), for a broker that asks for one."""

    client_key_file: Path | None = None
    """Its key, without a password; unset: it is in `client_cert_file`, too."""

    state_interval_seconds: Annotated[float, Field(ge=1, le=86_400)] = 30.0
    """Longest time between two state messages; a change of state is told at once."""

    keepalive_seconds: Annotated[int, Field(ge=5, le=3600)] = 60
    """A silent broker or device is noticed after one and a half times this."""

    home_assistant: HomeAssistantSettings = HomeAssistantSettings()

    @field_validator("url")
    @classmethod
    def _mqtt_url(cls, url: str | None) -> str | None:
        return None if not url else _url(url, ("mqtt", "mqtts"))


class CommandSettings(Table):
    """What may be done here from far away, whichever way it comes: MQTT, or the server's answer.

    A person at the device needs no permission.
    """

    allowed: Patterns = tuple(one for one in VOCABULARY if one not in GUARDED)
    """Commands that are executed. ``cancel``, ``upload_log`` and ``reload`` are not among them unless
    they are named here; an empty list: none."""

    settings: Patterns = tuple(SETTINGS)
    """What may be wanted for good."""

    @field_validator("allowed")
    @classmethod
    def _known_commands(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _among(names, VOCABULARY)

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _among(names, SETTINGS)


class ReportsSettings(Table):
    """What the server is told beside recordings: it shows its operators this device by it."""

    enabled: bool = True
    """Whether it is told; recordings arrive either way."""

    interval_seconds: Annotated[float, Field(ge=5, le=86_400)] = 30.0
    """Between two reports while something is sent or has changed; 300 at least over a metered link."""


class RetentionSettings(Table):
    """When a recording that the server holds is let go."""

    delete: Literal["never", "after_verified"] = "never"
    """``after_verified``: only after the server's receipt for the same digest is durable here, and
    while no program has it open for writing."""

    keep_free: KeepFree = ByteSize(0)
    """With ``after_verified``: keep verified recordings until the card has less free than this, bytes or
    a share of it (``"10%"``), then delete the oldest."""

    keep_days: Annotated[float, Field(ge=0, le=3650)] = 0.0
    """With ``after_verified``: keep recordings for so long after they were found, or until `keep_free`
    needs the room. Neither of both: delete at once."""

    def free_wanted(self, total: int) -> int:
        """Return the bytes that should be free on a card of *total* bytes; 0: no matter."""
        if isinstance(self.keep_free, DiskShare):
            return int(self.keep_free.part * total)
        return self.keep_free


class GroupSettings(Table):
    """Files of one recording: which of them go first, and which wait."""

    original: Literal["always", "unmetered", "on-demand"] = "always"
    """When what is no thumbnail, sidecar or proxy is sent. ``unmetered``: not over a metered link, where the
    small ones go within `daily_bytes`; ``on-demand``: only what is fetched."""

    quiet_seconds: Seconds = 120.0
    """Time after which no other file of a recording is expected: longer than a camera takes from one to the
    next, and than a person who copies them by hand."""


class LogSettings(Table):
    """What is written to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """``info``: state changes; ``debug``: each request."""

    format: Literal["auto", "json", "console"] = "auto"
    """``auto``: console on a terminal, else one JSON object per line for the journal."""


class AgentSettings(LayeredSettings):
    """All of it. Made by `settings_loading.load`, the only way that names where a fault is."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        env_prefix="EDGE_AGENT_",
        env_nested_delimiter="__",
    )

    device_id: str
    """This device's name in topics, on the server and in its folders."""

    state_dir: Path = Path("/var/lib/edge-agent")
    """Database, lock and control socket; on a local file system, not on the camera's card."""

    watch: Annotated[
        tuple[WatchSettings, ...],
        BeforeValidator(tables),
        AfterValidator(_told_apart),
        OneOrMore(),
    ]
    server: ServerSettings
    upload: UploadSettings = UploadSettings()
    priority: tuple[PrioritySettings, ...] = ()
    link: tuple[LinkSettings, ...] = ()
    plan: Annotated[tuple[PlanSettings, ...], AfterValidator(plans_told_apart)] = ()
    deadline: Annotated[tuple[DeadlineSettings, ...], Field(max_length=64)] = ()
    power: PowerSettings = PowerSettings()
    mqtt: MqttSettings = MqttSettings()
    commands: CommandSettings = CommandSettings()
    reports: ReportsSettings = ReportsSettings()
    retention: RetentionSettings = RetentionSettings()
    groups: GroupSettings = GroupSettings()
    log: LogSettings = LogSettings()

    @field_validator("device_id")
    @classmethod
    def _safe_id(cls, device_id: str) -> str:
        if not is_device_id(device_id):
            message = "must be 1 to 63 of a-z, 0-9, '_' and '-', beginning with a letter or digit"
            mended = _mended_device_id(device_id)
            raise ValueError(f'{message}; try "{mended}"' if mended else message)
        return device_id


def _among(names: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0][:64]!r} is none of {', '.join(known)}")
    return names


def _slot(line: str) -> Slot:
    window, _, rate = line.strip().rpartition(" ")
    if rate in {"off", "unlimited"}:
        return Slot(Window.parse(window), 0 if rate == "off" else None)
    try:
        allowed = RATE.validate_python(rate)
    except ValidationError:
        raise ValueError(
            f'{line!r}: write "mon-fri 08:00-18:00 RATE" with a rate such as 500KB, "off" or'
            ' "unlimited"'
        ) from None
    return Slot(Window.parse(window), allowed)


def _mended_device_id(device_id: str) -> str | None:
    mended = re.sub(r"[^a-z0-9_-]+", "-", device_id.lower()).strip("-_")[:63]
    return mended if is_device_id(mended) else None


def _url(url: str, schemes: tuple[str, ...], *, may_have_login: bool = False) -> str:
    """Return *url* without a final slash; the message never repeats it: it may hold a password."""
    forms = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"is not a URL: write {forms}HOST[:PORT]") from None
    if parts.scheme not in schemes or "://" not in url:
        raise ValueError(f"must begin with {forms}")
    if not parts.hostname or port == 0 or not url.isprintable() or " " in url:
        raise ValueError(f"has no usable host: write {forms}HOST[:PORT]")
    if (parts.username or parts.password) and not may_have_login:
        raise ValueError("must not hold a user or password: there are keys for them")
    if parts.query or parts.fragment:
        raise ValueError('must end before any "?" or "#"')
    return url.rstrip("/")
