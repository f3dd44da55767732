"""Rules of the owner: when, over which link, on which power and in which order recordings are sent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from edge_agent.base.setting_values import (
    MOST_FOLDERS,
    Patterns,
    Priority,
    Seconds,
    Size,
    none_if_zero,
    short_name,
    yes_no_or_auto,
)
from edge_agent.core.data_plan import DataPlan
from edge_agent.core.deadline import Deadline
from edge_agent.core.link_rule import LinkRule
from edge_agent.core.packets import CongestionControl
from edge_agent.core.power import PowerRule
from edge_agent.core.schedule import PriorityRule
from edge_agent.core.window import Moment, Window
from edge_host.settings import Table


class PlanSettings(Table):
    """A monthly data plan, of one SIM or shared by several."""

    name: Annotated[str, Field(min_length=1), AfterValidator(short_name)]
    """What the rules for its links call it: ``plan = "sim"``."""

    bytes: Annotated[ByteSize, Field(gt=0)]
    """That it has a month."""

    reset_day: Annotated[int, Field(ge=1, le=31)] = 1
    """Day of the month on which it begins anew, in local time; in shorter months their last."""

    warn_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """From which on it is a problem (``plan_low``)."""

    beyond: Literal["nothing", "now", "deadline"] = "now"
    """What is sent when nothing is left: what a person wants now over metered links (``edge-agent now
    --metered``), or that and what would miss its deadline."""

    def rule(self) -> DataPlan:
        return DataPlan(self.name, self.bytes, self.reset_day, self.warn_percent, self.beyond)


def plans_told_apart(plans: tuple[PlanSettings, ...]) -> tuple[PlanSettings, ...]:
    """Take a few plans of which each has a name of its own.

    Raises:
        ValueError: it is none; the sentence says what would be.
    """
    names = [one.name for one in plans]
    if len(plans) > MOST_FOLDERS:
        raise ValueError(f"there are {len(plans)}: at most {MOST_FOLDERS} plans are counted")
    if twice := [one for one in names if names.count(one) > 1]:
        raise ValueError(f"{twice[0]!r} is the name of more than one: each needs its own")
    return plans


class DeadlineSettings(Table):
    """By when some recordings are wanted, whatever the link costs; the first that fits counts."""

    match: Annotated[str, Field(min_length=1, max_length=200)] = "*"
    """Shell patterns for the place below the watched folder, as `PrioritySettings.match`."""

    folder: str = ""
    """The name of one of several watched folders; empty: all of them."""

    groups: bool = False
    """Whether a recording that fits brings all files of its group with it (docs/groups.md)."""

    by: str
    """``06:00`` or ``mon-fri 06:00`` in local time: the first after a recording was found."""

    @field_validator("by")
    @classmethod
    def _readable_moment(cls, text: str) -> str:
        Moment.parse(text)
        return text

    def rule(self) -> Deadline:
        which = PriorityRule(self.match, 0, self.folder)
        return Deadline(which, Moment.parse(self.by), self.groups)


class PowerSettings(Table):
    """On which power recordings are sent."""

    mains_only: bool = False
    """Whether nothing is sent while the device runs on its battery."""

    min_percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Nothing is sent on a battery that has less; it goes on at 5 % more, or on mains. 0: no matter."""

    def rule(self) -> PowerRule:
        return PowerRule(self.mains_only, self.min_percent)


class LinkSettings(Table):
    """A rule for the network interface that leads to the server; the first that fits counts."""

    match: Annotated[str, Field(min_length=1, max_length=200)]
    """Shell patterns for its name, joined by ``|``: ``wwan*|usb*``."""

    ssid: Annotated[str | None, Field(max_length=200), BeforeValidator(none_if_zero)] = None
    """Shell patterns for the wireless network it is in, as NetworkManager says; unset: any, or none."""

    roaming: bool | None = None
    """Fits only while the modem roams (true), or only while it does not, as ModemManager says."""

    metered: Annotated[bool | Literal["auto"], PlainValidator(yes_no_or_auto)] = False
    """Whether bytes cost money there: nothing is sent over it, or `daily_bytes` if that is set. ``auto``:
    as NetworkManager says; where it says nothing, not."""

    max_rate: Annotated[ByteSize | None, Field(gt=0), BeforeValidator(none_if_zero)] = None
    """Bytes per second over this link; the lesser of this and the other limits counts."""

    windows: Patterns = ()
    """``mon-fri 08:00-18:00`` in local time, when it may be used; empty: always."""

    daily_bytes: Size | None = None
    """What it may carry from midnight to midnight."""

    plan: Annotated[str, AfterValidator(short_name)] = ""
    """The name of the ``[[plan]]`` that its bytes count on: it is used until that is used up."""

    min_priority: Priority = 0
    """Recordings of a lower priority wait for another link."""

    congestion_control: CongestionControl | None = None
    """As `UploadSettings.congestion_control`, in its place on this link; unset: that holds."""

    while_recording: bool = False
    """Whether a metered link, too, carries what is still written to: some of it may go twice."""

    @field_validator("windows")
    @classmethod
    def _readable_windows(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            Window.parse(line)
        return lines

    def rule(self) -> LinkRule:
        return LinkRule(
            match=self.match,
            metered=self.metered is True,
            metered_if_told=self.metered == "auto",
            ssid=self.ssid,
            roaming=self.roaming,
            plan=self.plan,
            max_rate=self.max_rate,
            windows=tuple(Window.parse(line) for line in self.windows),
            daily_bytes=self.daily_bytes,
            min_priority=self.min_priority,
            while_recording=self.while_recording,
            congestion_control=self.congestion_control,
        )


class PrioritySettings(Table):
    """How urgent some recordings are; the first that fits counts, without one it is 0."""

    match: Annotated[str, Field(min_length=1)] = "*"
    """Shell patterns for the place below the watched folder, joined by ``|``; ``*`` stands for ``/``
    as well, upper and lower case are alike: ``event/*|*.mcap``."""

    folder: str = ""
    """The name of one of several watched folders; empty: all of them."""

    min_size: Size = ByteSize(0)
    """Bytes at least."""

    max_size: Annotated[Size | None, BeforeValidator(none_if_zero)] = None
    """Bytes at most; unset or 0: no limit."""

    older_than_seconds: Seconds | None = None
    """Since it was written last; such a rule fits nothing while the clock is not synchronised."""

    younger_than_seconds: Seconds | None = None

    value: Annotated[int, Field(ge=1, le=100)]
    """Higher ones are sent first."""

    @field_validator("max_size")
    @classmethod
    def _in_order(cls, largest: ByteSize | None, info: ValidationInfo) -> ByteSize | None:
        if largest is not None and largest < info.data.get("min_size", 0):
            raise ValueError("must not be less than min_size")
        return largest

    def rule(self) -> PriorityRule:
        return PriorityRule(
            match=self.match,
            value=self.value,
            watch=self.folder,
            min_bytes=self.min_size,
            max_bytes=self.max_size,
            older_than_s=self.older_than_seconds,
            younger_than_s=self.younger_than_seconds,
        )
