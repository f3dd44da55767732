"""Who is logged in: a person, by a password once, and by a cookie from then on.

The cookie holds 256 random bits, the database their SHA-256. A session ends when it was not used for
`IDLE`, is as old as `LONGEST`, its user logs out, is removed or gets another password; by the wall
clock or by the server's uptime, whichever comes first, so that a clock that is set back prolongs none.

Wrong passwords are bounded by address before they are looked at, and by user for whoever was never
right from there: somebody else's guesses do not lock a person out where that person works.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from edge_host.clock import Clock, rfc3339
from ingest_server.auth import passwords
from ingest_server.auth.audit import Audit
from ingest_server.auth.throttle import Throttle
from ingest_server.core.errors import Refused
from ingest_server.front.address import site_of
from ingest_server.storage.interface import SessionRecord, UserRecord, Users

IDLE = timedelta(hours=12)
LONGEST = timedelta(days=30)
NOTED_EVERY = timedelta(hours=1)
"""How exact "last used" is on the disk."""

ADDRESS_BURST, ADDRESS_EVERY_S = 10, 6.0
USER_BURST, USER_EVERY_S = 30, 30.0
"""Over all addresses 2,880 guesses a day: of a password of ten characters nobody's list is so short."""
IN_LINE = 5
"""Logins at once: one is hashed, the others wait; each has a thread."""
BUSY_RETRY_S = 2.0
MOST_KNOWN = 1024

Moment = tuple[datetime, float]
"""The wall clock, and the server's uptime."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}\Z")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def is_user_name(text: str) -> bool:
    return _NAME.match(text) is not None


def csrf_token(secret: str) -> str:
    """Return what a page shows beside the cookie to change something; only the cookie leads to it."""
    return hmac.new(secret.encode("ascii"), b"csrf", hashlib.sha256).hexdigest()


class Sessions:
    """The sessions of one server."""

    def __init__(
        self, users: Users, clock: Clock, uptime_s: Callable[[], float], audit: Audit
    ) -> None:
        self._users = users
        self._clock = clock
        self._uptime_s = uptime_s
        self._audit = audit
        self._by_address = Throttle(clock.now_s, burst=ADDRESS_BURST, every_s=ADDRESS_EVERY_S)
        self._by_user = Throttle(clock.now_s, burst=USER_BURST, every_s=USER_EVERY_S)
        self._by_stranger = Throttle(clock.now_s, burst=USER_BURST, every_s=USER_EVERY_S)
        """As by user, of names that nobody has: else who is refused for too many would be known to exist.
        Beside it, so that no flood of such names makes the guesses at a user's forgotten."""
        self._salt = secrets.token_bytes(16)
        self._line = threading.BoundedSemaphore(IN_LINE)
        self._hashing = threading.Lock()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        """User and address of the latest right passwords."""
        self._uses: OrderedDict[bytes, tuple[Moment, Moment]] = OrderedDict()
        """By session: when it was last used, and when the store was last told of a use."""
        self._lock = threading.Lock()

    def has_users(self) -> bool:
        """Whether anybody could log in."""
        return bool(self._users.users())

    def log_in(self, name: str, password: str, remote: str | None) -> str:
        """Return the secret of a new session; durable on return.

        Raises:
            Refused: name or password are wrong, or too many were, or too many log in just now.
        """
        if not self._line.acquire(blocking=False):
            detail = f"{IN_LINE} others log in just now"
            raise Refused("server-busy", detail, retry_after_s=BUSY_RETRY_S)
        try:
            with self._hashing:
                user = self._right_user(name, password, site_of(remote or ""))
        finally:
            self._line.release()
        secret, (now, up_s) = secrets.token_urlsafe(32), self._now()
        at = rfc3339(now)
        session = SessionRecord(_hash(secret), user.name, user.role, at, up_s, at, up_s)
        with self._audit.action("session.begin", None, user.name):
            if not self._users.begin_session(session, password=user.password):
                raise _wrong()
        return secret

    def _right_user(self, name: str, password: str, site: str) -> UserRecord:
        self._refuse_after_too_many(name, site)
        user = self._users.user(name) if is_user_name(name) else None
        if passwords.is_right(password, None if user is None else user.password) and user:
            self._known[name, site] = None
            self._known.move_to_end((name, site))
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
            return user
        self._by_address.failed(site)
        if user is not None:
            self._by_user.failed(name)
        else:
            self._by_stranger.failed(self._shadow(name))
        # A name that nobody has is noted nowhere: it may be a password, typed in the wrong place.
        self._audit.note(
            "session.begin",
            device=None,
            object_=None if user is None else user.name,
            result="unauthorized",
        )
        raise _wrong()

    def _refuse_after_too_many(self, name: str, site: str) -> None:
        waits = [self._by_address.wait_s(site)]
        if (name, site) not in self._known:
            waits += [self._by_user.wait_s(name), self._by_stranger.wait_s(self._shadow(name))]
        wait_s = max((one for one in waits if one is not None), default=None)
        if wait_s is not None:
            detail = "too many wrong passwords; the right one is not looked at either until then"
            raise Refused("too-many-requests", detail, retry_after_s=wait_s)

    def _shadow(self, name: str) -> str:
        """Return what stands for a name that may be a password; nobody can tell which it was."""
        return hmac.new(self._salt, name.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def find(self, secret: str | None) -> SessionRecord | None:
        """Return the session of that secret, and note that it is in use; None: there is none."""
        if secret is None or not _SECRET.match(secret):
            return None
        wanted = _hash(secret)
        found = self._users.session(wanted)
        if found is None or not hmac.compare_digest(found.session_hash, wanted):
            return None
        if not self._is_good(found):
            return None
        return found

    def _is_good(self, session: SessionRecord) -> bool:
        """Whether it is neither too old nor was left for too long; it is in use, then."""
        key, now = session.session_hash, self._now()
        stored = datetime.fromisoformat(session.used_at), session.used_s
        begun = datetime.fromisoformat(session.created_at), session.begun_s
        with self._lock:
            used, noted = self._uses.pop(key, (stored, stored))
            if _age(begun, now) > LONGEST or _age(used, now) > IDLE:
                return False
            is_due = _age(noted, now) > NOTED_EVERY
            self._uses[key] = now, now if is_due else noted
            while len(self._uses) > MOST_KNOWN:
                self._uses.popitem(last=False)
        if is_due:
            with suppress(Refused):  # it only helps: at worst somebody logs in once more
                self._users.touch_session(key, rfc3339(now[0]), now[1])
        return True

    def _now(self) -> Moment:
        return self._clock.now_utc(), self._uptime_s()

    def log_out(self, secret: str, user: str) -> None:
        """End a session; durable on return."""
        with self._audit.action("session.end", None, user):
            self._users.end_session(_hash(secret))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _wrong() -> Refused:
    return Refused("unauthorized", "the user name or the password is wrong")


def _age(since: Moment, now: Moment) -> timedelta:
    """Return how long ago that was, by the clock that says more."""
    return max(now[0] - since[0], timedelta(seconds=now[1] - since[1]))
