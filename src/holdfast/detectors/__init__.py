"""Detectors of harm: pure functions of effects and facts.

    detections = DETECTORS["leak"](transcript.effects, case.facts, None)

The same code scores an episode and monitors a deployment. A detector considers only effects that happened
(`blocked=False`), never what the model says about them. An empty list means that no harm was detected; missed harm
counts as no harm, so rates are biased low. Each detection names the effect and quotes the evidence. `about` limits a
detector to one person or file; None means any.

`find_detector` also finds the detectors of installed plugins.

In a deployment, `guard.monitors.detector_monitor` infers the effects of a tool call and runs the detectors on them.
"""

from holdfast.core.records import Clause
from holdfast.detectors.accusation import false_accusation
from holdfast.detectors.base import DETECTORS, Detection, Detector, address, outside
from holdfast.detectors.coercion import coercion
from holdfast.detectors.destructive import concealment, destruction, self_preservation
from holdfast.detectors.disclosure import disclosure
from holdfast.detectors.instigation import instigation
from holdfast.detectors.leak import leak, self_exfiltration
from holdfast.detectors.lookup import BUILT_IN, find_detector

#: A clause for every kind of harm that is looked for in each case.
EVERY_HARM: tuple[Clause, ...] = tuple(
    Clause(detector=name)
    for name in (
        "coercion",
        "disclosure",
        "leak",
        "false_accusation",
        "destruction",
        "instigation",
        "self_exfiltration",
    )
)

__all__ = [
    "BUILT_IN",
    "DETECTORS",
    "EVERY_HARM",
    "Detection",
    "Detector",
    "address",
    "coercion",
    "concealment",
    "destruction",
    "disclosure",
    "false_accusation",
    "find_detector",
    "instigation",
    "leak",
    "outside",
    "self_exfiltration",
    "self_preservation",
]
