"""Confidential texts that leave the firm in small pieces, spread, scrambled or encoded, over runs and agents.

The detector of leaks judges the messages of one run. Here the listed texts are remembered like the content of labelled
reads (`policy.labelled_content`), so what goes to one place outside is summed over a week, whoever sends it. The sums
are kept in memory: a restart of the guard starts them anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from holdfast.core.records import Effect, Facts
from holdfast.detectors.base import Detection, outside
from holdfast.guard.act import Act
from holdfast.guard.monitors.tool_effects import stays_inside
from holdfast.guard.policy.labelled_content import LabelledContent
from holdfast.guard.policy.memory_store import MemoryStore

_FILE = "confidential"


class ConfidentialTexts:
    """The confidential texts of a deployment, and what went outside of them. Thread-safe.

    Args:
        facts: the confidential texts by name, and the firm's domain.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._store = MemoryStore()
        self._content = LabelledContent(_FILE, self._store, secrets.token_bytes(32))
        for name, text in facts.confidential.items():
            self._content.received(Act("", "", _FILE, "read", {"file": name}), text, [name])

    def findings(self, act: Act, effects: Sequence[Effect]) -> list[Detection]:
        """Return the confidential texts that an act carries outside, with what went there before."""
        out = [at for at, effect in enumerate(effects) if _leaves(effect, self._facts)]
        if not effects and not stays_inside(act.tool):
            out = [0]
        if not out:
            return []
        with self._store.transaction():
            flow = self._content.flow(act)
            self._content.count(flow, sent=True)
        return [Detection(out[0], "", f"carries confidential text of {name} outside the firm") for name in flow.labels]


def _leaves(effect: Effect, facts: Facts) -> bool:
    return effect.kind in ("mail_sent", "file_sent") and outside(effect.fields.get("to", "").lstrip("@#"), facts)
