"""Doing something as another user: in a child, since there is no way back from being one."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @classmethod
    def named(cls, name: str, groups: Sequence[str]) -> User:
        """Return that user, in all of its groups as a service is, and in *groups*."""
        found = pwd.getpwnam(name)
        own = os.getgrouplist(name, found.pw_gid)
        return cls(
            found.pw_uid, found.pw_gid, (*own, *(grp.getgrnam(one).gr_gid for one in groups))
        )

    @classmethod
    def owning(cls, status: os.stat_result) -> User:
        """Return the owner of something, in its own group where it has a name."""
        try:
            return cls(status.st_uid, pwd.getpwuid(status.st_uid).pw_gid)
        except KeyError:
            return cls(status.st_uid, status.st_gid)

    def does(self, action: Callable[[], object]) -> bool:
        """Return whether *action*, done as this user, returned something true; False where it failed."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgroups([self.gid, *self.groups])
                os.setresgid(self.gid, self.gid, self.gid)
                os.setresuid(self.uid, self.uid, self.uid)
                code = 0 if action() else 1
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) == 0
