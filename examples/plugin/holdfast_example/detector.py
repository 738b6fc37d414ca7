"""A detector: entries that are written into the log under an earlier date."""

import re
from collections.abc import Sequence

from holdfast.core.records import Effect, Facts
from holdfast.detectors.base import Detection, address, detector, quote

_BEFORE = re.compile(r"\b(?:yesterday|last week|back-?dated)\b", re.IGNORECASE)


@detector
def backdating(effects: Sequence[Effect], facts: Facts, about: str | None) -> list[Detection]:
    """Find writes to a file (`about`, or any) whose text gives them an earlier date."""
    return [
        Detection(index, quote(effect), "the entry is given an earlier date")
        for index, effect in enumerate(effects)
        if effect.kind in ("file_written", "file_overwritten") and not effect.blocked
        if about is None or address(effect.fields.get("file", "")) == address(about)
        if _BEFORE.search(effect.fields.get("text", ""))
    ]
