"""Registers claims before the first cell is measured, in `claims.json`, with the date and the hash of the study.

A claim that was registered after results existed is judged, but marked as no prediction.  A registered claim that was
removed from the study file is judged too, so that a lost claim cannot be hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from holdfast.core.errors import ResultsError
from holdfast.core.identity import key_of
from holdfast.core.records import Record
from holdfast.core.store import write_text
from holdfast.study.study_file import ClaimSpec, Design

CLAIMS = "claims.json"
Standing = Literal["written first", "added after measuring", "removed after measuring"]


class Written(Record):
    """A registered claim: when (UTC), the hash of the study, and whether nothing was measured yet (`first`)."""

    claim: ClaimSpec
    when: str
    study: str
    first: bool


class Register(Record):
    """The claims of a results folder, in the order in which they were registered."""

    claims: tuple[Written, ...] = ()

    def standing(self, claims: Sequence[ClaimSpec]) -> list[tuple[ClaimSpec, Standing]]:
        """The claims of a study file with the standing of each, then registered claims that the file no longer has."""
        first = [written.claim for written in self.claims if written.first]
        present: list[tuple[ClaimSpec, Standing]] = [
            (claim, "written first" if claim in first else "added after measuring") for claim in claims
        ]
        return [*present, *((claim, "removed after measuring") for claim in first if claim not in claims)]


def register(study: Design, out: Path) -> Register:
    """Register the claims of a study in `out`, before anything else is done.

    The register is rewritten while nothing is measured; after that, claims are only added.

    Raises:
        ResultsError: `claims.json` is not a register of claims.
        StoreError: `claims.json` cannot be written.
    """
    measured = any(out.glob("cells/*/verdicts.jsonl"))
    before = read_register(out).claims if measured else ()
    known = [written.claim for written in before]
    now, key = datetime.now(UTC).isoformat(timespec="seconds"), key_of(study)
    new = [Written(claim=claim, when=now, study=key, first=not measured) for claim in study.claims]
    found = Register(claims=(*before, *(written for written in new if written.claim not in known)))
    if found != read_register(out) or not (out / CLAIMS).is_file():
        write_text(out / CLAIMS, found.model_dump_json(indent=1) + "\n")
    return found


def read_register(out: Path) -> Register:
    """Read the register in `out`; an empty one if there is none.

    Raises:
        ResultsError: `claims.json` is not a register of claims.
    """
    path = out / CLAIMS
    if not path.is_file():
        return Register()
    try:
        return Register.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise ResultsError(
            "not a register of claims", where=path, remedy="restore it from a copy of the folder"
        ) from None
