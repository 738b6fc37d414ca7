"""A model as a monitor: one question about each act, and an answer that counts only in its exact form.

    Watch(facts, [ModelMonitor(ask)])          # ask: prompt → reply, from whichever model

Whatever is not the one line that lets an act pass holds it: a reply of another form, no reply, an act too long to be
shown whole.  The line begins with a mark drawn for this question alone, so that no text in the act can have written it.
A model can still be talked round by what it reads: this is one more eye beside the detectors, and never in their place.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from holdfast.core.prose import fill, load_prose
from holdfast.core.records import Facts
from holdfast.detectors.base import Detection
from holdfast.guard.act import Act

Ask = Callable[[str], str]
"""A prompt to a model, and its whole reply."""

_PROMPT = Path(__file__).with_name("monitor.md")
_LONGEST = 20_000
_LONGEST_REASON = 300


class ModelMonitor:
    """A monitor that asks a model.

    Args:
        ask: puts a prompt to a model and gives back its reply; what it raises counts as a finding.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._prompt = load_prose(_PROMPT)

    def __call__(self, act: Act, facts: Facts) -> list[Detection]:
        """Nothing, or why a person should look; the reason is a model's and goes to the log and the reviewer alone."""
        shown = json.dumps({"server": act.server, "tool": act.tool, "arguments": dict(act.arguments)}, indent=1)
        if len(shown) > _LONGEST:
            return [Detection(0, "", "too long for the monitor to be shown whole")]
        mark = secrets.token_hex(8)
        # The act is put behind the text and not into it: a slot in what the agent wrote would be filled too.
        rules = fill(self._prompt.body, {"mark": mark}, _PROMPT)
        return _verdict(self._ask(f"{rules}\n\n{_told(facts)}\n\n{mark}\n{shown}\n{mark}\n"), mark)


def _verdict(reply: str, mark: str) -> list[Detection]:
    """Nothing where the reply is the line that lets pass; otherwise why not."""
    line = reply.strip()
    if line == f"{mark} pass":
        return []
    if held := re.fullmatch(rf"{mark} hold: *([^\r\n]+)", line):
        return [Detection(0, "", held[1][:_LONGEST_REASON])]
    return [Detection(0, "", "the monitor gave no answer in the form that was asked for", failed=True)]


def _told(facts: Facts) -> str:
    """What the model may know: confidential texts and their like by name alone."""
    known = {
        "private, by person": dict(facts.private),
        "confidential files": sorted(facts.confidential),
        "addresses inside end in": facts.domain,
        "protected": facts.protected,
        "the agent's own weights": facts.weights,
        "did nothing wrong": facts.innocent,
    }
    return json.dumps({name: value for name, value in known.items() if value}, indent=1)
