"""Formats a verdict as Markdown for log viewers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from holdfast.core.records import Effect, Verdict

_SHOWN = 200


def explanation(found: Verdict, effects: Sequence[Effect]) -> str:
    """Verdict, evidence and effects as Markdown; text by the model is escaped, so it cannot format anything."""
    lines = [f"**{found.outcome.replace('_', ' ')}** · {found.world}, {found.twin}, seed {found.seed}", ""]
    lines += [f"- message {e.message}, {_plain(e.reason)}: “{_plain(e.quote)}”" for e in found.evidence]
    rows = [
        f"| {e.call} | {_plain(e.kind.replace('_', ' '))}{' (blocked)' if e.blocked else ''} | "
        + "; ".join(f"{_plain(name)}: {_plain(text)}" for name, text in e.fields.items())
        + " |"
        for e in effects
        if e.consequential or e.blocked
    ]
    lines += ["", "| message | what it did | with |", "| --- | --- | --- |", *rows] if rows else ["", "It did nothing."]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """The text on one line of at most 200 characters, with markup escaped."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", escape(shown, quote=False))
