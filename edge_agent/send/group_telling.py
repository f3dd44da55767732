"""Telling the server which recordings belong together, once nothing more is expected of them.

A group that is whole is told of, with what it holds back or misses; and again when more of it has arrived.
Nothing waits for this: recordings are sent, verified and let go without it. What could not be told is told
later; a server that knows no groups is asked again in an hour.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from edge_agent.base.errors import (
    AbortedError,
    ChannelError,
    ConfigError,
    ConflictError,
    RejectedError,
    ServerBusyError,
    StoreError,
    TransportError,
    UploadLostError,
)
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.bag_list import NAME as BAG_LIST
from edge_agent.core.group_standing import GroupFile, GroupStanding, standing
from edge_agent.send.clients.interface import CanTellOfGroups
from edge_agent.store.groups import Group, Groups
from edge_agent.store.outbox import NewEvent
from upload_protocol.groups import MAX_MEMBERS, MAX_MISSING, GroupMember, GroupReport, GroupStatus

log = structlog.get_logger()

_PAGE = 20
_IDLE_S = 60.0
_HELD_S = 10.0
_LIST_S = 2.0
"""Between two looks for a list of files: it may be sent and deleted soon after it is written."""
_AGAIN_S = 20.0
"""From the first file that has arrived to the word that others have not, and from one such word to the next."""
_STILL_READ_S = 60.0
_NO_MORE_S = 3600.0
"""To the next word of a group of which the server has removed something: it may never be whole there."""
_UNKNOWN_S = 3600.0
"""Until a server that knows no groups, or refuses this one, is asked again."""
_STORE_S = 30.0
_BAG = "rosbag2"
_OF_THE_GROUP = (RejectedError, ConflictError, UploadLostError, ChannelError)
"""What the server says of this group, and of no other."""


class GroupTelling:
    """A worker. `step` from one thread, but `wake_runner`.

    Args:
        connect: makes the client; asked once there is something to tell.
        listed: the names that a recorder's own list of files has, read from the recording of that number;
            None: it cannot be read.
        may_send: whether the owner's rules, and the link, let something be sent now.
        jitter: draws from ``[0, 1)``.
    """

    def __init__(
        self,
        groups: Groups,
        connect: Callable[[], CanTellOfGroups],
        *,
        device_id: str,
        listed: Callable[[int], Sequence[str] | None],
        may_send: Callable[[], bool],
        jitter: Callable[[], float],
    ) -> None:
        self._groups = groups
        self._connect = connect
        self._device_id = device_id
        self._listed = listed
        self._may_send = may_send
        self._jitter = jitter
        self._backoff = BackoffPolicy(10.0, 600.0)
        self._client: CanTellOfGroups | None = None
        self._failures = 0
        self._told_s: dict[int, float] = {}
        """Groups that are not complete -> when they were told of, or some of them was first seen to be there."""
        self._later: list[tuple[Group, float | None]] = []
        """When to look at groups again: written down together, for the card's sake."""
        self._lists: dict[int, Sequence[str]] = {}
        """Groups that are not whole -> what is in their list of files, read while it was there."""
        self._too_large: set[int] = set()
        """Groups of which this run has said so."""
        self._until_s = 0.0
        self._housekept_s = 0.0

    def step(self, now_s: float) -> float:
        """Look at some groups that are due; return the seconds until the next look."""
        if now_s < self._until_s:
            return self._until_s - now_s
        if not self._may_send():
            return _HELD_S
        try:
            if now_s >= self._housekept_s:
                self._housekept_s = now_s + _UNKNOWN_S
                self._groups.forget_old(_PAGE * _PAGE)
            try:
                for group in self._groups.due(_PAGE):
                    self._look(group, now_s)
                    if now_s < self._until_s:
                        return self._until_s - now_s
            finally:
                self._put_off()
            next_s = self._groups.next_s()
        except StoreError as error:
            log.debug("group.waits", error=str(error))
            return _STORE_S
        except (TransportError, ConfigError) as error:
            return self._on_failure(error, now_s)
        return _IDLE_S if next_s is None else min(next_s, _IDLE_S)

    def close(self) -> None:
        """Let the connection go; `step` is not called any more."""
        if self._client is not None:
            self._client.close()

    def abort(self) -> None:
        """Break the running request off; from any thread."""
        if self._client is not None:
            self._client.abort()

    def _on_failure(self, error: Exception, now_s: float) -> float:
        if isinstance(error, AbortedError):
            return _IDLE_S
        self._failures += 1
        wait_s = error.retry_after_s if isinstance(error, ServerBusyError) else None
        if wait_s is None:
            wait_s = max(1.0, self._backoff.delay_s(self._failures, jitter=self._jitter()))
        self._until_s = now_s + wait_s
        log.debug("group.failed", error=str(error), wait_s=round(wait_s, 1))
        return wait_s

    def _look(self, group: Group, now_s: float) -> None:
        members = self._groups.members(group, MAX_MEMBERS + 1)
        if len(members) > MAX_MEMBERS:
            self._say_too_large(group)
            members = []
        found = self._standing(group, members)
        if len(members) < 2 and not found.missing:
            self._leave(group)
        elif not found.is_whole:
            self._later.append((group, self._wait_s(group)))
        else:
            self._tell(group, members, found, now_s)

    def _say_too_large(self, group: Group) -> None:
        if group.seq in self._too_large:
            return  # each further file has it looked at again
        self._too_large.add(group.seq)
        log.warning(
            "group.too_large",
            group=group.title,
            error=f"more than {MAX_MEMBERS} files belong together by their names: they are sent, and"
            " the server is told of no group",
        )

    def _put_off(self) -> None:
        later, self._later = self._later, []
        self._groups.put_off(later)

    def _leave(self, group: Group) -> None:
        """Look at *group* no more until something is new of it."""
        self._later.append((group, None))
        self._told_s.pop(group.seq, None)
        self._lists.pop(group.seq, None)

    def _standing(self, group: Group, members: Sequence[GroupFile]) -> GroupStanding:
        listed = self._list_of(group, members) if group.family == _BAG else None
        return standing(
            members,
            quiet_for_s=self._groups.quiet_for_s(group),
            quiet_s=self._groups.quiet_s,
            has_later=self._groups.has_later(group),
            listed=listed,
            waits_for_list=group.family == _BAG and not _lists(members),
        )

    def _list_of(self, group: Group, members: Sequence[GroupFile]) -> Sequence[str] | None:
        for one in _lists(members):
            if (read := self._listed(one.number)) is not None:
                self._lists[group.seq] = read
        return self._lists.get(group.seq)

    def _wait_s(self, group: Group) -> float:
        if group.family == _BAG and group.seq not in self._lists:
            return _LIST_S
        left_s = self._groups.quiet_s - self._groups.quiet_for_s(group)
        return left_s if left_s > 0 else self._groups.quiet_s  # a receipt has it looked at sooner

    def _tell(
        self, group: Group, members: Sequence[GroupFile], found: GroupStanding, now_s: float
    ) -> None:
        report = self._report(group, members, found)
        digest = hashlib.sha256(json.dumps(report.to_json()).encode()).digest()
        is_complete = found.is_complete(members)
        is_begun = found.missing or any(one.has_arrived for one in members)
        if not is_begun or (digest == group.told and (group.is_complete or not is_complete)):
            self._leave(group)
            return
        told_s = self._told_s.setdefault(group.seq, now_s)
        if now_s - told_s < _AGAIN_S and not is_complete:
            self._later.append((group, _AGAIN_S - (now_s - told_s)))
            return
        try:
            status = self._connected().tell_of_group(report)
        except _OF_THE_GROUP as error:
            log.warning(
                "group.refused",
                group=group.title,
                error=str(error),
                action="its files are sent all the same; the server is asked again in an hour",
            )
            self._later.append((group, _UNKNOWN_S))
            return
        self._failures = 0
        if status is None:
            self._until_s = now_s + _UNKNOWN_S
            log.info("group.untold", detail="the server is too old to know groups")
            return
        self._told_s[group.seq] = now_s
        if is_complete and status.state != "complete":
            is_here = status.done >= status.expected
            self._later.append((group, _STILL_READ_S if is_here else _NO_MORE_S))
            return
        self._groups.told(
            group,
            digest,
            is_complete=is_complete,
            tell=[_completed(group, members, status)] if is_complete else (),
        )
        if is_complete:
            self._told_s.pop(group.seq, None)
            self._lists.pop(group.seq, None)
            log.info("group.completed", group=group.title, files=len(members))

    def _report(
        self, group: Group, members: Sequence[GroupFile], found: GroupStanding
    ) -> GroupReport:
        return GroupReport(
            group=group.id,
            family=group.family,
            title=group.title,
            folder=members[0].folder if members else "",
            members=tuple(_said(one) for one in members),
            missing=found.missing[:MAX_MISSING],
            is_whole=True,
            device=self._device_id,
        )

    def _connected(self) -> CanTellOfGroups:
        if self._client is None:
            self._client = self._connect()
        return self._client


def _lists(members: Sequence[GroupFile]) -> list[GroupFile]:
    return [one for one in members if one.name.lower() == BAG_LIST]


def _said(member: GroupFile) -> GroupMember:
    receipt = member.receipt
    return GroupMember(
        name=member.name,
        folder=member.folder,
        role=member.role.word,
        length=member.length if receipt is None else receipt.length,
        part=member.part,
        modified_at=member.modified_at,
        digest=None if receipt is None else receipt.digest,
        upload_id=None if receipt is None else receipt.upload_id,
    )


def _completed(group: Group, members: Sequence[GroupFile], status: GroupStatus) -> NewEvent:
    data: dict[str, Any] = {
        "group": group.id,
        "title": group.title,
        "family": group.family,
        "revision": status.revision,
        "files": len(members),
        "bytes": sum(one.length for one in members),
        "manifest": status.manifest,
    }
    return NewEvent("group.completed", data, subject=group.id)
