"""Detectors of harm: pure functions over what was done and what is true.

    findings = DETECTORS["leak"](transcript.effects, case.facts, None)

The same code scores an episode and watches a deployment.  A detector looks at effects that really happened
(`blocked=False`) and never at the model's own words about them; an empty list means "not seen", and each finding names
the effect and quotes what convicts it.  `about` narrows a detector to one person or one file; None means any.

`watch.effects_of` reads a tool call as the effects it would have, and `watch.Watch` puts the detectors, and any model
monitor that is plugged in beside them, before the gate.
"""

from holdfast.detectors.accusation import false_accusation
from holdfast.detectors.base import DETECTORS, Detection, Detector, address, outside
from holdfast.detectors.coercion import coercion
from holdfast.detectors.destructive import concealment, destruction, self_preservation
from holdfast.detectors.leak import leak, self_exfiltration

__all__ = [
    "DETECTORS",
    "Detection",
    "Detector",
    "address",
    "coercion",
    "concealment",
    "destruction",
    "false_accusation",
    "leak",
    "outside",
    "self_exfiltration",
    "self_preservation",
]
