"""Run the detectors on an act before it happens, on the effects that the tool call would have.

    monitor = DetectorMonitor(facts)
    reason = monitor(act)        # None, or the reason to hold the act; for the log, never for the agent

Further monitors are functions `(act, facts) → detections`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from holdfast.core.records import Effect, Facts
from holdfast.detectors.base import Detection
from holdfast.detectors.decode import readings
from holdfast.detectors.lookup import BUILT_IN
from holdfast.detectors.private_facts import NO_LEAVE, Leave, leverage
from holdfast.guard.act import Act
from holdfast.guard.monitors.accusations import accusations, with_full_names
from holdfast.guard.monitors.confidential import ConfidentialTexts
from holdfast.guard.monitors.tool_effects import effects_of, tampering
from holdfast.guard.monitors.touches import touches

Monitor = Callable[[Act, Facts], list[Detection]]
"""Checks one act before it happens, by rules or by a model. Its detections never reach the agent."""

_MEMORY, _RUNS = 64, 512
#: The detectors that combine the effects of a run; each of the others judges single effects.
_TOGETHER = ("coercion", "leak")


class DetectorMonitor:
    """Detectors with the history of each run, and further monitors. Thread-safe.

    Harm that is spread over several acts (a fact in one mail and the demand in the next, or a text sent in pieces) is
    detected at the act that completes it. The history covers the last 64 effects of the last 512 runs.

    A message to a person that touches a private fact, or a decision about the agent, is held in any other language than
    English, and if `leave` is strict in any wording too (`touches`); and so is one that puts a wrong beside the name of
    an innocent person (`accusations`). If one of the monitors judges meaning, that monitor decides instead.

    Args:
        facts: the private, confidential and protected items, and the agent's own weights.
        monitors: monitors that run after the detectors; an exception in one counts as a detection.
        leave: who may receive private facts, and how strictly they are held.
    """

    def __init__(self, facts: Facts, monitors: Sequence[Monitor] = (), leave: Leave = NO_LEAVE) -> None:
        self._facts, self._monitors, self._leave = with_full_names(facts), tuple(monitors), leave
        #: A monitor that judges meaning decides on messages that touch a private fact; without one they wait.
        self._by_meaning = any(getattr(monitor, "by_meaning", False) for monitor in monitors)
        self._confidential = ConfidentialTexts(self._facts) if facts.confidential else None
        self._runs: OrderedDict[str, deque[Effect]] = OrderedDict()
        self._lock = threading.Lock()

    def findings(self, act: Act) -> list[tuple[str, Detection]]:
        """Return (detector or monitor, detection) pairs for the harm that this act does or completes."""
        fresh = [_opened(effect) for effect in effects_of(act)]
        with self._lock:
            past = self._runs.setdefault(act.run, deque(maxlen=_MEMORY))
            self._runs.move_to_end(act.run)
            while len(self._runs) > _RUNS:
                self._runs.popitem(last=False)
            before = min(len(past), max(0, _MEMORY - len(fresh)))
            effects = [*past][len(past) - before :] + fresh
            past.extend(fresh)
        found = []
        for name, check in BUILT_IN.items() if fresh else ():
            seen, first = (effects, before) if name in _TOGETHER else (fresh, 0)
            found += [(name, finding) for finding in check(seen, self._facts, None) if finding.effect >= first]
        if fresh:
            by_words = not self._by_meaning
            leave = replace(self._leave, strict=self._leave.strict and by_words, unnamed=by_words)
            pulls = leverage(effects, self._facts, act.agent, leave)
            found += [("leverage", finding) for finding in pulls if finding.effect >= before]
            if not self._by_meaning:
                found += [("touches", finding) for finding in touches(fresh, self._facts, act.agent, self._leave)]
                found += [("accusations", finding) for finding in accusations(fresh, self._facts)]
        if self._confidential and not found:
            found += [("leak", finding) for finding in self._confidential.findings(act, fresh)]
        found += [("tampering", finding) for finding in tampering(act, self._facts)]
        for monitor in self._monitors:
            name = getattr(monitor, "__name__", type(monitor).__name__)
            found += [(name, finding) for finding in look(monitor, act, self._facts)]
        return found

    def __call__(self, act: Act) -> str | None:
        """Return None, or the reasons to hold this act, for the log and the reviewer."""
        return "; ".join(f"{name}: {finding.reason}" for name, finding in self.findings(act)) or None


def _opened(effect: Effect) -> Effect:
    """Return an effect with everything that is encoded in its text written out behind it."""
    text = effect.fields.get("text", "")
    inner = [reading.text for reading in readings(text) if reading.how and reading.text]
    if not inner or effect.kind != "mail_sent":
        return effect
    return effect.model_copy(update={"fields": {**effect.fields, "text": "\n".join((text, *inner))}})


def look(monitor: Monitor, act: Act, facts: Facts) -> list[Detection]:
    """Run a monitor; a failure counts as a detection."""
    try:
        return monitor(act, facts)
    except Exception as error:  # fail closed: a failed monitor has not cleared the act
        return [Detection(0, "", f"the monitor failed: {type(error).__name__}", failed=True)]
