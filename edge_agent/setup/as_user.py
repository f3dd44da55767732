"""Asking a question as another user: in a child, since there is no way back from being one."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Sequence


def as_user(name: str, groups: Sequence[str], question: Callable[[], bool]) -> bool:
    """Return what *question* answers to that user, in its own group and *groups*; False where it fails."""
    user = pwd.getpwnam(name)
    more = [grp.getgrnam(one).gr_gid for one in groups]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([user.pw_gid, *more])
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            code = 0 if question() else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0
