"""Requests as uploads make them: what answers a question may still refuse, or swallow, a body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

from edge_agent.base.clock import Clock
from edge_agent.base.errors import (
    ConfigError,
    ForeignRefusalError,
    LinkDownError,
    NotDirectError,
    ServerBusyError,
    TransportError,
)
from edge_agent.base.settings import AgentSettings
from edge_agent.core.plan import MIB, RequestSizing, request_bytes
from edge_agent.core.schedule import SendingRules
from edge_agent.media.folders import Folders
from edge_agent.net.way import NOT_SMALLER, Way
from edge_agent.operate.checks.finding import Finding
from edge_agent.operate.figures import size
from edge_agent.send.enrolment import has_token
from edge_agent.send.trial import Trial

_TRIES = 12
_DIRECT_BYTES = 1024
"""Enough to see whether the store is reached; what a metered link carries without a thought."""
_SOON_S = 10.0
"""A try that takes longer is announced."""
_FULL_PACKETS = "full packets are lost on the way (an MTU below 1500 that nobody tells)"

_AGREE = 2
"""Connections that carry equally much are enough to name that: the agent itself wants to see more of them."""
_SHORT = "connections end or stand still after about {} (a firewall or a proxy on the way)"


def check_requests(settings: AgentSettings, clock: Clock, rules: SendingRules) -> Iterator[Finding]:
    """Send bodies of the size that uploads have, to an upload that is given up again.

    Args:
        rules: what the owner allows now: no more bytes in a second, and where the link costs money the
            first and small one does.
    """
    if settings.server.claim_token_file is not None and not has_token(settings.server):
        return
    way = Way(agree=_AGREE)
    way.least_request = settings.upload.min_request
    upload, most = settings.upload, rules.max_rate
    sizing = RequestSizing(upload.min_request, upload.max_request, upload.request_seconds)
    trial = Trial(settings, clock, way, max_rate=most)
    small = MIB if most is None else min(MIB, request_bytes(most, sizing))
    if most is not None and small > _SOON_S * most:
        text = f"one of {size(small)} is tried at {size(most)}/s: that takes {small / most:.0f} s"
        yield Finding("OK", "requests", text)
    with suppress(ConfigError), closing(trial):  # `check_server` has said what is wrong there
        first = _fitting(trial, small)
        yield first
        if first.level != "FAIL" and not rules.is_metered and trial.rate is not None:
            largest = request_bytes(trial.rate, sizing, server_max=way.limit(trial.server_max))
            if largest > small:
                yield _fitting(trial, largest)
        if first.level != "FAIL":
            yield from _straight(trial, settings)
    yield from _left(trial)


def _straight(trial: Trial, settings: AgentSettings) -> Iterator[Finding]:
    """Send a few bytes straight to the server's store, where it offers that for what a folder brings."""
    for watched in Folders(settings.watch):
        name = watched.name
        metadata = {**watched.rules.metadata, **({"watch": name} if name else {})}
        try:
            if trial.send_direct(_DIRECT_BYTES, name, metadata):
                text = "the server's store takes recordings straight from this device"
                yield Finding("OK", "direct", text)
                return
        except NotDirectError as error:
            text = f"recordings go through the server, and not straight to its store: {error}"
            yield Finding("WARN", "direct", text)
            return
        except TransportError as error:
            yield Finding("WARN", "direct", f"could not be tried: {error}")
            return


def _left(trial: Trial) -> Iterator[Finding]:
    """Say which uploads of the trial are still open on the server, who counts them for this device."""
    for upload_id, why in trial.left.items():
        text = (
            f"the upload {upload_id}, made to try them, could not be given up ({why}): the server ends it"
            f" by itself in time; ingest-server abort {upload_id} there does it now"
        )
        yield Finding("WARN", "requests", text)


def _fitting(trial: Trial, length: int) -> Finding:
    """Send *length* bytes at once, or what passes instead, as the agent finds it out."""
    wanted = length
    why: list[str] = []
    broken: list[str] = []
    """Tries in a row, up to now, of which nobody said why they did not get through."""
    for _ in range(_TRIES):
        length = min(length, trial.way.limit(trial.server_max) or length)
        try:
            trial.send(length)
        except ForeignRefusalError as error:
            why += broken
            broken.clear()
            why.append(f"something on the way answers {error.status} to {size(error.length)}")
            if not trial.way.refused(error.status, error.length):
                least = trial.way.least_request
                text = (
                    f"{why[-1]}; smaller ones than [upload] min_request ({least} bytes) are not tried:"
                    " lower it, or let the proxy take longer bodies, and PUT"
                )
                return Finding("FAIL", "requests", text)
        except ServerBusyError as error:
            return Finding("WARN", "requests", f"could not be tried: {error}")
        except LinkDownError as error:
            text = f"one of {size(length)} does not get through, though the server answers: {error}"
            if _is_cut_in_part(trial):
                carried = trial.way.learned.max_connection
                why[:] = [text if carried is None else _SHORT.format(size(carried))]
                continue
            if not trial.way.lost_full_packets():
                advice = "" if trial.way.sets_packets else f"; {NOT_SMALLER}"
                return Finding("FAIL", "requests", text + advice)
            broken.append(text)
        except TransportError as error:
            return Finding("FAIL", "requests", f"one of {size(length)} is refused: {error}")
        else:
            # Only where the next try, with smaller packets, passes it is known what broke the one before.
            if broken:
                why.append(_FULL_PACKETS)
            return _passed(trial.way, wanted, length, why, is_mtu=bool(broken))
    why += broken
    return Finding("FAIL", "requests", f"none gets through: {'; '.join(why)}")


def _is_cut_in_part(trial: Trial) -> bool:
    """Return whether some of it has arrived: another one tells whether that is all that connections carry."""
    with suppress(TransportError):
        return trial.arrived_in_part()
    return False


def _passed(way: Way, wanted: int, length: int, why: list[str], *, is_mtu: bool) -> Finding:
    known = way.learned
    if not why:
        return Finding("OK", "requests", f"one of {size(length)} got through")
    found = [f"of at most {size(length)}"] if length < wanted else []
    if known.max_connection is not None:
        found.append("each over a connection of its own")
    elif not found and not known.as_post and known.max_segment is None:
        return Finding("WARN", "requests", f"{why[-1]}; the next one got through")
    if known.as_post:
        found.append("as POST in place of PUT")
    if known.max_segment is not None:
        action = " (set the MTU of the interface, or let ICMP pass)" if is_mtu else ""
        found.append(f"in packets of {known.max_segment} bytes{action}")
    text = f"{'; '.join(why)}; the agent sends them {', '.join(found)}: that works"
    return Finding("WARN", "requests", text)
