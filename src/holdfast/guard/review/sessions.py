"""Who is on the review page: signed-in persons, open challenges, the admin's code. A restart forgets them."""

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
class Visit:
    """A signed-in person; `token` must come back in a header, which no foreign page can send."""

    person: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    began: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)


class Visits:
    """Signed-in persons by cookie."""

    def __init__(self) -> None:
        self._visits: dict[str, Visit] = {}

    def begin(self, person: str) -> str:
        """Sign a person in; returns the cookie."""
        cookie = secrets.token_urlsafe(32)
        self._visits[cookie] = Visit(person)
        return cookie

    def find(self, cookie: str) -> Visit | None:
        """Whose cookie it is; None where it is nobody's, or has been idle for a quarter of an hour."""
        visit, now = self._visits.get(cookie), time.monotonic()
        if visit is None:
            return None
        if now - visit.seen > _IDLE or now - visit.began > _LONGEST:
            self.end(cookie)
            return None
        visit.seen = now
        return visit

    def end(self, cookie: str) -> None:
        """Sign out."""
        self._visits.pop(cookie, None)


class Challenges:
    """Challenges given out, each good once and for five minutes, with what was said when it was."""

    def __init__(self) -> None:
        self._open: dict[bytes, tuple[float, tuple[str, ...]]] = {}

    def give(self, challenge: bytes, *said: str) -> None:
        """Remember a challenge."""
        now = time.monotonic()
        self._open = {c: kept for c, kept in self._open.items() if now - kept[0] < _CHALLENGE}
        while len(self._open) >= _MOST_OPEN:
            del self._open[next(iter(self._open))]
        self._open[challenge] = (now, said)

    def take(self, challenge: bytes) -> tuple[str, ...]:
        """What was said when it was given; it is good no more.

        Raises:
            RefusedError: it was not given here, or too long ago, or was taken before.
        """
        given = self._open.pop(challenge, None)
        if given is None or time.monotonic() - given[0] > _CHALLENGE:
            raise RefusedError("this took too long, or was sent twice", remedy="try again")
        return given[1]


class AdminCode:
    """A code in the terminal that lets one person enrol; five wrong tries or one use, and there is a new one.

    Args:
        show: prints the code where only the admin can see it.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._renew()

    def check(self, code: str) -> None:
        """Make sure of the code, and use it up.

        Raises:
            RefusedError: it is wrong.
        """
        right = secrets.compare_digest(code.strip().encode("utf-8", "replace"), self._code.encode())
        self._tries -= 1
        if right or not self._tries:
            self._renew()
        if not right:
            raise RefusedError("wrong admin code", remedy="the terminal that runs the review page shows it")

    def _renew(self) -> None:
        self._code, self._tries = "-".join(secrets.token_hex(2) for _ in range(4)), _TRIES
        self._show(self._code)
