"""What each problem means and what to do, for who reads ``edge-agent status``; docs/mqtt.md says more."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edge_agent.base.reasons import FAILURES, ProblemCode

_MEDIA_FOLDER = 'docs/install.md, "The media folder"'

IN_WORDS: Mapping[ProblemCode, str] = MappingProxyType(
    {
        **FAILURES,
        ProblemCode.SERVER_UNREACHABLE: (
            "the server does not answer, or somebody else does: look at the network and at [server] url;"
            " `edge-agent check` tries each step"
        ),
        ProblemCode.AUTH_FAILED: (
            "the server refuses this device's token or certificate: look at `ingest-server token list`, and"
            " give the device a new one"
        ),
        ProblemCode.QUOTA: (
            "this device's unfinished uploads fill its quota on the server: it goes on when one is done;"
            " `ingest-server abort` ends those that nobody needs"
        ),
        ProblemCode.CHECKSUM: (
            "the server's digest or receipt is not for the bytes here: nothing is deleted on it; the log names the"
            " file"
        ),
        ProblemCode.DISK_LOW: (
            "the recordings' disk is nearly full: make room, or let [retention] delete what is verified"
        ),
        ProblemCode.DELETE_FAILED: (
            "a verified file cannot be deleted, and stays: give the agent's user the right to write in its"
            f" folder ({_MEDIA_FOLDER})"
        ),
        ProblemCode.STORE: (
            "state_dir cannot be written: its disk is full, broken or read-only; make room, or replace it"
        ),
        ProblemCode.STATE_FULL: (
            "the disk of state_dir is full: the agent goes on with what it had held back there; make room"
        ),
        ProblemCode.CLOCK_UNSYNCED: (
            "nobody has set the clock: uploads do not need it, rules by time of day do not count; enable an"
            " NTP client"
        ),
        ProblemCode.MQTT_UNREACHABLE: (
            "the broker does not answer: look at the network and at [mqtt] url; uploads go on without it"
        ),
        ProblemCode.MQTT_AUTH: (
            "the broker refuses the login, or the password file cannot be read: look at [mqtt] username and"
            " password_file; uploads go on without it"
        ),
        ProblemCode.MQTT_ACL: (
            "the broker's rules refuse what the agent says or wants to hear: docs/mqtt.md has the rules that"
            " it needs; uploads go on without it"
        ),
        ProblemCode.MQTT_REFUSED: (
            "the broker refuses an event, mostly as too large: raise its max_packet_size; the log names the"
            " event, and the others go on"
        ),
        ProblemCode.DUPLICATE_ID: (
            "another agent uses this device_id at the broker or at the server: give each device an id of its"
            " own (a copied card has the same)"
        ),
        ProblemCode.WATCH_LIMIT: (
            "the kernel watches no more folders, so new files are found later, by the scan: raise the limit"
            " that the log names"
        ),
        ProblemCode.CONFIG: (
            "the last reload was refused, and the old configuration is in force: the log names the key"
        ),
        ProblemCode.INSECURE_TRANSPORT: (
            "[server] url is plain http to another machine, which shows recordings and token to anybody on"
            " the way: use https"
        ),
    }
)
"""Of each problem of which no other line of the page speaks."""
