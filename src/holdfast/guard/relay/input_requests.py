"""Input requests of a server in the 2026-07-28 era; each may be answered once.

The client returns the server's `requestState` with its answers, so an attacker may have changed it. The guard passes it
once, only with the request that it was issued for, and only with answers to the questions that the server asked.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.core.identity import key_of
from holdfast.guard.relay.jsonrpc import INVALID_PARAMS, Refused
from holdfast.guard.relay.methods import ROUND

_SECONDS = 900.0
_MOST = 4096


class Rounds:
    """The open input requests of one run with one server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()

    def opened(self, method: str, params: Mapping[str, Any], state: object, asked: Iterable[str]) -> None:
        """Record that the server answered a request with input requests."""
        with self._lock:
            self._open[_key(method, params, state)] = (time.monotonic() + _SECONDS, frozenset(asked))
            while len(self._open) > _MOST:
                self._open.popitem(last=False)

    def spend(self, method: str, params: Mapping[str, Any]) -> None:
        """Let a request that answers input requests pass once.

        Raises:
            Refused: the server asked nothing on this request, it was answered already, or the answers belong to other
                questions.
        """
        if not ROUND & params.keys():
            return
        with self._lock:
            until, asked = self._open.pop(_key(method, params, params.get("requestState")), (0.0, frozenset()))
        answers = params.get("inputResponses", {})
        if time.monotonic() > until or not isinstance(answers, dict) or answers.keys() - asked:
            raise Refused(INVALID_PARAMS, "the answers match no open input request of the server")


def _key(method: str, params: Mapping[str, Any], state: object) -> str:
    asked_for = {name: value for name, value in params.items() if name not in ROUND and name != "_meta"}
    return key_of([method, asked_for, state])
