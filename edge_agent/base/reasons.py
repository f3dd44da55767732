"""The words for why something waits, and for what is wrong; all of them are part of the public document."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Reason(StrEnum):
    """Why something waits (law L5); the words are part of the public ``state`` document."""

    QUEUED = "queued"
    STILL_RECORDING = "still_recording"
    LINK = "link"
    METERED = "metered"
    SCHEDULE = "schedule"
    BANDWIDTH = "bandwidth"
    PAUSED = "paused"
    HOLD = "hold"
    POWER = "power"
    PLAN = "plan"
    BACKOFF = "backoff"
    CLOCK = "clock"
    AUTH = "auth"
    QUOTA = "quota"
    SERVER_BUSY = "server_busy"
    SERVER_FULL = "server_full"
    VERIFYING = "verifying"
    SOURCE_MISSING = "source_missing"
    DISK = "disk"
    PERMISSION = "permission"
    SOURCE_IO = "source_io"
    SOURCE_SILENT = "source_silent"
    CARD_ABSENT = "card_absent"
    ON_DEMAND = "on_demand"


class ProblemCode(StrEnum):
    """What is wrong and may need a person; a set of these is part of the ``state`` document."""

    SERVER_UNREACHABLE = "server_unreachable"
    AUTH_FAILED = "auth_failed"
    QUOTA = "quota"
    CHECKSUM = "checksum"
    DISK_LOW = "disk_low"
    DELETE_FAILED = "delete_failed"
    STORE = "store"
    STATE_FULL = "state_full"
    CLOCK_UNSYNCED = "clock_unsynced"
    MQTT_ACL = "mqtt_acl"
    MQTT_AUTH = "mqtt_auth"
    MQTT_UNREACHABLE = "mqtt_unreachable"
    MQTT_REFUSED = "mqtt_refused"
    DUPLICATE_ID = "duplicate_id"
    WATCH_LIMIT = "watch_limit"
    CONFIG = "config"
    SOURCE_MISSING = "source_missing"
    CARD_ABSENT = "card_absent"
    PERMISSION = "permission"
    SOURCE_IO = "source_io"
    SOURCE_SILENT = "source_silent"
    LEFT_OUT = "left_out"
    RULE_UNKNOWN = "rule_unknown"
    HOLD_STALE = "hold_stale"
    PLAN_LOW = "plan_low"
    DIRECT_UNREACHABLE = "direct_unreachable"
    DEADLINE_LATE = "deadline_late"
    INSECURE_TRANSPORT = "insecure_transport"
    WATCHER_FAILED = "watcher_failed"
    SENDER_FAILED = "sender_failed"
    JANITOR_FAILED = "janitor_failed"
    REPORTER_FAILED = "reporter_failed"
    COMMANDS_FAILED = "commands_failed"
    ENROLMENT_FAILED = "enrolment_failed"
    SERVER_REPORTS_FAILED = "server_reports_failed"


_REPORT_IT = "keep the log (worker.failed names the error) and report it"


FAILURES: Mapping[ProblemCode, str] = MappingProxyType(
    {
        ProblemCode.WATCHER_FAILED: (
            "what finds recordings fails at each try: new ones are not noticed, known ones are sent;"
            f" {_REPORT_IT}; systemd restarts the agent after some minutes of that"
        ),
        ProblemCode.SENDER_FAILED: (
            f"what sends fails at each try: nothing is sent, and nothing is lost; {_REPORT_IT};"
            " systemd restarts the agent after some minutes of that"
        ),
        ProblemCode.JANITOR_FAILED: (
            "what deletes fails at each try: recordings are sent and none is deleted, so the card may"
            f" fill; {_REPORT_IT}, and make room by hand if it is needed"
        ),
        ProblemCode.REPORTER_FAILED: (
            "what tells the broker fails at each try: recordings are sent, nobody is told over MQTT,"
            f" events are kept; {_REPORT_IT}"
        ),
        ProblemCode.COMMANDS_FAILED: (
            "what goes on with commands fails at each try: recordings are sent, a command that takes long"
            f" is not done, a pause for a time ends all the same; {_REPORT_IT}"
        ),
        ProblemCode.ENROLMENT_FAILED: (
            "what claims a token fails at each try: nothing is sent before there is one;"
            f" {_REPORT_IT}, and put a token of `ingest-server token add` into [server] token_file"
        ),
        ProblemCode.SERVER_REPORTS_FAILED: (
            "what tells the server about this device fails at each try: recordings are sent, the"
            f" server's operators see nothing of it and command nothing; {_REPORT_IT}"
        ),
    }
)
"""Of each worker that may fail at every step: what that means and what to do."""
