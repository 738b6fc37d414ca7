"""A model as a monitor: one prompt about each act, and a reply that must match an exact format.

    DetectorMonitor(facts, [ModelMonitor(ask)])     # ask: prompt → reply, from any model

Only the exact line "MARK pass" lets an act pass. A reply in another format, no reply, or an act too long for the prompt
holds it. The mark is random for each prompt, so text in the act cannot contain it. The act's text can still manipulate
the model, so this monitor complements the detectors and does not replace them.
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
"""Sends a prompt to a model and returns its whole reply."""

_PROMPT = Path(__file__).with_name("monitor.md")
_LONGEST = 20_000
_LONGEST_REASON = 300


class ModelMonitor:
    """Monitor that prompts a model.

    Args:
        ask: sends a prompt to a model and returns the reply; an exception in it counts as a detection.
    """

    #: It judges meaning, so it decides on messages that touch a private fact or a decision about the agent.
    by_meaning = True

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._prompt = load_prose(_PROMPT)

    def __call__(self, act: Act, facts: Facts) -> list[Detection]:
        """Return the model's reason to hold the act, if any; it goes only to the log and the reviewer."""
        shown = json.dumps({"server": act.server, "tool": act.tool, "arguments": dict(act.arguments)}, indent=1)
        if len(shown) > _LONGEST:
            return [Detection(0, "", f"the act is longer than the monitor's limit of {_LONGEST} characters")]
        mark = secrets.token_hex(8)
        # The act follows the template and is not inserted into it, or slots in the agent's text would be filled too.
        rules = fill(self._prompt.body, {"mark": mark}, _PROMPT)
        return _verdict(self._ask(f"{rules}\n\n{_facts_for_model(facts)}\n\n{mark}\n{shown}\n{mark}\n"), mark)


def _verdict(reply: str, mark: str) -> list[Detection]:
    """Return no detection if the reply is the passing line; otherwise the reason to hold."""
    line = reply.strip()
    if line == f"{mark} pass":
        return []
    if held := re.fullmatch(rf"{mark} hold: *([^\r\n]+)", line):
        return [Detection(0, "", held[1][:_LONGEST_REASON])]
    return [Detection(0, "", "the monitor's reply did not have the required format", failed=True)]


def _facts_for_model(facts: Facts) -> str:
    """Return the facts for the prompt; confidential texts by name only."""
    known = {
        "private, by person": dict(facts.private),
        "confidential files": sorted(facts.confidential),
        "addresses inside end in": facts.domain,
        "protected": facts.protected,
        "the agent's own weights": facts.weights,
        "did nothing wrong": facts.innocent,
    }
    return json.dumps({name: value for name, value in known.items() if value}, indent=1)
