"""In-memory state of the review page: user sessions, open challenges and the admin code; lost on restart."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.core.errors import RefusedError

_IDLE, _LONGEST = 15 * 60, 8 * 3600
_CHALLENGE = 5 * 60
_MOST_OPEN, _TRIES = 1000, 5


@dataclass
class UserSession:
    """A signed-in person; requests must send `token` in a header, which another site cannot do (CSRF protection)."""

    person: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    began: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)


class UserSessions:
    """User sessions by cookie."""

    def __init__(self) -> None:
        self._sessions: dict[str, UserSession] = {}

    def begin(self, person: str) -> str:
        """Sign a person in and return the cookie."""
        cookie = secrets.token_urlsafe(32)
        self._sessions[cookie] = UserSession(person)
        return cookie

    def find(self, cookie: str) -> UserSession | None:
        """Return the session of a cookie; None if there is none, or it was idle for 15 minutes."""
        session, now = self._sessions.get(cookie), time.monotonic()
        if session is None:
            return None
        if now - session.seen > _IDLE or now - session.began > _LONGEST:
            self.end(cookie)
            return None
        session.seen = now
        return session

    def end(self, cookie: str) -> None:
        """Sign out."""
        self._sessions.pop(cookie, None)


class Challenges:
    """Issued challenges with their data; each is valid once and for five minutes."""

    def __init__(self) -> None:
        self._open: dict[bytes, tuple[float, tuple[str, ...]]] = {}

    def give(self, challenge: bytes, *data: str) -> None:
        """Store a challenge with its data."""
        now = time.monotonic()
        self._open = {c: kept for c, kept in self._open.items() if now - kept[0] < _CHALLENGE}
        while len(self._open) >= _MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[challenge] = (now, data)

    def take(self, challenge: bytes) -> tuple[str, ...]:
        """Consume a challenge and return its data.

        Raises:
            RefusedError: the challenge is unknown, expired or already used.
        """
        given = self._open.pop(challenge, None)
        if given is None or time.monotonic() - given[0] > _CHALLENGE:
            raise RefusedError("this challenge has expired or was used already", remedy="try again")
        return given[1]


class AdminCode:
    """A code that lets one person enrol; replaced after one use or five wrong tries.

    Args:
        show: prints the code where only the admin sees it.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._renew()

    def check(self, code: str) -> None:
        """Verify and consume the code.

        Raises:
            RefusedError: the code is wrong.
        """
        right = secrets.compare_digest(code.strip().encode("utf-8", "replace"), self._code.encode())
        self._tries -= 1
        if right or not self._tries:
            self._renew()
        if not right:
            raise RefusedError("wrong admin code", remedy="read it in the terminal that runs the review page")

    def _renew(self) -> None:
        self._code, self._tries = "-".join(secrets.token_hex(2) for _ in range(4)), _TRIES
        self._show(self._code)
